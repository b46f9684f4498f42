//! Which files were delivered by a download of this ledger and have not been changed since.

use super::{Catalogue, NativeLedger};
use crate::store::FileStamp;
use regrip_core::record::Row;
use regrip_core::{Error, Status};
use std::path::Path;
use std::time::SystemTime;

/// Returns `true` if a download of this ledger delivered the file and nobody has changed it since.
///
/// # Errors
/// `Ledger`.
pub(crate) async fn is_delivered(
    ledger: &impl NativeLedger,
    destination: &Path,
    stamp: FileStamp,
) -> Result<bool, Error> {
    for row in ledger.rows_for(&destination.to_string_lossy()).await? {
        let is_completed = matches!(row.status, Status::Completed | Status::ImportQueued);
        if is_completed {
            let recorded = ledger.entry(row.id).await?.completed_stamp();
            if is_as_left(ledger, &row, recorded, stamp).await? {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

/// Returns `true` if nobody has written to the file since a row completed it. `recorded` is its stamp.
///
/// # Errors
/// `Ledger`.
pub(crate) async fn is_as_left(
    ledger: &impl Catalogue,
    row: &Row,
    recorded: Option<FileStamp>,
    stamp: FileStamp,
) -> Result<bool, Error> {
    match recorded {
        Some(recorded) => Ok(recorded == stamp),
        // Killed between the commit and its stamp: nobody wrote to it since, if it is older than the commit.
        None => {
            let completed_at = ledger.entry(row.id).await?.completed_at;
            Ok(stamp.size == row.downloaded && is_older(stamp, completed_at.as_deref()))
        }
    }
}

/// Returns `true` if a file was last written before a moment in RFC 3339.
fn is_older(stamp: FileStamp, moment: Option<&str>) -> bool {
    let moment = moment.and_then(|moment| humantime::parse_rfc3339(moment).ok());
    let since_1970 = moment.and_then(|moment| moment.duration_since(SystemTime::UNIX_EPOCH).ok());
    // Times of rows are whole milliseconds, rounded down.
    since_1970.is_some_and(|moment| {
        i128::from(stamp.mtime_ns) <= (moment.as_millis() as i128 + 1) * 1_000_000
    })
}
