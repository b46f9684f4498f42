-- Released: never edited again. A change is a new file.
-- The whole version of the file that a digest is of, and the ETag it was sent with. Rows from before have no ctime_ns: their
-- digests are not believed, since an edit that set the time back would not show.
ALTER TABLE shared_digests ADD COLUMN device INTEGER;
ALTER TABLE shared_digests ADD COLUMN inode INTEGER;
ALTER TABLE shared_digests ADD COLUMN ctime_ns INTEGER;
ALTER TABLE shared_digests ADD COLUMN etag TEXT CHECK (length(etag) <= 64);
