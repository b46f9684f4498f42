-- Released: never edited again. A change is a new file.
-- The digests that a file must have, and those that were asked for. The columns sha256_* and committing_sha256 of `downloads`
-- are not used any more.
CREATE TABLE digests (
    download_id INTEGER NOT NULL REFERENCES downloads (id) ON DELETE CASCADE,
    position INTEGER NOT NULL,
    algorithm TEXT NOT NULL,
    source TEXT NOT NULL,
    wanted TEXT, -- none: it was only asked for
    state BLOB,
    state_offset INTEGER,
    got TEXT,
    PRIMARY KEY (download_id, position)
) STRICT, WITHOUT ROWID;

INSERT INTO digests
SELECT id, 0, 'sha256', CASE kind WHEN 'peer' THEN 'peer' ELSE 'caller' END, sha256_wanted, sha256_state,
    sha256_state_offset, coalesce(sha256_got, committing_sha256)
FROM downloads WHERE sha256_wanted IS NOT NULL;

INSERT INTO digests
SELECT id, 1, 'sha256', 'repr_digest', sha256_announced, sha256_state, sha256_state_offset,
    coalesce(sha256_got, committing_sha256)
FROM downloads WHERE sha256_announced IS NOT NULL;

-- Earlier versions computed one of every file.
INSERT INTO digests
SELECT id, 2, 'sha256', 'asked', NULL, NULL, NULL, coalesce(sha256_got, committing_sha256)
FROM downloads
WHERE sha256_wanted IS NULL AND sha256_announced IS NULL AND coalesce(sha256_got, committing_sha256) IS NOT NULL;
