-- Released: never edited again. A change is a new file.
-- What identifies a part that is being renamed, as its store spells it. `committing_device` and `committing_inode` are no
-- longer written.
ALTER TABLE downloads ADD COLUMN committing_token TEXT;
UPDATE downloads SET committing_token = committing_device || ':' || committing_inode WHERE committing_device IS NOT NULL;
