-- Released: never edited again. A change is a new file.
-- How the import of a completed download stands at each server. `downloads.import_state` is from now on the line that is
-- shown of it, and NULL until the import has begun; nothing is read back from that text.
CREATE TABLE imports (
    download INTEGER NOT NULL REFERENCES downloads (id) ON DELETE CASCADE,
    place INTEGER NOT NULL, -- among the servers of this download, in the order they are shown
    server TEXT NOT NULL, -- its name in the configuration
    state TEXT NOT NULL CHECK (state IN ('pending', 'accepted', 'failed')),
    tries INTEGER NOT NULL DEFAULT 0, -- commands sent
    next_try TEXT, -- RFC 3339, while a pending one waits
    error TEXT, -- of the last command
    PRIMARY KEY (download, place),
    UNIQUE (download, server)
) STRICT, WITHOUT ROWID;

-- What a start goes on with, without reading all that was ever completed.
DROP INDEX downloads_to_import;
CREATE INDEX imports_pending ON imports (download) WHERE state = 'pending';
CREATE INDEX downloads_to_begin_import ON downloads (id)
WHERE status IN ('completed', 'import_queued') AND release_json IS NOT NULL AND import_state IS NULL;

-- The lines of earlier versions: `accepted by NAME`, `pending at NAME`, `pending at NAME: ERROR` and `failed at NAME: ERROR`,
-- with `; ` between them. Errors have neither `; ` nor line breaks, names have no line breaks, but may have `; `.
WITH RECURSIVE
    marked (download, text) AS (
        SELECT id, replace(replace(replace(import_state,
            '; accepted by ', char(10) || 'accepted by '),
            '; pending at ', char(10) || 'pending at '),
            '; failed at ', char(10) || 'failed at ') || char(10)
        FROM downloads
        WHERE import_state LIKE 'accepted by %' OR import_state LIKE 'pending at %' OR import_state LIKE 'failed at %'
    ),
    lines (download, place, line, rest) AS (
        SELECT download, 0, NULL, text FROM marked
        UNION ALL
        SELECT download, place + 1, substr(rest, 1, instr(rest, char(10)) - 1), substr(rest, instr(rest, char(10)) + 1)
        FROM lines WHERE rest <> ''
    ),
    parts (download, place, state, said) AS (
        SELECT download, place,
            CASE substr(line, 1, 3) WHEN 'acc' THEN 'accepted' WHEN 'pen' THEN 'pending' ELSE 'failed' END,
            substr(line, CASE substr(line, 1, 3) WHEN 'acc' THEN 13 WHEN 'pen' THEN 12 ELSE 11 END)
        FROM lines WHERE line IS NOT NULL
    ),
    named (download, place, state, server, error) AS (
        SELECT download, place, state,
            CASE WHEN state = 'accepted' OR instr(said, ': ') = 0 THEN said ELSE substr(said, 1, instr(said, ': ') - 1) END,
            CASE WHEN state <> 'accepted' AND instr(said, ': ') > 0 THEN substr(said, instr(said, ': ') + 2) END
        FROM parts
    )
-- Two lines may read as one server, as those of `A` and of `A: B` do. It is told once more if one of them was not told.
INSERT INTO imports (download, place, server, state, error)
SELECT download, place, server, state, error FROM named WHERE server <> ''
ON CONFLICT (download, server) DO UPDATE SET state = 'pending' WHERE 'pending' IN (state, excluded.state);

-- What identifies a part that is being renamed, as its store spells it.
ALTER TABLE downloads ADD COLUMN committing_token TEXT;
UPDATE downloads SET committing_token = committing_device || ':' || committing_inode
WHERE committing_device IS NOT NULL AND committing_inode IS NOT NULL;
