-- Released: never edited again. A change is a new file.
-- Multipart uploads to object storage, by the object's name, s3://bucket/key.
CREATE TABLE uploads (
    object TEXT PRIMARY KEY,
    token TEXT NOT NULL,
    generation BIGINT NOT NULL,
    opened BIGINT NOT NULL DEFAULT 0, -- how often
    upload_id TEXT -- none: it is not begun
);
CREATE TABLE upload_parts (
    object TEXT NOT NULL,
    number BIGINT NOT NULL,
    size BIGINT NOT NULL,
    etag TEXT NOT NULL,
    digests TEXT NOT NULL, -- states after its last byte; JSON
    PRIMARY KEY (object, number)
);
-- Those to abort.
CREATE TABLE abandoned_uploads (
    object TEXT NOT NULL,
    upload_id TEXT NOT NULL,
    PRIMARY KEY (object, upload_id)
);
