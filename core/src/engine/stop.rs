//! How a drive is told to end, and how it listens.

use crate::error::Error;
use futures::channel::oneshot;
use futures::future::{Either, select};
use std::future::Future;
use std::pin::pin;

/// Why a drive ends before its download does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// A user called it off.
    Cancel,
    /// The process ends.
    End,
}

/// Receives at most one stop.
pub(super) struct Ear(oneshot::Receiver<Stop>);

impl Ear {
    pub(super) fn new(receiver: oneshot::Receiver<Stop>) -> Self {
        Ear(receiver)
    }

    /// Runs `work` unless a stop comes first; then the work is dropped. Work that is done in the same moment wins.
    pub(super) async fn unless_stopped<T>(
        &mut self,
        work: impl Future<Output = T>,
    ) -> Result<T, Stop> {
        match select(pin!(work), &mut self.0).await {
            Either::Left((done, _)) => Ok(done),
            // The engine is gone: as if the process ended.
            Either::Right((stop, _)) => Err(stop.unwrap_or(Stop::End)),
        }
    }

    /// Receives nothing from now on: who wants to stop this drive is told that it is too late. A stop that was said before
    /// still counts.
    pub(super) fn close(&mut self) -> Option<Stop> {
        self.0.close();
        self.0.try_recv().ok().flatten()
    }
}

/// The error that a stop ends a drive with.
pub(super) fn stopped(stop: Stop) -> Error {
    match stop {
        Stop::Cancel => Error::Cancelled,
        Stop::End => Error::Interrupted,
    }
}
