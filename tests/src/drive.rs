//! Asks an engine for a download, as often as the scenario says. The same on every host.

use crate::scenario::{PATH, Scenario};
use futures::future::{Either, select};
use regrip_core::engine::Engine;
use regrip_core::host::Host;
use regrip_core::record::{DownloadId, NewDownload, Source};
use regrip_core::time::Clock;
use regrip_core::{Error, ErrorCode, What};
use std::pin::pin;
use std::time::Duration;

/// How often is looked whether it is time to cancel.
const LOOK_EVERY: Duration = Duration::from_millis(1);

/// The download that a scenario asks for.
pub(crate) fn new_download(scenario: &Scenario, url: String, destination: &str) -> NewDownload {
    let download = &scenario.download;
    let origin = url.strip_suffix(PATH).unwrap_or(&url);
    let mirrors = download.mirrors.iter().map(|mirror| mirror.replace("{origin}", origin)).collect();
    NewDownload {
        mirrors,
        source: Source::Url { url },
        header_names: download.headers.keys().cloned().collect(),
        destination: destination.to_owned(),
        part: format!("{destination}.part"),
        on_exists: download.on_exists,
        release_size: download.release_size,
        digests: scenario.digests(&scenario.download.digests),
        adopt: download.adopt,
    }
}

/// Accepts and drives it. Returns its row's id and what the last call ended with.
pub(crate) async fn drive<H: Host>(
    engine: &Engine<H>,
    scenario: &Scenario,
    new: NewDownload,
    heard: impl Fn() -> Vec<What>,
) -> Result<(DownloadId, Option<ErrorCode>), Error> {
    let id = engine.accept(new.clone()).await?.id;
    let mut ended = match &scenario.cancel_at {
        None => engine.drive(id).await,
        Some(event) => {
            let is_time = || heard().iter().any(|what| what.name() == event);
            let cancel = pin!(cancel(engine, id, is_time));
            match select(pin!(engine.drive(id)), cancel).await {
                Either::Left((ended, _)) => ended,
                Either::Right((error, _)) => Err(error),
            }
        }
    };
    let later = scenario.digests(&scenario.download.later);
    for _ in 1..scenario.calls {
        let mut again = new.clone();
        again.digests.extend(later.iter().cloned());
        let again = engine.accept(again).await?;
        ended = engine.drive(again.id).await;
    }
    Ok((id, ended.err().map(|error| error.code())))
}

/// Cancels when it is time. Returns only if that was refused.
async fn cancel<H: Host>(engine: &Engine<H>, id: DownloadId, is_time: impl Fn() -> bool) -> Error {
    while !is_time() {
        engine.host().clock().sleep(LOOK_EVERY).await;
    }
    match engine.cancel(id).await {
        Ok(()) => std::future::pending().await,
        Err(error) => error,
    }
}
