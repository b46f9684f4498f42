//! One command to one server.

use crate::config::{ImportServer, ImportServerKind};
use crate::host::NativeHost;
use crate::ledger::NativeLedger;
use regrip_core::Error;
use regrip_core::http::Head;
use regrip_core::time::Clock;
use regrip_core::transport::{Body, Response};
use serde_json::json;

/// How much of an answer is read, so that its connection ends in good order.
const MOST_READ_BYTES: usize = 64 << 10;

/// Whether a server wants to hear of a release of that category: 2000 and what is below it are films, 5000 series.
pub(super) fn wants(server: &ImportServer, category: u32) -> bool {
    match server.kind {
        ImportServerKind::Radarr => category / 1000 == 2,
        ImportServerKind::Sonarr => category / 1000 == 5,
    }
}

/// Has a server import the file at `path`, which is the path as that server sees it.
///
/// # Errors
/// `Status` with its `Retry-After`, `Protocol` for an answer that is neither that nor a success; else as the transport.
pub(super) async fn send(
    host: &NativeHost<impl NativeLedger>,
    server: &ImportServer,
    path: &str,
) -> Result<(), Error> {
    let url = format!("{}/api/v3/command", server.url.trim_end_matches('/'));
    let name = match server.kind {
        ImportServerKind::Radarr => "DownloadedMoviesScan",
        ImportServerKind::Sonarr => "DownloadedEpisodesScan",
    };
    let command = json!({ "name": name, "path": path }).to_string();
    let response = host.transport.post(&url, &server.headers, command).await?;
    let Response {
        status,
        headers,
        end,
        mut body,
    } = response;
    match status {
        200..=299 => {
            let mut read = 0;
            // It is accepted: what becomes of the rest of the answer changes nothing.
            while let Ok(Some(chunk)) = body.chunk().await {
                read += chunk.len();
                if read > MOST_READ_BYTES {
                    break;
                }
            }
            Ok(())
        }
        400..=599 => Err(Error::Status {
            status,
            retry_after: Head::read(status, &headers, end, host.clock.wall()).retry_after,
        }),
        _ => Err(Error::Protocol(format!("the status is {status}"))),
    }
}
