-- Released: never edited again. A change is a new file.
-- Keys that were issued to peers, by the SHA-256 of each. A revoked one stays, so that its name is still known.
CREATE TABLE peer_keys (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL,
    hash BLOB NOT NULL UNIQUE,
    created_at TEXT NOT NULL,
    expires_at TEXT,
    last_used_at TEXT,
    revoked_at TEXT
) STRICT;
CREATE UNIQUE INDEX peer_keys_in_force ON peer_keys (name) WHERE revoked_at IS NULL;
