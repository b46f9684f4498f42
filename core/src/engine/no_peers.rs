//! In place of `peers` where the feature is off: every download comes from a plain URL.

use super::Shared;
use super::drive::stopped;
use super::stop::Ear;
use crate::config::DownloadsConfig;
use crate::error::{Error, Failed};
use crate::io::{Clock, Host};
use crate::job::Job;
use crate::record::Source;
use crate::semaphore::{Lane, Permit};

#[derive(Debug, Default)]
pub(super) struct Peers {}

/// There is none.
pub(crate) enum PeerLine {}

impl PeerLine {
    pub(crate) fn note<T>(&self, _clock: &impl Clock, _limit: u32, _head: &Result<T, Error>) {
        match *self {}
    }
}

impl Peers {
    pub(super) fn reconfigure(&self, _config: &DownloadsConfig) {}

    pub(super) fn line_of(&self, _source: &Source) -> Option<PeerLine> {
        None
    }
}

pub(super) async fn leave_to_move<H: Host>(
    shared: &Shared<H>,
    _job: &mut Job<'_, H>,
    ear: &mut Ear,
    lane: Lane,
) -> Result<Permit, Failed> {
    let permit = ear.unless_stopped(shared.permits.acquire_in(lane)).await;
    Ok(permit.map_err(stopped)?)
}
