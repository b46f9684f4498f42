-- Released: never edited again. A change is a new file.
-- Until then a download is offered to no worker: who had it could not drive it.
ALTER TABLE downloads ADD COLUMN not_before TIMESTAMPTZ;
-- Why a worker takes no downloads.
ALTER TABLE workers ADD COLUMN trouble TEXT;
