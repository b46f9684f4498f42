//! A server whose configuration has no downloads block: it fetches nothing, so what an earlier one left unfinished fails,
//! with what was found of it. A file that was whole and only lacked its name gets it first.

use crate::control::Control;
use crate::ledger::NativeLedger;
use crate::store::FileStamp;
use regrip_core::ErrorCode;
use regrip_core::{Class, Error, Row, Status};
use std::path::Path;

/// The failure's stable name.
const CODE: &str = "NoDownloads";

/// Repairs and fails.
///
/// # Errors
/// `Ledger`.
pub(super) async fn settle(control: &Control<impl NativeLedger>) -> Result<(), Error> {
    let (engine, ledger) = (control.engine(), control.ledger());
    ledger.close_open_attempts().await?;
    for id in engine.recover().await?.drive {
        let row = ledger.row(id).await?;
        if row.status == Status::Committing {
            match engine.repair(id).await {
                Ok(true) => {
                    tracing::info!(id, file = ?row.new.destination, "the file was whole, and has its name now");
                    continue;
                }
                Ok(false) => {}
                // It has failed by that, and its row says so.
                Err(_) if ledger.row(id).await?.status.is_finished() => continue,
                Err(error) => return Err(error),
            }
        }
        fail(control, &row).await?;
    }
    Ok(())
}

async fn fail(control: &Control<impl NativeLedger>, row: &Row) -> Result<(), Error> {
    let text = format!(
        "the configuration has no downloads block: {}",
        found(&row.new.part)
    );
    tracing::warn!(id = row.id, "failed: {text}");
    let class = Class::Permanent;
    control
        .note_failure(row, class, ErrorCode::Other(CODE.into()), text, None)
        .await
}

/// What is on the disk of a download.
fn found(part: &str) -> String {
    match FileStamp::of(Path::new(part)) {
        Ok(Some(stamp)) => format!("its part {part} has {} bytes and is kept", stamp.size),
        Ok(None) => format!("there is no part {part}"),
        Err(error) => format!("its part {part} cannot be looked at: {error}"),
    }
}
