-- Released: never edited again. A change is a new file.
-- A page of the list of one status is read from here, however many downloads there are.
CREATE INDEX downloads_by_status_and_change ON downloads (status, updated_at, id);
