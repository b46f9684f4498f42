-- Released: never edited again. A change is a new file.
-- Imports that a start goes on with, without reading all that was ever completed.
CREATE INDEX downloads_to_import ON downloads (id)
WHERE status IN ('completed', 'import_queued') AND release_json IS NOT NULL
    AND (import_state IS NULL OR import_state LIKE 'pending at %' OR import_state LIKE '%; pending at %');
