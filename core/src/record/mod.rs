//! The row of a download and the changes to it.
//!
//! [`Row::apply`] defines every [`Change`] as a pure function. A ledger in memory calls it, a database does the same in SQL, and a
//! contract test compares them.
//!
//! Invariant: `attempts` only grows; the status of a row that [is finished](Status::is_finished) changes only by
//! [`Change::Retried`], and that of a paused one only by [`Change::Unpaused`] and [`Change::Cancelled`]. A ledger checks [`Status::admits`] in the transaction that records a change, because several processes
//! may share it: if a cancel races with a commit, exactly one wins.

mod change;
mod digest;
mod row;
mod source;
pub(crate) mod status;
mod version;

pub use change::{
    AttemptEnd, Change, Failure, NewAttempt, NewDownload, Outcome, Restart, RestartReason, Terms, Waiting,
};
pub use digest::{DigestRow, DigestSource};
pub use row::{Mark, Row};
pub use source::{DownloadId, Source};
pub use status::Status;
pub use version::{Behaviour, KnownSize, SizeSource, Validators};
