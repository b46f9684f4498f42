-- Released: never edited again. A change is a new file.
ALTER TABLE downloads ADD COLUMN attempts INTEGER NOT NULL DEFAULT 0; -- only grows

CREATE TABLE attempts (
    download_id INTEGER NOT NULL REFERENCES downloads (id) ON DELETE CASCADE,
    attempt INTEGER NOT NULL,
    started_at TEXT NOT NULL,
    ended_at TEXT, -- none: under way, or its process died
    offset_from INTEGER NOT NULL,
    offset_to INTEGER,
    outcome TEXT,
    class TEXT,
    code TEXT,
    error TEXT,
    wait_ms INTEGER,
    asked_by TEXT,
    restart_reason TEXT, -- several: comma separated, in order
    discarded_bytes INTEGER, -- by all of them
    PRIMARY KEY (download_id, attempt)
) STRICT, WITHOUT ROWID;
