//! All that a ledger offers to the native host.

use super::catalogue::Catalogue;
use super::serve_tables::ServeTables;
use super::shared_digests::SharedDigests;
use crate::store::FileStamp;
use regrip_core::Error;
use regrip_core::record::DownloadId;
use regrip_core::send_ledger::SendLedger;

/// A ledger of the native host. Clones are handles on the same ledger.
pub trait NativeLedger:
    SendLedger + Catalogue + ServeTables + SharedDigests + Clone + Send + Sync + 'static
{
    /// Records the finished file's size and time, by which it is known to be unchanged later.
    ///
    /// # Errors
    /// `NoSuchDownload`, `Ledger`, `DiskFull`.
    fn stamp(
        &self,
        id: DownloadId,
        stamp: FileStamp,
    ) -> impl Future<Output = Result<(), Error>> + Send;

    /// Closes the attempts that killed processes left open, as `lost`, and returns how many. For a process that has the
    /// ledger to itself: another one's attempts look the same.
    ///
    /// # Errors
    /// `Ledger`, `DiskFull`.
    fn close_open_attempts(&self) -> impl Future<Output = Result<usize, Error>> + Send;
}
