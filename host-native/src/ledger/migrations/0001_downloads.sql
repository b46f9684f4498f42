-- Released: never edited again. A change is a new file.
PRAGMA application_id = 0x72677270; -- "rgrp"

CREATE TABLE downloads (
    id INTEGER PRIMARY KEY AUTOINCREMENT, -- never used twice

    -- what was accepted
    kind TEXT NOT NULL CHECK (kind IN ('url', 'peer')),
    url TEXT NOT NULL CHECK (length(url) <= 65536), -- with its query, without userinfo
    peer_id TEXT,
    peer_name TEXT,
    item_id TEXT,
    stub_name TEXT,
    filename TEXT NOT NULL,
    dest_path TEXT NOT NULL CHECK (length(dest_path) <= 65536),
    part_path TEXT NOT NULL CHECK (length(part_path) <= 65536),
    header_names TEXT NOT NULL DEFAULT '[]', -- a JSON array; the values are not kept
    on_exists TEXT NOT NULL,
    adopt INTEGER NOT NULL DEFAULT 0,
    release_size INTEGER,
    release_json TEXT,

    -- the version whose bytes the part holds
    expected_bytes INTEGER,
    expected_bytes_source TEXT,
    expected_bytes_mismatch INTEGER NOT NULL DEFAULT 0,
    etag TEXT,
    last_modified TEXT,
    sha256_announced TEXT, -- by Repr-Digest

    -- the part
    claimed INTEGER NOT NULL DEFAULT 0,
    downloaded_bytes INTEGER NOT NULL DEFAULT 0,
    durable_bytes INTEGER NOT NULL DEFAULT 0,
    boot_id TEXT,
    responses INTEGER NOT NULL DEFAULT 0,
    sha256_wanted TEXT,
    sha256_state BLOB,
    sha256_state_offset INTEGER,
    sha256_got TEXT,
    digest_restarted INTEGER NOT NULL DEFAULT 0,

    -- what bounds it
    restarts INTEGER NOT NULL DEFAULT 0,
    bound_in_a_row INTEGER NOT NULL DEFAULT 0,
    bound_in_all INTEGER NOT NULL DEFAULT 0,
    bound_restarts INTEGER NOT NULL DEFAULT 0,
    bound_furthest INTEGER NOT NULL DEFAULT 0,

    -- where it stands
    status TEXT NOT NULL,
    waiting_until TEXT,
    waiting_why TEXT,
    committing_device INTEGER, -- 64 bits, their sign is chance
    committing_inode INTEGER, -- likewise
    committing_size INTEGER,
    committing_sha256 TEXT,
    error TEXT,
    error_class TEXT,
    error_code TEXT,
    completed_size INTEGER,
    completed_mtime_ns INTEGER,
    import_state TEXT,

    -- RFC 3339, UTC, milliseconds
    created_at TEXT NOT NULL,
    started_at TEXT,
    updated_at TEXT NOT NULL,
    completed_at TEXT
) STRICT;

CREATE INDEX downloads_by_status ON downloads (status);
CREATE INDEX downloads_by_dest_path ON downloads (dest_path);
CREATE INDEX downloads_by_change ON downloads (updated_at, id);
