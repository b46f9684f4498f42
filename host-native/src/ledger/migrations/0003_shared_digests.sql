-- Released: never edited again. A change is a new file.
-- SHA-256s of shared files, by path; one counts as long as the file has this size and time.
CREATE TABLE shared_digests (
    noted INTEGER PRIMARY KEY AUTOINCREMENT, -- grows: the oldest go where there are too many
    path BLOB NOT NULL UNIQUE CHECK (length(path) <= 16384),
    size INTEGER NOT NULL,
    mtime_ns INTEGER NOT NULL,
    sha256 TEXT NOT NULL CHECK (length(sha256) = 64)
) STRICT;
