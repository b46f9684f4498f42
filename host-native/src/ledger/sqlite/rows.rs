//! A row of the table `downloads` and the core's [`Row`], with those of the table `digests`. What a change means for digests is
//! the core's to say: they are read, changed and written anew.

use super::database::Fault;
use super::database::{Columns, integer, time};
use regrip_core::bounds::Bounds;
use regrip_core::classify::Class;
use regrip_core::record::{
    Behaviour, Change, DigestRow, DigestSource, DownloadId, Failure, KnownSize, Mark, NewDownload, Row, SizeSource,
    Source, Status, Validators, Waiting,
};
use regrip_core::store::{Committing, DigestState, PartToken};
use regrip_core::{Error, OnExists, display_url};
use rusqlite::{Connection, OptionalExtension, Params, Transaction, named_params};
use std::path::Path;
use std::time::SystemTime;

/// Refuses a destination of which there is an unfinished download, which another process has just added.
pub(super) fn refuse_second(transaction: &Transaction<'_>, destination: &str) -> Result<(), Fault> {
    let unfinished = "SELECT id, url FROM downloads
        WHERE dest_path = ?1 AND status IN ('queued', 'downloading', 'waiting', 'paused', 'committing')";
    let mut found = transaction.prepare_cached(unfinished)?;
    let found = found.query_row([destination], |row| Ok((row.get(0)?, row.get::<_, String>(1)?))).optional()?;
    found.map_or(Ok(()), |(id, url)| {
        let (path, url) = (destination.to_owned(), display_url(&url));
        Err(Fault::Core(Error::DestinationBusy { path, id, url }))
    })
}

/// Adds a row.
pub(super) fn insert(transaction: &Transaction<'_>, new: &NewDownload, at: SystemTime) -> Result<DownloadId, Fault> {
    let (kind, peer) = match &new.source {
        Source::Url { .. } => ("url", None),
        Source::Peer { peer_id, peer_name, item_id, .. } => ("peer", Some((peer_id, peer_name, item_id))),
    };
    let filename = Path::new(&new.destination).file_name();
    transaction
        .prepare_cached(
            "INSERT INTO downloads (
                 kind, url, peer_id, peer_name, item_id, filename, dest_path, part_path, header_names, on_exists,
                 mirrors, adopt, release_size, status, created_at, updated_at
             ) VALUES (
                 :kind, :url, :peer_id, :peer_name, :item_id, :filename, :dest_path, :part_path, :header_names, :on_exists,
                 :mirrors, :adopt, :release_size, :status, :at, :at
             )",
        )?
        .execute(named_params! {
            ":kind": kind,
            ":url": new.source.url(),
            ":peer_id": peer.map(|(id, _, _)| id),
            ":peer_name": peer.map(|(_, name, _)| name),
            ":item_id": peer.map(|(_, _, item)| item),
            ":filename": filename.unwrap_or_default().to_string_lossy(),
            ":dest_path": new.destination,
            ":part_path": new.part,
            ":header_names": names(&new.header_names)?,
            ":mirrors": names(&new.mirrors)?,
            ":on_exists": new.on_exists.name(),
            ":adopt": new.adopt,
            ":release_size": new.release_size.map(integer),
            ":status": Status::Queued.name(),
            ":at": time(at),
        })?;
    let id = transaction.last_insert_rowid();
    write_digests(transaction, id, &new.digests)?;
    Ok(id)
}

/// Header names or URLs, as one column keeps them.
pub(super) fn names(names: &[String]) -> Result<String, Error> {
    serde_json::to_string(names).map_err(|error| Error::ledger("writing a list of names", error))
}

/// Reads one row.
pub(super) fn row(connection: &Connection, id: DownloadId) -> Result<Row, Fault> {
    let found = connection
        .prepare_cached("SELECT * FROM downloads WHERE id = ?1")?
        .query_row([id], |row| Ok(read(connection, row)))
        .optional()?;
    found.ok_or(Error::NoSuchDownload(id))?
}

/// Reads the rows that a `SELECT * FROM downloads …` finds.
pub(super) fn rows(connection: &Connection, select: &str, params: impl Params) -> Result<Vec<Row>, Fault> {
    let mut statement = connection.prepare_cached(select)?;
    let found = statement.query_and_then(params, |row| read(connection, row))?;
    found.collect()
}

/// What decides which of the unfinished rows are driven, no more: a start may have a hundred thousand of them.
pub(super) fn marks(connection: &Connection) -> Result<Vec<Mark>, Fault> {
    let mut statement = connection.prepare_cached(
        "SELECT id, dest_path, status = 'committing' AS committing, durable_bytes FROM downloads
         WHERE status IN ('queued', 'downloading', 'waiting', 'committing')",
    )?;
    let marks = statement.query_and_then([], |row| -> Result<Mark, Fault> {
        let durable: i64 = row.get("durable_bytes")?;
        Ok(Mark {
            id: row.get("id")?,
            destination: row.get("dest_path")?,
            committing: row.get("committing")?,
            // A negative one is reported when the row is driven; it must not stop other rows.
            durable: u64::try_from(durable).unwrap_or_default(),
        })
    })?;
    marks.collect()
}

/// A row of the table as the core knows it. Nothing in it is trusted: what makes no sense is an error that names it.
pub(super) fn read(connection: &Connection, row: &rusqlite::Row<'_>) -> Result<Row, Fault> {
    let id = row.get("id").map_err(|error| Error::ledger("reading the id of a download", error))?;
    let columns = Columns::new(row, id);
    // In the table's order: see `Columns`.
    let new = read_new(&columns)?;
    let size = read_size(&columns)?;
    let mismatch = columns.get("expected_bytes_mismatch")?;
    let mut validators = Validators {
        etag: columns.get("etag")?,
        last_modified: columns.get("last_modified")?,
        ..Validators::default()
    };
    let claimed = columns.get("claimed")?;
    let downloaded = columns.count("downloaded_bytes")?;
    let durable = columns.count("durable_bytes")?;
    let epoch = columns.get("boot_id")?;
    let responses = columns.count("responses")?;
    let digests = read_digests(connection, id)?;
    let digest_restarted = columns.get("digest_restarted")?;
    let restarts = columns.count("restarts")?;
    let bounds = Bounds {
        in_a_row: columns.count("bound_in_a_row")?,
        in_all: columns.count("bound_in_all")?,
        restarts: columns.count("bound_restarts")?,
        furthest: columns.count("bound_furthest")?,
    };
    let status = columns.word("status", Status::named)?;
    let waiting = read_waiting(&columns)?;
    let committing = read_committing(&columns)?;
    let failure = read_failure(&columns)?;
    let attempts = columns.count("attempts")?;
    let weak: bool = columns.get("last_modified_weak")?;
    validators.last_modified_strong = validators.last_modified.is_some() && !weak;
    validators.content_type = columns.get("content_type")?;
    let behaviour = Behaviour {
        ignores_if_range: columns.get("ignores_if_range")?,
        refuses_ranges: columns.get("refuses_ranges")?,
        shrunk: columns.get("shrunk")?,
    };
    Ok(Row {
        id,
        new,
        claimed,
        status,
        waiting,
        validators,
        behaviour,
        size,
        mismatch,
        downloaded,
        durable,
        epoch,
        responses,
        digests,
        digest_restarted,
        attempts,
        restarts,
        bounds,
        committing,
        failure,
    })
}

/// All but the digests, which have a table of their own.
fn read_new(columns: &Columns<'_>) -> Result<NewDownload, Error> {
    let kind: String = columns.get("kind")?;
    let url = columns.get("url")?;
    let source = match kind.as_str() {
        "peer" => Source::Peer {
            peer_id: columns.get("peer_id")?,
            peer_name: columns.get("peer_name")?,
            item_id: columns.get("item_id")?,
            url,
        },
        _ => Source::Url { url }, // the table allows no third
    };
    let destination = columns.get("dest_path")?;
    let part = columns.get("part_path")?;
    let header_names: String = columns.get("header_names")?;
    let mirrors: String = columns.get("mirrors")?;
    Ok(NewDownload {
        source,
        mirrors: serde_json::from_str(&mirrors).map_err(|error| columns.bad("mirrors", error))?,
        header_names: serde_json::from_str(&header_names).map_err(|error| columns.bad("header_names", error))?,
        destination,
        part,
        on_exists: columns.word("on_exists", OnExists::named)?,
        adopt: columns.get("adopt")?,
        release_size: columns.count_if_any("release_size")?,
        digests: Vec::new(),
    })
}

fn read_waiting(columns: &Columns<'_>) -> Result<Option<Waiting>, Error> {
    let Some(why) = columns.get("waiting_why")? else {
        return Ok(None);
    };
    let until = columns.time("waiting_until")?;
    Ok(Some(Waiting { until, why }))
}

fn read_size(columns: &Columns<'_>) -> Result<Option<KnownSize>, Error> {
    let Some(bytes) = columns.count_if_any("expected_bytes")? else {
        return Ok(None);
    };
    let source = columns.word("expected_bytes_source", SizeSource::named)?;
    Ok(Some(KnownSize { bytes, source }))
}

fn read_committing(columns: &Columns<'_>) -> Result<Option<Committing>, Error> {
    let Some(size) = columns.count_if_any("committing_size")? else {
        return Ok(None);
    };
    Ok(Some(Committing { token: PartToken(columns.get("committing_token")?), size }))
}

fn read_failure(columns: &Columns<'_>) -> Result<Option<Failure>, Error> {
    let Some(text) = columns.get("error")? else {
        return Ok(None);
    };
    Ok(Some(Failure {
        class: columns.word("error_class", Class::named)?,
        code: columns.word("error_code", |code| code.parse().ok())?,
        text,
    }))
}

/// The digests of a download, in order.
fn read_digests(connection: &Connection, id: DownloadId) -> Result<Vec<DigestRow>, Fault> {
    let mut statement = connection.prepare_cached("SELECT * FROM digests WHERE download_id = ?1 ORDER BY position")?;
    let rows = statement.query_and_then([id], |row| {
        let columns = Columns::new(row, id);
        let algorithm = columns.word("algorithm", |name| name.parse().ok())?;
        let source = columns.word("source", DigestSource::named)?;
        let wanted = columns.get("wanted")?;
        let state: Option<Vec<u8>> = columns.get("state")?;
        let offset = columns.count_if_any("state_offset")?;
        let got = columns.get("got")?;
        let state = state.zip(offset);
        Ok::<_, Fault>(DigestRow {
            algorithm,
            source,
            wanted,
            state: state.map(|(state, offset)| DigestState { offset, state }),
            got,
        })
    })?;
    rows.collect()
}

/// Writes the digests of a download in place of those that it has.
fn write_digests(transaction: &Transaction<'_>, id: DownloadId, digests: &[DigestRow]) -> Result<(), Fault> {
    transaction.prepare_cached("DELETE FROM digests WHERE download_id = ?1")?.execute([id])?;
    let mut insert = transaction.prepare_cached(
        "INSERT INTO digests (download_id, position, algorithm, source, wanted, state, state_offset, got)
         VALUES (:id, :position, :algorithm, :source, :wanted, :state, :offset, :got)",
    )?;
    for (position, row) in digests.iter().enumerate() {
        insert.execute(named_params! {
            ":id": id,
            ":position": integer(position as u64),
            ":algorithm": row.algorithm.name(),
            ":source": row.source.name(),
            ":wanted": row.wanted,
            ":state": row.state.as_ref().map(|saved| &saved.state),
            ":offset": row.state.as_ref().map(|saved| integer(saved.offset)),
            ":got": row.got,
        })?;
    }
    Ok(())
}

/// Does to the digests of a download what a change means for them.
pub(super) fn apply_to_digests(transaction: &Transaction<'_>, id: DownloadId, change: &Change) -> Result<(), Fault> {
    if matches!(change, Change::Claimed(_) | Change::AttemptEnded { .. } | Change::Completed { .. }) {
        return Ok(()); // the frequent ones that mean nothing for them
    }
    let before = read_digests(transaction, id)?;
    let mut after = before.clone();
    DigestRow::apply(&mut after, change);
    match before == after {
        true => Ok(()),
        false => write_digests(transaction, id, &after),
    }
}
