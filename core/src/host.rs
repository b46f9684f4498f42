//! All that a host brings, in one trait: transport, part store, ledger, clock and entropy.
//!
//! The traits have plain `async fn`s without a `Send` bound. The core never spawns, so whether a download may move between
//! threads is decided at the spawn, by the compiler, from the host's own types. The smallest host, which is not `Send` and
//! runs on `futures::executor::LocalPool`, is `tests/tests/local_pool.rs`; one to copy, on tokio and reqwest, is
//! `examples/tokio`; [`testing`](crate::testing) has a complete fake one.

use crate::error::Error;
use crate::event::Event;
use crate::ledger::Ledger;
use crate::record::Row;
use crate::store::{PartBytes, PartStore};
use crate::time::Clock;
use crate::transport::{Body, Transport};

/// All that a host brings.
pub trait Host {
    /// Fetches over HTTP.
    type Transport: Transport;
    /// Keeps part files.
    type Store: PartStore<
        Part: for<'a> PartBytes<<<Self::Transport as Transport>::Body as Body>::Chunk<'a>>,
    >;
    /// Remembers downloads.
    type Ledger: Ledger;
    /// Tells and waits for time.
    type Clock: Clock;

    /// The transport.
    fn transport(&self) -> &Self::Transport;
    /// The part store.
    fn store(&self) -> &Self::Store;
    /// The ledger.
    fn ledger(&self) -> &Self::Ledger;
    /// The clock.
    fn clock(&self) -> &Self::Clock;
    /// A seed from the system's own entropy, another one each time: every download draws its jitter from its own generator.
    fn seed(&self) -> u64;
    /// Is told of everything a user may want to see. Called often and in the transfer's own task: hand over and return.
    fn on_event(&self, event: &Event<'_>);
    /// Whether a download with `overwrite` may replace what is at its destination now; asked right before it is committed.
    async fn may_replace(&self, _row: &Row) -> Result<bool, Error> {
        Ok(true)
    }
}
