//! The ledger's row and what may happen to it.
//!
//! [`Row::apply`] is the meaning of every [`Change`], as a pure function: an in-memory ledger calls it, a database does the
//! same in SQL, and one contract test compares the two.
//!
//! Invariant: `attempts` only grows; the status of a row that [is finished](Status::is_finished) changes only by
//! [`Change::Retried`]. [`Status::admits`] says so, and a ledger asks it in the transaction that records a change: several
//! processes share a ledger, and of a cancel and a commit that meet exactly one may count.

mod change;
mod digest;
mod row;
mod source;
pub(crate) mod status;
mod version;

pub use change::{
    AttemptEnd, Change, Failure, NewAttempt, NewDownload, Outcome, Restart, RestartReason, Terms,
    Waiting,
};
pub use digest::{DigestRow, DigestSource};
pub use row::{Mark, Row};
pub use source::{DownloadId, Source};
pub use status::Status;
pub use version::{Behaviour, KnownSize, SizeSource, Validators};
