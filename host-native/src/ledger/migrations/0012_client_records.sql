-- Released: never edited again. A change is a new file.
-- What the download client's API keeps: torrents by their hash, categories by their name, each as JSON.
CREATE TABLE client_records (
    kind TEXT NOT NULL,
    key TEXT NOT NULL,
    record TEXT,
    PRIMARY KEY (kind, key)
) STRICT, WITHOUT ROWID;
