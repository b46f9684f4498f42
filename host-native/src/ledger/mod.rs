//! The ledger: what the host records, and what it shows of that.
//!
//! Read [`NativeLedger`] first: it is all that a ledger must offer. The engine writes by [`SendLedger`], what only shows
//! downloads reads by [`Catalogue`], `serve` has its tables ([`ServeTables`]) and a share its own ([`SharedDigests`]).
//! [`SqliteLedger`], in the folder `sqlite`, is that of one machine, `PostgresLedger`, in the folder `postgres`, that of a fleet;
//! each is named only at the place that opens it. The library without the feature `sqlite` needs less, a [`FileLedger`], and keeps it in memory.
//! Nothing here decides about downloads.
//!
//! Invariant: a call returns after its transaction is durable, and the row it leaves is the one
//! [`Row::apply`](regrip_core::record::Row::apply) describes. Several processes may share a ledger.
//!
//! [`SendLedger`]: regrip_core::send_ledger::SendLedger

mod catalogue;
#[cfg(any(not(feature = "sqlite"), test))]
mod memory;
mod native;
#[cfg(feature = "fleet")]
mod postgres;
#[cfg(feature = "sqlite")]
mod sqlite;

pub use catalogue::{AttemptLine, Catalogue, Download, FileLedger, LedgerEntry};
pub(crate) use catalogue::{is_as_left, is_delivered};
#[cfg(not(feature = "sqlite"))]
pub(crate) use memory::MemoryLedger;
pub use native::{
    ClaimLimits, ClientRecord, DownloadLease, DownloadOrigin, Fleet, FleetWorker, Import, ImportState, LeftStub,
    NativeLedger, NewPeerKey, PeerKey, PeerKeys, ServeTables, SharedDigest, SharedDigests, TakenOver, WorkerReport,
};
#[cfg(feature = "fleet")]
pub use postgres::{BadDatabaseUrl, DatabaseRefused, PostgresLedger};
#[cfg(feature = "sqlite")]
pub use sqlite::jack::{JackDownload, JackRefused, JackStatus, read_jack};
#[cfg(feature = "sqlite")]
pub use sqlite::{OpenError, Patience, SqliteLedger};

/// Returns `true` if an error is that the ledger did not answer: another program kept the file locked, or the database is gone.
#[cfg(feature = "cli")]
pub(crate) fn is_busy(error: &regrip_core::Error) -> bool {
    #[cfg(feature = "fleet")]
    if postgres::is_gone(error) {
        return true;
    }
    sqlite::is_busy(error)
}

/// What the database itself reported, if it is of this type.
#[cfg(feature = "sqlite")]
fn cause<T: std::error::Error + 'static>(error: &regrip_core::Error) -> Option<&T> {
    let regrip_core::Error::Ledger { source: Some(source), .. } = error else {
        return None;
    };
    source.downcast_ref()
}
