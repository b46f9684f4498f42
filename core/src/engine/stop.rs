//! Stop signals: how a drive is asked to end.

use crate::error::{Error, Failed};
use futures::channel::oneshot;
use futures::future::{Either, select};
use std::future::Future;
use std::pin::pin;

/// Why a drive ends before its download is finished.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// A user cancelled the download.
    Cancel,
    /// A user paused the download.
    Pause,
    /// The process is shutting down.
    End,
}

/// Receives at most one stop.
pub(super) struct Ear(oneshot::Receiver<Stop>);

impl Ear {
    pub(super) fn new(receiver: oneshot::Receiver<Stop>) -> Self {
        Ear(receiver)
    }

    /// Runs `work` unless a stop is received first; then `work` is dropped. If both are ready at once, the work wins.
    pub(super) async fn unless_stopped<T>(&mut self, work: impl Future<Output = T>) -> Result<T, Stop> {
        match select(pin!(work), &mut self.0).await {
            Either::Left((done, _)) => Ok(done),
            // The engine was dropped, as if the process were shutting down.
            Either::Right((stop, _)) => Err(stop.unwrap_or(Stop::End)),
        }
    }

    /// Ignores stops from now on: their sender learns that it is too late. A stop that was sent before still counts.
    pub(super) fn close(&mut self) -> Option<Stop> {
        self.0.close();
        self.0.try_recv().ok().flatten()
    }
}

/// The error of a drive that was stopped.
pub(super) fn stopped(stop: Stop) -> Failed {
    let error = match stop {
        Stop::Cancel => Error::Cancelled,
        Stop::Pause => Error::Paused,
        Stop::End => Error::Interrupted,
    };
    error.into()
}
