-- Released: never edited again. A change is a new file.
CREATE TABLE downloads (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY, -- never used twice

    -- The row as the core defines it, and of it what is searched for. JSON rather than JSONB: texts of strangers may have a NUL.
    record JSON NOT NULL,
    status TEXT NOT NULL,
    dest_path TEXT NOT NULL,
    url TEXT NOT NULL, -- with its query, without userinfo
    origin TEXT NOT NULL, -- scheme, host and port of the URL
    durable_bytes BIGINT NOT NULL DEFAULT 0,
    attempts BIGINT NOT NULL DEFAULT 0,

    -- what is noted besides
    peer_id TEXT,
    item_id TEXT,
    stub_name TEXT,
    release_json TEXT,
    import_state TEXT, -- as it is shown; NULL until the import has begun
    imports JSON NOT NULL DEFAULT '[]',
    imports_pending BOOLEAN NOT NULL DEFAULT FALSE,
    completed_size BIGINT,
    completed_mtime_ns BIGINT,
    created_at TIMESTAMPTZ NOT NULL,
    started_at TIMESTAMPTZ,
    updated_at TIMESTAMPTZ NOT NULL,
    completed_at TIMESTAMPTZ,

    -- Whose it is. Each claim by another owner, and the end of one, takes the next token; a write names the token that it
    -- relies on. `revision` is drawn anew by each write, so that one is neither lost nor done twice.
    owner TEXT,
    claimed_at TIMESTAMPTZ,
    lease_until TIMESTAMPTZ,
    token BIGINT NOT NULL DEFAULT 0,
    revision BIGINT NOT NULL,
    nonce BIGINT NOT NULL, -- of the call that inserted it
    batch_key TEXT UNIQUE -- the digest of the destination, if it was added together with others
) WITH (fillfactor = 80);

CREATE INDEX downloads_by_change ON downloads (updated_at, id);
CREATE INDEX downloads_by_status_and_change ON downloads (status, updated_at, id);
CREATE INDEX downloads_by_dest_path ON downloads USING hash (dest_path); -- a path may be too long for a tree
CREATE INDEX downloads_to_drive ON downloads (origin, id)
WHERE status IN ('queued', 'downloading', 'waiting', 'committing');
CREATE INDEX downloads_by_owner ON downloads (owner, id) WHERE owner IS NOT NULL;
CREATE INDEX downloads_to_import ON downloads (id)
WHERE status IN ('completed', 'import_queued') AND release_json IS NOT NULL AND (import_state IS NULL OR imports_pending);

-- What bounds the downloads of one origin in the whole fleet: a slot for each, as long as the claim lasts.
CREATE TABLE origin_leases (
    origin TEXT NOT NULL,
    slot BIGINT NOT NULL,
    download_id BIGINT NOT NULL,
    owner TEXT NOT NULL,
    lease_until TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (origin, slot)
);
CREATE INDEX origin_leases_by_download ON origin_leases (download_id);

CREATE TABLE workers (
    id TEXT PRIMARY KEY, -- as `owner` in claims
    host TEXT NOT NULL,
    pid BIGINT NOT NULL,
    address TEXT NOT NULL,
    version TEXT NOT NULL,
    permits BIGINT NOT NULL,
    draining BOOLEAN NOT NULL,
    started_at TIMESTAMPTZ NOT NULL DEFAULT clock_timestamp(),
    seen_at TIMESTAMPTZ NOT NULL
);

CREATE TABLE attempts (
    download_id BIGINT NOT NULL,
    attempt BIGINT NOT NULL,
    line JSON NOT NULL,
    PRIMARY KEY (download_id, attempt)
);

-- Stubs of completed downloads that could not be removed yet.
CREATE TABLE left_stubs (
    stub_name TEXT PRIMARY KEY,
    peer_id TEXT NOT NULL,
    item_id TEXT NOT NULL
);

-- What the download client's API keeps: torrents by their hash, categories by their name, each as JSON.
CREATE TABLE client_records (
    kind TEXT NOT NULL,
    key TEXT NOT NULL,
    record TEXT NOT NULL,
    PRIMARY KEY (kind, key)
);

-- Keys that were issued to peers, by the SHA-256 of each. A revoked one stays, so that its name is still known.
CREATE TABLE peer_keys (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name TEXT NOT NULL,
    hash BYTEA NOT NULL UNIQUE,
    created_at TIMESTAMPTZ NOT NULL,
    expires_at TIMESTAMPTZ,
    last_used_at TIMESTAMPTZ,
    revoked_at TIMESTAMPTZ
);
CREATE UNIQUE INDEX peer_keys_in_force ON peer_keys (name) WHERE revoked_at IS NULL;

-- SHA-256s of shared files, by path, each of one version of the file.
CREATE TABLE shared_digests (
    path BYTEA PRIMARY KEY,
    device BIGINT NOT NULL, -- 64 bits, their sign is chance
    inode BIGINT NOT NULL, -- likewise
    size BIGINT NOT NULL,
    mtime_ns BIGINT NOT NULL,
    ctime_ns BIGINT NOT NULL,
    sha256 TEXT NOT NULL,
    etag TEXT NOT NULL
);
