//! The table `digests`. What a change means for its rows is the core's to say: they are read, changed and written anew.

use super::database::Fault;
use super::database::{Columns, integer};
use regrip_core::record::{Change, DigestRow, DigestSource, DownloadId};
use regrip_core::store::DigestState;
use rusqlite::{Connection, Transaction, named_params};

/// The digests of a download, in order.
pub(super) fn read(connection: &Connection, id: DownloadId) -> Result<Vec<DigestRow>, Fault> {
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
pub(super) fn write(transaction: &Transaction<'_>, id: DownloadId, digests: &[DigestRow]) -> Result<(), Fault> {
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
pub(super) fn apply(transaction: &Transaction<'_>, id: DownloadId, change: &Change) -> Result<(), Fault> {
    if matches!(change, Change::Claimed(_) | Change::AttemptEnded { .. } | Change::Completed { .. }) {
        return Ok(()); // the frequent ones that mean nothing for them
    }
    let before = read(transaction, id)?;
    let mut after = before.clone();
    DigestRow::apply(&mut after, change);
    match before == after {
        true => Ok(()),
        false => write(transaction, id, &after),
    }
}
