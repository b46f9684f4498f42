-- Released: never edited again. A change is a new file.
-- Stubs of completed downloads that could not be removed yet. They are not new work, whatever became of the download.
CREATE TABLE left_stubs (
    stub_name TEXT NOT NULL PRIMARY KEY,
    peer_id TEXT NOT NULL,
    item_id TEXT NOT NULL
) STRICT;
