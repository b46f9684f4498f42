//! The ledger: the rows of the downloads under way, each written through to JavaScript (`js/ledger/`) as a plain record.
//!
//! Invariant: a row changes here only together with its record, and the call is over when the record is durable. One row a
//! destination: a record that is there is taken up, and one that is of no more use is forgotten on the other side.

use crate::fields::Fields;
use crate::host::JsHost;
use crate::pending::Pending;
use regrip_core::bounds::Bounds;
use regrip_core::ledger::Ledger;
use regrip_core::record::{
    Behaviour, DigestRow, DigestSource, Failure, KnownSize, Mark, NewAttempt, NewDownload, SizeSource, Validators,
};
use regrip_core::store::Committing;
use regrip_core::store::{DigestState, PartToken};
use regrip_core::{Algorithm, Change, Class, DownloadId, Error, OnExists, Row, Source, Status};
use std::cell::RefCell;
use std::future::Future;
use std::rc::Rc;
use std::slice;
use std::time::SystemTime;
use wasm_bindgen::prelude::*;

/// Rows under way. [`Row::apply`] says what each change means.
#[derive(Debug)]
pub(crate) struct Rows {
    host: Rc<JsHost>,
    rows: RefCell<Vec<Row>>,
}

impl Rows {
    pub(crate) fn new(host: Rc<JsHost>) -> Self {
        Rows { host, rows: RefCell::default() }
    }

    /// Lets go of the row of a download that is over. Its record stays on the other side as long as it is of use.
    pub(crate) fn let_go(&self, destination: &str) {
        let mut rows = self.rows.borrow_mut();
        rows.retain(|row| row.new.destination != destination);
    }

    /// Changes a row and has it recorded, unless the row refuses it.
    #[inline(never)]
    fn change(&self, id: DownloadId, change: &mut dyn FnMut(&mut Row) -> Result<(), Error>) -> Pending<()> {
        let mut rows = self.rows.borrow_mut();
        let Some(row) = rows.iter_mut().find(|row| row.id == id) else {
            return Pending::failed(Error::NoSuchDownload(id), drop);
        };
        match change(row) {
            Ok(()) => self.save(row),
            Err(error) => Pending::failed(error, drop),
        }
    }

    fn save(&self, row: &Row) -> Pending<()> {
        let record = self.host.fields();
        write(row, &record);
        Pending::done(self.host.save(record))
    }

    fn find(&self, wanted: &dyn Fn(&Row) -> bool) -> Vec<Row> {
        let rows = self.rows.borrow();
        rows.iter().filter(|row| wanted(row)).cloned().collect()
    }
}

impl Ledger for Rows {
    async fn insert(&self, new: &NewDownload, _at: SystemTime) -> Result<DownloadId, Error> {
        let id = self.host.id_of(&new.destination) as DownloadId;
        let row = Row::new(id, new.clone());
        let saved = self.save(&row);
        self.rows.borrow_mut().retain(|before| before.id != id); // a destination has one row here
        self.rows.borrow_mut().push(row);
        saved.await?;
        Ok(id)
    }

    fn row(&self, id: DownloadId) -> impl Future<Output = Result<Row, Error>> {
        let row = self.find(&|row| row.id == id).pop();
        std::future::ready(row.ok_or(Error::NoSuchDownload(id)))
    }

    async fn rows_for(&self, destination: &str) -> Result<Vec<Row>, Error> {
        let here = self.find(&|row| row.new.destination == destination);
        if !here.is_empty() {
            return Ok(here);
        }
        let record = Pending::new(self.host.load(destination), |record| record);
        let record = record.await?;
        if !record.is_object() {
            return Ok(Vec::new());
        }
        let id = self.host.id_of(destination) as DownloadId;
        let row = read(id, &record.unchecked_into());
        self.rows.borrow_mut().push(row.clone());
        Ok(vec![row])
    }

    fn unfinished_marks(&self) -> impl Future<Output = Result<Vec<Mark>, Error>> {
        // What earlier processes left is looked for on the other side, which starts it by its destination.
        let rows = self.find(&|row| row.status.is_active());
        std::future::ready(Ok(rows.into_iter().map(Mark::from).collect()))
    }

    async fn begin_attempt(&self, id: DownloadId, _attempt: &NewAttempt) -> Result<u32, Error> {
        let mut attempts = 0;
        self.change(id, &mut |row| {
            if !row.status.is_active() {
                return Err(row.wrong_state());
            }
            attempts = row.begin_attempt();
            Ok(())
        })
        .await?;
        Ok(attempts)
    }

    fn record(&self, id: DownloadId, change: &Change, _at: SystemTime) -> impl Future<Output = Result<(), Error>> {
        self.change(id, &mut |row| apply(row, slice::from_ref(change)))
    }

    /// Without the beginning of an attempt: no part here is unnamed.
    async fn record_all(
        &self,
        id: DownloadId,
        _begin: Option<&NewAttempt>,
        changes: &[Change],
        _at: SystemTime,
    ) -> Result<Option<u32>, Error> {
        self.change(id, &mut |row| apply(row, changes)).await?;
        Ok(None)
    }

    fn remove(&self, id: DownloadId) -> impl Future<Output = Result<(), Error>> {
        // Records are removed on the other side, by destination.
        self.rows.borrow_mut().retain(|row| row.id != id);
        std::future::ready(Ok(()))
    }
}

fn apply(row: &mut Row, changes: &[Change]) -> Result<(), Error> {
    for change in changes {
        if !row.status.admits(change) {
            return Err(row.wrong_state());
        }
        row.apply(change);
    }
    Ok(())
}

/// A row as a record. What only a running process needs is left out.
fn write(row: &Row, record: &Fields) {
    let Row { new, bounds, validators, .. } = row;
    record
        .put("url", new.source.url())
        .put("path", &new.destination)
        .put("part", &new.part)
        .put("onExists", new.on_exists.name())
        .count_some("releaseBytes", new.release_size)
        .mark("adopt", new.adopt)
        .mark("claimed", row.claimed)
        .put("status", row.status.name())
        .put_some("etag", validators.etag.as_deref())
        .put_some("lastModified", validators.last_modified.as_deref())
        .mark("lastModifiedWeak", validators.last_modified.is_some() && !validators.last_modified_strong)
        .put_some("contentType", validators.content_type.as_deref())
        .mark("ignoresIfRange", row.behaviour.ignores_if_range)
        .mark("refusesRanges", row.behaviour.refuses_ranges)
        .put_some("shrunk", row.behaviour.shrunk.as_deref())
        .count_some("expectedBytes", row.size.map(|size| size.bytes))
        .put_some("expectedBytesSource", row.size.map(|size| size.source.name()))
        .mark("mismatch", row.mismatch)
        .count("bytes", row.downloaded)
        .count("durableBytes", row.durable)
        .put_some("bootId", row.epoch.as_deref())
        .count("responses", u64::from(row.responses))
        .mark("digestRestarted", row.digest_restarted)
        .count("attempts", u64::from(row.attempts))
        .count("restarts", u64::from(row.restarts))
        .count("attemptsInARow", u64::from(bounds.in_a_row))
        .count("attemptsInAll", u64::from(bounds.in_all))
        .count("restartsInAll", u64::from(bounds.restarts))
        .count("furthestBytes", bounds.furthest);
    write_digests(&row.digests, record);
    if let Some(committing) = &row.committing {
        record.put("committingToken", &committing.token.0).count("committingBytes", committing.size);
    }
    if let Some(failure) = &row.failure {
        record.put("code", failure.code.as_str()).put("error", &failure.text);
    }
}

/// Digests are words, `source:algorithm:wanted:got`, whose empty fields are missing. The states, which only browsers save,
/// are fields named by their algorithm.
fn write_digests(digests: &[DigestRow], record: &Fields) {
    let mut words = String::new();
    for row in digests {
        for field in [
            row.source.name(),
            row.algorithm.name(),
            row.wanted.as_deref().unwrap_or_default(),
            row.got.as_deref().unwrap_or_default(),
        ] {
            words.push_str(field);
            words.push(':');
        }
        words.push(' ');
        if let Some(saved) = &row.state {
            let name = row.algorithm.name();
            record.count(&[name, "Offset"].concat(), saved.offset).binary(&[name, "State"].concat(), &saved.state);
        }
    }
    record.put("digests", &words);
}

fn read_digests(record: &Fields) -> Vec<DigestRow> {
    let row = |index: u32| {
        let field = |at| record.word("digests", 4 * index + at);
        let source = DigestSource::named(&field(0)?)?;
        let algorithm: Algorithm = field(1)?.parse().ok()?;
        let hex = |at| field(at).filter(|hex| !hex.is_empty());
        let (wanted, got) = (hex(2), hex(3));
        let name = algorithm.name();
        let state = record.bytes(&[name, "State"].concat());
        Some(DigestRow {
            algorithm,
            source,
            wanted,
            state: state.map(|state| DigestState { offset: record.number_or(&[name, "Offset"].concat(), 0), state }),
            got,
        })
    };
    let rows = (0..).take_while(|index| record.word("digests", 4 * index + 3).is_some());
    rows.filter_map(row).collect()
}

/// What is to be downloaded, as a record has it.
pub(crate) fn read_new(record: &Fields) -> NewDownload {
    let text = |name| record.text(name).unwrap_or_default();
    NewDownload {
        source: Source::Url { url: text("url") },
        // The names are in the record, and the other side misses them.
        mirrors: Vec::new(),
        header_names: Vec::new(),
        destination: text("path"),
        part: text("part"),
        on_exists: OnExists::named(&text("onExists")).unwrap_or_default(),
        release_size: record.number("releaseBytes"),
        digests: read_digests(record),
        adopt: record.flag("adopt"),
    }
}

/// The row of a record. What is missing in it is as in a new row: the part's bytes are worth less then, never more.
fn read(id: DownloadId, record: &Fields) -> Row {
    let text = |name| record.text(name).unwrap_or_default();
    let new = read_new(record);
    let mut row = Row::new(id, new);
    row.claimed = record.flag("claimed");
    let status = record.text("status");
    row.status = status.and_then(|name| Status::named(&name)).unwrap_or(Status::Queued);
    row.validators = Validators {
        etag: record.text("etag"),
        last_modified: record.text("lastModified"),
        // Earlier versions kept only a strong one.
        last_modified_strong: !record.flag("lastModifiedWeak"),
        content_type: record.text("contentType"),
    };
    row.behaviour = Behaviour {
        ignores_if_range: record.flag("ignoresIfRange"),
        refuses_ranges: record.flag("refusesRanges"),
        shrunk: record.text("shrunk"),
    };
    let source = record.text("expectedBytesSource");
    let source = source.and_then(|name| SizeSource::named(&name));
    row.size = record.number("expectedBytes").zip(source).map(|(bytes, source)| KnownSize { bytes, source });
    row.mismatch = record.flag("mismatch");
    row.downloaded = record.number_or("bytes", 0);
    row.durable = record.number_or("durableBytes", 0);
    row.epoch = record.text("bootId");
    row.responses = record.small_or("responses", 0);
    row.digest_restarted = record.flag("digestRestarted");
    row.attempts = record.small_or("attempts", 0);
    row.restarts = record.small_or("restarts", 0);
    row.bounds = Bounds {
        in_a_row: record.small_or("attemptsInARow", 0),
        in_all: record.small_or("attemptsInAll", 0),
        restarts: record.small_or("restartsInAll", 0),
        furthest: record.number_or("furthestBytes", 0),
    };
    // Its class counts for nothing here.
    row.failure = record.text("code").map(|code| {
        let Ok(code) = code.parse();
        Failure { class: Class::Permanent, code, text: text("error") }
    });
    row.committing =
        record.number("committingBytes").map(|size| Committing { token: PartToken(text("committingToken")), size });
    row
}
