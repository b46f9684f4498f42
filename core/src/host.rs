//! One trait for everything that a host supplies: transport, part store, ledger, clock and entropy.
//!
//! The traits have plain `async fn`s without a `Send` bound. The core never spawns: the compiler decides where a download is
//! spawned, from the types of the host, whether it may move between threads. The smallest host, which is not `Send` and runs on
//! `futures::executor::LocalPool`, is `tests/tests/local_pool.rs`. A host to copy from, on tokio and reqwest, is
//! `examples/tokio`. [`testing`](crate::testing) has a complete fake.

use crate::error::Error;
use crate::event::Event;
use crate::ledger::Ledger;
use crate::record::Row;
use crate::store::{PartBytes, PartStore};
use crate::time::Clock;
use crate::transport::{Body, Transport};
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll};

/// Everything that a host supplies.
pub trait Host {
    /// `true` if no other process shares the ledger, no download is from a peer or has mirrors, and the store
    /// has no [unnamed](PartStore::unnamed) parts. The code for these is left out then, which makes a WebAssembly module smaller: nothing is
    /// claimed, no download waits for a peer, and all pieces of a file are from one source.
    const ALONE: bool = false;
    /// The type of the transport.
    type Transport: Transport;
    /// The type of the part store.
    type Store: PartStore<Part: for<'a> PartBytes<<<Self::Transport as Transport>::Body as Body>::Chunk<'a>>>;
    /// The type of the ledger.
    type Ledger: Ledger;
    /// The type of the clock.
    type Clock: Clock;

    /// The transport.
    fn transport(&self) -> &Self::Transport;
    /// The part store.
    fn store(&self) -> &Self::Store;
    /// The ledger.
    fn ledger(&self) -> &Self::Ledger;
    /// The clock.
    fn clock(&self) -> &Self::Clock;
    /// A seed from the entropy of the system, a new one for each call. Each download draws its jitter from a generator of its own.
    fn seed(&self) -> u64;
    /// Receives the events of all downloads. It is called often, in the task of the transfer, and must return quickly.
    fn on_event(&self, event: &Event<'_>);
    /// Returns `true` if a download with `overwrite` may replace the current file at its destination. Called right before the commit.
    async fn may_replace(&self, _row: &Row) -> Result<bool, Error> {
        Ok(true)
    }
}

/// A host's parts.
pub(crate) type PartOf<H> = <<H as Host>::Store as PartStore>::Part;
/// A host's response bodies.
pub(crate) type BodyOf<H> = <<H as Host>::Transport as Transport>::Body;

/// Does work that a host which is [alone](Host::ALONE) never has. Only a future that checks this when it is polled and when it is
/// dropped lets the compiler leave out the code: the states of an `async fn` stay, even if none of them is ever entered.
pub(crate) fn unless_alone<H: Host, F: Future>(work: F) -> UnlessAlone<H, F> {
    UnlessAlone((!H::ALONE).then(|| Box::pin(work)), PhantomData)
}

/// See [`unless_alone`].
pub(crate) struct UnlessAlone<H: Host, F>(Option<Pin<Box<F>>>, PhantomData<fn() -> H>);

impl<H: Host, F: Future> Future for UnlessAlone<H, F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        match self.0.as_mut().filter(|_| !H::ALONE) {
            Some(work) => work.as_mut().poll(context),
            None => Poll::Pending,
        }
    }
}
