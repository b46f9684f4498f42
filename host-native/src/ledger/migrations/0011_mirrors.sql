-- Released: never edited again. A change is a new file.
-- Other URLs of the same file, in the order in which they are tried; JSON.
ALTER TABLE downloads ADD COLUMN mirrors TEXT NOT NULL DEFAULT '[]';
