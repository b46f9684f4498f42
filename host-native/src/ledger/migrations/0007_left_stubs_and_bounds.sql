-- Released: never edited again. A change is a new file.
-- Stubs of completed downloads that could not be removed yet. They are not new work, whatever became of the download.
CREATE TABLE left_stubs (
    stub_name TEXT NOT NULL PRIMARY KEY,
    peer_id TEXT NOT NULL,
    item_id TEXT NOT NULL
) STRICT;

-- Texts of peers are bounded from now on. What earlier versions kept of any length is cut once.
UPDATE downloads SET release_json =
    CASE WHEN json_valid(release_json) THEN json_object(
        'id', item_id,
        'title', substr(release_json ->> '$.title', 1, 512),
        'filename', filename,
        'category', release_json -> '$.category',
        'size', release_size)
    END
WHERE length(release_json) > 16384;
UPDATE downloads SET error = substr(error, 1, 511) || '…' WHERE length(error) > 512;
UPDATE downloads SET waiting_why = substr(waiting_why, 1, 511) || '…' WHERE length(waiting_why) > 512;
UPDATE downloads SET etag = NULL WHERE length(etag) > 512;
UPDATE attempts SET error = substr(error, 1, 511) || '…' WHERE length(error) > 512;
