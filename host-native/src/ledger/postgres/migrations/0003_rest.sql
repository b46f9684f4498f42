-- Released: never edited again. A change is a new file.
-- Until then a download is offered to no worker: who had it could not drive it.
ALTER TABLE downloads ADD COLUMN not_before TIMESTAMPTZ;
-- Why a worker takes no downloads.
ALTER TABLE workers ADD COLUMN trouble TEXT;
-- Of two workers that add one destination at the same moment, one finds the row of the other. Until now there were two rows, of which the
-- later one was driven after the earlier one.
DELETE FROM downloads later USING downloads earlier
WHERE earlier.dest_path = later.dest_path AND earlier.id < later.id
    AND earlier.status IN ('queued', 'downloading', 'waiting', 'paused', 'committing')
    AND later.status IN ('queued', 'downloading', 'waiting', 'paused', 'committing');
CREATE UNIQUE INDEX downloads_unfinished ON downloads (md5(dest_path))
WHERE status IN ('queued', 'downloading', 'waiting', 'paused', 'committing');
