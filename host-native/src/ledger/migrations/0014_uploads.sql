-- Released: never edited again. A change is a new file.
-- Multipart uploads to object storage, by the object's name, s3://bucket/key.
CREATE TABLE uploads (
    object TEXT NOT NULL PRIMARY KEY,
    token TEXT NOT NULL,
    generation INTEGER NOT NULL,
    opened INTEGER NOT NULL DEFAULT 0, -- how often
    upload_id TEXT -- none: it is not begun
) STRICT, WITHOUT ROWID;
CREATE TABLE upload_parts (
    object TEXT NOT NULL REFERENCES uploads (object) ON DELETE CASCADE,
    number INTEGER NOT NULL,
    size INTEGER NOT NULL,
    etag TEXT NOT NULL,
    digests TEXT NOT NULL, -- states after its last byte; JSON
    PRIMARY KEY (object, number)
) STRICT, WITHOUT ROWID;
-- Those to abort.
CREATE TABLE abandoned_uploads (
    object TEXT NOT NULL,
    upload_id TEXT NOT NULL,
    PRIMARY KEY (object, upload_id)
) STRICT, WITHOUT ROWID;
