//! A row of the table `downloads`: read, changed as the core says, and written back if nobody changed it meanwhile.

use super::link::{Link, Param};
use crate::ledger::{AttemptLine, Import, ImportState, LedgerEntry, cause};
use crate::store::{FileStamp, is_object};
use crate::time::entropy;
use crate::time::rfc3339;
use regrip_core::record::{AttemptEnd, Change, DownloadId, NewAttempt, NewDownload, Restart, Row, Source, Status};
use regrip_core::{Error, display_url};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::HashMap;
use std::path::Path;
use std::time::SystemTime;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::{FromSql, Json};

/// The columns that are read, but for the release, which may be the largest part.
macro_rules! columns {
    () => {
        "d.id, d.record, d.stub_name, d.import_state, d.imports, d.completed_size, d.completed_mtime_ns, d.created_at,
         d.started_at, d.updated_at, d.completed_at, d.owner, d.token, d.revision,
         d.lease_until > clock_timestamp() IS TRUE AS is_held"
    };
}
pub(super) use columns;

const READ: &str = concat!(
    "SELECT ",
    columns!(),
    ", a.line FROM downloads d LEFT JOIN attempts a ON a.download_id = d.id AND a.attempt = d.attempts WHERE d.id = $1"
);

const WRITE: &str = "WITH written AS (
        UPDATE downloads SET record = $4, status = $5, url = $6, origin = $7, durable_bytes = $8, attempts = $9,
            import_state = $10, imports = $11, imports_pending = $12, completed_size = $13, completed_mtime_ns = $14,
            started_at = $15, updated_at = $16, completed_at = $17, revision = $18, not_before = NULL,
            owner = CASE WHEN $19 THEN NULL ELSE owner END,
            lease_until = CASE WHEN $19 THEN NULL ELSE lease_until END,
            token = token + CASE WHEN $19 THEN 1 ELSE 0 END
        WHERE id = $1 AND revision = $2 AND token = $3 RETURNING id),
    lines AS (
        INSERT INTO attempts SELECT id, attempt, line::json
        FROM written, unnest($20::bigint[], $21::text[]) AS of_attempt (attempt, line)
        ON CONFLICT (download_id, attempt) DO UPDATE SET line = excluded.line),
    ended AS (DELETE FROM origin_leases USING written WHERE $19 AND download_id = written.id)
    SELECT CASE WHEN $22 THEN pg_notify('regrip', id::text) END FROM written";

/// The parameters of a statement that adds rows: arrays, the time, and a number drawn for the call.
macro_rules! new_rows {
    () => {
        "unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[]) WITH ORDINALITY
            AS new (record, dest_path, url, origin, peer_id, item_id, place)"
    };
}

/// A second time it finds the row of the first. Nothing is added beside an unfinished row of the destination.
const INSERT: &str = concat!(
    "WITH before AS (SELECT id FROM downloads WHERE dest_path = ANY($2) AND nonce = $8),
    added AS (
        INSERT INTO downloads (record, status, dest_path, url, origin, peer_id, item_id, created_at, updated_at,
            revision, nonce)
        SELECT record::json, 'queued', dest_path, url, origin, peer_id, item_id, $7, $7, $8, $8 FROM ",
    new_rows!(),
    " WHERE NOT EXISTS (SELECT FROM before)
        ON CONFLICT DO NOTHING
        RETURNING id),
    notified AS (SELECT pg_notify('regrip', 'work') FROM added)
    SELECT id, (SELECT count(*) FROM notified) FROM added UNION ALL SELECT id, NULL FROM before"
);

/// Of two that add the same at the same time one waits for the other and then adds nothing: `batch_key` is unique, and so is the
/// destination of an unfinished row.
const INSERT_NEW: &str = concat!(
    "WITH before AS (SELECT id, dest_path FROM downloads WHERE dest_path = ANY($2) AND nonce = $8),
    added AS (
        INSERT INTO downloads (record, status, dest_path, url, origin, peer_id, item_id, created_at, updated_at,
            revision, nonce, batch_key)
        SELECT record::json, 'queued', dest_path, url, origin, peer_id, item_id, $7, $7, $8, $8, md5(dest_path) FROM ",
    new_rows!(),
    " WHERE NOT EXISTS (SELECT FROM downloads d WHERE d.dest_path = new.dest_path)
        ORDER BY place
        ON CONFLICT DO NOTHING
        RETURNING id, dest_path),
    notified AS (SELECT pg_notify('regrip', 'work') FROM (SELECT FROM added LIMIT 1) of_any)
    SELECT id, dest_path, (SELECT count(*) FROM notified) FROM added
    UNION ALL SELECT id, dest_path, NULL FROM before"
);

/// How often a change is tried that others overtake.
const TRIES: u32 = 1000;

/// A row, what is known besides, and whose it is.
#[derive(Clone)]
pub(super) struct Stored {
    pub(super) row: Row,
    stub_name: Option<String>,
    pub(super) import_state: Option<String>,
    pub(super) imports: Vec<Import>,
    pub(super) stamp: Option<FileStamp>,
    created_at: SystemTime,
    started_at: Option<SystemTime>,
    pub(super) updated_at: SystemTime,
    completed_at: Option<SystemTime>,
    owner: Option<String>,
    token: i64,
    revision: i64,
    /// Somebody's claim is in force.
    is_held: bool,
    /// The line of its last attempt, if it was read, and those that changed.
    line: Option<AttemptLine>,
    changed_lines: Vec<AttemptLine>,
}

/// A change as a transaction of one row.
pub(super) struct Transaction<'a> {
    pub(super) link: &'a Link,
    pub(super) what: &'static str,
    pub(super) id: DownloadId,
    /// The token that this process relies on, if it has claimed the row.
    pub(super) token: Option<i64>,
}

impl Transaction<'_> {
    /// Reads the row, has it changed and writes it, again if somebody else was first. `change` may run several times. Returns its
    /// result, and the row as it is now.
    ///
    /// # Errors
    /// That of `change`, `PartLocked` if somebody else has the claim, `DestinationBusy` if it is taken up beside another unfinished one
    /// of its destination, `NoSuchDownload`, `Ledger`, `DiskFull`.
    pub(super) async fn run<T>(
        &self,
        is_of_user: bool,
        change: impl Fn(&mut Stored) -> Result<T, Error>,
    ) -> Result<(T, Stored), Error> {
        let mut unsure: Option<(i64, (T, Stored))> = None;
        for _ in 0..TRIES {
            let stored = read(self.link, self.what, self.id).await?;
            match unsure {
                // It was written, and the answer was lost.
                Some((revision, done)) if revision == stored.revision => return Ok(done),
                _ => {}
            }
            if !is_of_user && !stored.is_writable_by(self.token) {
                return Err(Error::PartLocked { path: stored.row.new.part, pid: None, lock_file: None });
            }
            let (revision, token) = (stored.revision, stored.token);
            let mut new = stored;
            let done = change(&mut new)?;
            new.revision = entropy().cast_signed();
            if self.write(&new, revision, token, is_of_user).await? {
                return Ok((done, new));
            }
            unsure = Some((new.revision, (done, new)));
        }
        Err(Error::Ledger { what: format!("{}: others kept changing the row", self.what), source: None })
    }

    async fn write(&self, new: &Stored, revision: i64, token: i64, is_of_user: bool) -> Result<bool, Error> {
        let row = &new.row;
        let imports = Json(new.imports.iter().map(StoredImport::from).collect::<Vec<_>>());
        let pending = new.imports.iter().any(|import| import.state == ImportState::Pending);
        let lines = new.changed_lines.iter().map(serde_json::to_string).collect::<Result<Vec<_>, _>>();
        let lines = lines.map_err(|error| Error::ledger(self.what, error))?;
        let numbers: Vec<i64> = new.changed_lines.iter().map(|line| i64::from(line.attempt)).collect();
        // What is finished or paused has no owner.
        let ends = !row.status.is_active();
        let url = searched(row.new.source.url());
        let params: [Param<'_>; 22] = [
            &self.id,
            &revision,
            &token,
            &Json(row),
            &row.status.name(),
            &url,
            &origin(&url),
            &integer(row.durable),
            &i64::from(row.attempts),
            &new.import_state,
            &imports,
            &pending,
            &new.stamp.map(|stamp| integer(stamp.size)),
            &new.stamp.map(|stamp| stamp.mtime_ns),
            &new.started_at,
            &new.updated_at,
            &new.completed_at,
            &new.revision,
            &ends,
            &numbers,
            &lines,
            &(is_of_user || row.status == Status::Queued),
        ];
        match self.link.run(self.what, WRITE, &params).await {
            Err(error) if is_taken(&error) => Err(busy(self.link, &row.new.destination).await?),
            written => Ok(!written?.is_empty()),
        }
    }
}

/// Adds a row.
pub(super) async fn insert(link: &Link, new: &NewDownload, at: SystemTime) -> Result<DownloadId, Error> {
    let what = "adding a download";
    let columns = NewRows::of(std::slice::from_ref(new), what)?;
    let rows = columns.add(link, (what, INSERT), at).await?;
    match rows.first() {
        Some(first) => get(first, 0, "id"),
        None => Err(busy(link, &new.destination).await?),
    }
}

/// The error of a row that may not be unfinished, because another one of its destination is.
async fn busy(link: &Link, destination: &str) -> Result<Error, Error> {
    let select = "SELECT id, url FROM downloads
        WHERE dest_path = $1 AND status IN ('queued', 'downloading', 'waiting', 'paused', 'committing')";
    let found = link.run("reading a download", select, &[&searched(destination)]).await?;
    // It may have ended meanwhile.
    let (id, url) = found.first().map_or((0, String::new()), |row| (row.get("id"), row.get("url")));
    Ok(Error::DestinationBusy { path: destination.to_owned(), id, url: display_url(&url) })
}

fn is_taken(error: &Error) -> bool {
    cause(error).and_then(tokio_postgres::Error::code) == Some(&SqlState::UNIQUE_VIOLATION)
}

/// Adds rows for destinations that have none.
pub(super) async fn insert_new(
    link: &Link,
    new: &[NewDownload],
    at: SystemTime,
) -> Result<Vec<Option<DownloadId>>, Error> {
    let what = "adding downloads";
    let columns = NewRows::of(new, what)?;
    let rows = columns.add(link, (what, INSERT_NEW), at).await?;
    let mut ids = HashMap::new();
    for row in &rows {
        ids.insert(get::<String>(row, 0, "dest_path")?, get(row, 0, "id")?);
    }
    // The first of a destination gets the id.
    Ok(new.iter().map(|new| ids.remove(&*searched(&new.destination))).collect())
}

/// New rows, column by column.
struct NewRows<'a> {
    records: Vec<String>,
    destinations: Vec<Cow<'a, str>>,
    urls: Vec<Cow<'a, str>>,
    origins: Vec<String>,
    peers: Vec<Option<Cow<'a, str>>>,
    items: Vec<Option<Cow<'a, str>>>,
}

impl<'a> NewRows<'a> {
    fn of(new: &'a [NewDownload], what: &str) -> Result<Self, Error> {
        let record = |new: &NewDownload| serde_json::to_string(&Row::new(0, new.clone()));
        let item = |new: &'a NewDownload| match &new.source {
            Source::Url { .. } => (None, None),
            Source::Peer { peer_id, item_id, .. } => (Some(searched(peer_id)), Some(searched(item_id))),
        };
        let records = new.iter().map(record).collect::<Result<_, _>>();
        let (peers, items) = new.iter().map(item).unzip();
        Ok(NewRows {
            records: records.map_err(|error| Error::ledger(what, error))?,
            destinations: new.iter().map(|new| searched(&new.destination)).collect(),
            urls: new.iter().map(|new| searched(new.source.url())).collect(),
            origins: new.iter().map(|new| origin(&searched(new.source.url()))).collect(),
            peers,
            items,
        })
    }

    /// Runs a statement that adds them.
    async fn add(
        &self,
        link: &Link,
        (what, sql): (&'static str, &'static str),
        at: SystemTime,
    ) -> Result<Vec<tokio_postgres::Row>, Error> {
        let nonce = entropy().cast_signed();
        let NewRows { records, destinations, urls, origins, peers, items } = self;
        link.run(what, sql, &[records, destinations, urls, origins, peers, items, &at, &nonce]).await
    }
}

/// Reads one row with the line of its last attempt.
pub(super) async fn read(link: &Link, what: &'static str, id: DownloadId) -> Result<Stored, Error> {
    let rows = link.run(what, READ, &[&id]).await?;
    let found = rows.first().ok_or(Error::NoSuchDownload(id))?;
    let mut stored = Stored::from_row(found)?;
    let line: Option<Json<AttemptLine>> = get(found, id, "line")?;
    stored.line = line.map(|line| line.0);
    Ok(stored)
}

impl Stored {
    /// A row that a statement with [`columns`] found. Nothing in it is trusted.
    pub(super) fn from_row(found: &tokio_postgres::Row) -> Result<Stored, Error> {
        let id: DownloadId = found.try_get("id").map_err(|error| Error::ledger("reading a download", error))?;
        let Json(mut row): Json<Row> = get(found, id, "record")?;
        row.id = id;
        let Json(imports): Json<Vec<StoredImport>> = get(found, id, "imports")?;
        let size: Option<i64> = get(found, id, "completed_size")?;
        let size = size.and_then(|size| u64::try_from(size).ok());
        let mtime_ns: Option<i64> = get(found, id, "completed_mtime_ns")?;
        Ok(Stored {
            row,
            stub_name: get(found, id, "stub_name")?,
            import_state: get(found, id, "import_state")?,
            imports: imports.into_iter().map(Import::from).collect(),
            stamp: size.zip(mtime_ns).map(|(size, mtime_ns)| FileStamp { size, mtime_ns }),
            created_at: get(found, id, "created_at")?,
            started_at: get(found, id, "started_at")?,
            updated_at: get(found, id, "updated_at")?,
            completed_at: get(found, id, "completed_at")?,
            owner: get(found, id, "owner")?,
            token: get(found, id, "token")?,
            revision: get(found, id, "revision")?,
            is_held: get(found, id, "is_held")?,
            line: None,
            changed_lines: Vec::new(),
        })
    }

    /// As lists and the API show it.
    pub(super) fn entry(self, release_json: Option<String>) -> LedgerEntry {
        let filename = Path::new(&self.row.new.destination).file_name().unwrap_or_default();
        LedgerEntry {
            filename: filename.to_string_lossy().into_owned(),
            stub_name: self.stub_name,
            release_json,
            import_state: self.import_state,
            stamp: self.stamp,
            worker: self.owner.filter(|_| self.is_held),
            created_at: rfc3339(self.created_at),
            started_at: self.started_at.map(rfc3339),
            updated_at: rfc3339(self.updated_at),
            completed_at: self.completed_at.map(rfc3339),
            row: self.row,
        }
    }

    /// Returns `true` if a process may change the row that relies on this token, or on none.
    fn is_writable_by(&self, token: Option<i64>) -> bool {
        match token {
            Some(token) => token == self.token,
            None => !self.is_held,
        }
    }

    /// Counts an attempt and opens its line. One that a killed process left is closed as lost.
    pub(super) fn begin_attempt(&mut self, attempt: &NewAttempt) -> Result<u32, Error> {
        if !self.row.status.is_active() {
            return Err(self.row.wrong_state());
        }
        let (ended_at, offset_to) = (rfc3339(self.updated_at), self.row.downloaded);
        if let Some(mut line) = self.line.take().filter(|line| line.ended_at.is_none()) {
            line.outcome = Some("lost".to_owned());
            line.ended_at = Some(ended_at);
            line.offset_to = Some(offset_to);
            self.put_line(line);
        }
        let number = self.row.begin_attempt();
        self.started_at.get_or_insert(attempt.at);
        self.updated_at = attempt.at;
        self.put_line(AttemptLine {
            attempt: number,
            started_at: rfc3339(attempt.at),
            offset_from: attempt.from,
            ended_at: None,
            offset_to: None,
            outcome: None,
            class: None,
            code: None,
            error: None,
            wait_ms: None,
            asked_by: None,
            restart_reason: None,
            discarded_bytes: None,
        });
        Ok(number)
    }

    /// Applies a change.
    ///
    /// # Errors
    /// `WrongState`.
    pub(super) fn apply(&mut self, change: &Change, at: SystemTime) -> Result<(), Error> {
        if !self.row.status.admits(change) {
            return Err(self.row.wrong_state());
        }
        self.row.apply(change);
        self.updated_at = at;
        match change {
            Change::AttemptEnded { end, .. } => self.end_line(end, at),
            Change::Restart(restart) | Change::Fresh { restart: Some(restart), .. } => self.note_restart(restart),
            Change::Completed { size, .. } => {
                // A later run then knows whether the file is unchanged. Without its stamp it reads the file. That of an object was
                // recorded with the end of its upload.
                let destination = Path::new(&self.row.new.destination);
                if !is_object(destination) {
                    self.stamp = FileStamp::of(destination).ok().flatten();
                }
                self.stamp = self.stamp.filter(|stamp| stamp.size == *size);
                self.completed_at = Some(at);
            }
            _ => {}
        }
        Ok(())
    }

    fn end_line(&mut self, end: &AttemptEnd, at: SystemTime) {
        let Some(mut line) = self.line.take() else {
            return;
        };
        if line.attempt == end.attempt {
            let error = end.error.as_ref();
            line.ended_at = Some(rfc3339(at));
            line.offset_to = Some(end.to);
            line.outcome = Some(end.outcome.name().to_owned());
            line.class = error.map(|error| error.class.name().to_owned());
            line.code = error.map(|error| error.code.to_string());
            line.error = error.map(|error| error.text.clone());
            line.wait_ms = end.wait.map(|(wait, _)| u64::try_from(wait.as_millis()).unwrap_or(u64::MAX));
            line.asked_by = end.wait.map(|(_, asked_by)| asked_by.name().to_owned());
        }
        self.put_line(line);
    }

    fn note_restart(&mut self, restart: &Restart) {
        let Some(mut line) = self.line.take() else {
            return;
        };
        if line.attempt == restart.attempt {
            let reasons = line.restart_reason.get_or_insert_default();
            if !reasons.is_empty() {
                reasons.push(',');
            }
            reasons.push_str(restart.reason.name());
            line.discarded_bytes = Some(line.discarded_bytes.unwrap_or(0).saturating_add(restart.discarded));
        }
        self.put_line(line);
    }

    fn put_line(&mut self, line: AttemptLine) {
        self.changed_lines.retain(|other| other.attempt != line.attempt);
        self.changed_lines.push(line.clone());
        self.line = Some(line);
    }
}

/// A column of a download, by its type.
pub(super) fn get<'a, T: FromSql<'a>>(row: &'a tokio_postgres::Row, id: DownloadId, column: &str) -> Result<T, Error> {
    row.try_get(column).map_err(|error| Error::ledger(format!("reading {column} of download {id}"), error))
}

/// A count as Postgres keeps it. What does not fit is beyond any disk, so the largest number stands for it.
pub(super) fn integer(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// A text as a column has it, beside the record: none can have a NUL.
pub(super) fn searched(text: &str) -> Cow<'_, str> {
    match text.contains('\0') {
        true => text.replace('\0', "\u{fffd}").into(),
        false => text.into(),
    }
}

/// Scheme, host and port of a URL.
fn origin(url: &str) -> String {
    let shown = display_url(url);
    let end = shown.find("://").map_or(0, |scheme| scheme + 3);
    let end = shown[end..].find('/').map_or(shown.len(), |path| end + path);
    shown[..end].to_owned()
}

/// An import as the column has it.
#[derive(Serialize, Deserialize, Debug)]
struct StoredImport {
    server: String,
    state: String,
    tries: u32,
    next_try: Option<SystemTime>,
    error: Option<String>,
}

impl From<&Import> for StoredImport {
    fn from(import: &Import) -> Self {
        StoredImport {
            server: import.server.clone(),
            state: import.state.name().to_owned(),
            tries: import.tries,
            next_try: import.next_try,
            error: import.error.clone(),
        }
    }
}

impl From<StoredImport> for Import {
    fn from(stored: StoredImport) -> Self {
        Import {
            server: stored.server,
            // If this version does not know the state, the server is sent another command, which is harmless.
            state: ImportState::named(&stored.state).unwrap_or(ImportState::Pending),
            tries: stored.tries,
            next_try: stored.next_try,
            error: stored.error,
        }
    }
}
