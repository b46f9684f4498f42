//! Stubs of completed downloads that could not be removed yet.

use super::database::Fault;
use crate::ledger::LeftStub;
use rusqlite::{Connection, Transaction, params};

/// All of them, by name.
pub(super) fn all(connection: &Connection) -> Result<Vec<LeftStub>, Fault> {
    let select = "SELECT stub_name, peer_id, item_id FROM left_stubs ORDER BY stub_name";
    let mut statement = connection.prepare_cached(select)?;
    let found = statement.query_map([], |row| {
        Ok(LeftStub {
            stub_name: row.get(0)?,
            peer_id: row.get(1)?,
            item_id: row.get(2)?,
        })
    })?;
    Ok(found.collect::<Result<_, _>>()?)
}

/// Adds one, in place of another one of that name.
pub(super) fn add(transaction: &Transaction<'_>, stub: &LeftStub) -> Result<(), Fault> {
    let insert =
        "INSERT OR REPLACE INTO left_stubs (stub_name, peer_id, item_id) VALUES (?1, ?2, ?3)";
    let params = params![stub.stub_name, stub.peer_id, stub.item_id];
    transaction.prepare_cached(insert)?.execute(params)?;
    Ok(())
}

/// Removes one, if it is there.
pub(super) fn remove(transaction: &Transaction<'_>, stub_name: &str) -> Result<(), Fault> {
    let delete = "DELETE FROM left_stubs WHERE stub_name = ?1";
    transaction.prepare_cached(delete)?.execute([stub_name])?;
    Ok(())
}
