-- Released: never edited again. A change is a new file.
-- What a full response is compared by, and what requests to a URL have shown.
-- Earlier versions kept only a strong Last-Modified.
ALTER TABLE downloads ADD COLUMN last_modified_weak INTEGER NOT NULL DEFAULT 0;
ALTER TABLE downloads ADD COLUMN content_type TEXT;
ALTER TABLE downloads ADD COLUMN ignores_if_range INTEGER NOT NULL DEFAULT 0;
ALTER TABLE downloads ADD COLUMN refuses_ranges INTEGER NOT NULL DEFAULT 0;
-- Size and validators of a response that was smaller than what is held.
ALTER TABLE downloads ADD COLUMN shrunk TEXT;
