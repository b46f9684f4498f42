//! `/api/events`: what happens, as server-sent events (WHATWG HTML, server-sent events), each an object as `--json` prints
//! it. `{"event":"lagged"}` says that some are missing: a client then reads the lists again.

use super::{Api, Handled};
use crate::control::{Heard, Subscription};
use crate::ledger::NativeLedger;
use crate::server::{Asked, Payload, Refusal, Reply};
use async_io::Timer;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::unfold;
use hyper::StatusCode;
use hyper::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use smol::channel::Receiver;
use smol::future::FutureExt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

/// A comment goes out after so much silence: proxies and the server's own idle timeout close silent connections.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// The same for a client that has closed its sending half: if it is gone, sending a comment fails.
const PROBE: Duration = Duration::from_secs(1);
/// Makes nginx pass on each event at once.
const X_ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

pub(super) async fn events<L: NativeLedger>(api: Arc<Api<L>>, asked: Asked) -> Handled {
    let subscription = api.control.events().subscribe().ok_or_else(|| {
        Refusal::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "TooManySubscribers",
            "too many subscribers to events, or the server is stopping",
        )
    })?;
    let hello = futures::stream::iter([Bytes::from_static(b": regrip\n\n")]);
    let key_change = api.auth.until_key_change();
    let client_sends = asked.client_sends();
    let stream = hello.chain(unfold(subscription, move |subscription| {
        let (key_change, client_sends) = (key_change.clone(), client_sends.clone());
        async move {
            let chunk = async {
                match client_sends.filter(|open| !open.is_closed()) {
                    Some(open) => next(&subscription, until_closed(&open, HEARTBEAT)).await,
                    None => next(&subscription, silence(PROBE)).await,
                }
            };
            // Clients that only have the previous key get no more.
            let ended = async {
                closed(&key_change).await;
                None
            };
            let chunk = ended.or(chunk).await?;
            Some((chunk, subscription))
        }
    }));
    let reply = Reply::new(StatusCode::OK, Payload::Stream(stream.boxed()));
    Ok(reply
        .header(CONTENT_TYPE, HeaderValue::from_static("text/event-stream; charset=utf-8"))
        .header(X_ACCEL_BUFFERING, HeaderValue::from_static("no")))
}

/// The next event, or a comment once `silence` is over.
async fn next(subscription: &Subscription, silence: impl Future<Output = ()>) -> Option<Bytes> {
    let heard = async { subscription.next().await.map(written) };
    let comment = async {
        silence.await;
        Some(Bytes::from_static(b":\n\n"))
    };
    heard.or(comment).await
}

async fn silence(duration: Duration) {
    Timer::after(duration).await;
}

/// No longer than until the client closes its sending half.
async fn until_closed(client_sends: &Receiver<()>, duration: Duration) {
    closed(client_sends).or(silence(duration)).await;
}

/// Waits until a channel is closed on which nothing is ever sent.
async fn closed(channel: &Receiver<()>) {
    let _ = channel.recv().await;
}

/// An object is one line: its own line ends are escaped.
fn written(heard: Heard) -> Bytes {
    match heard {
        Heard::Event(line) => format!("data: {line}\n\n").into(),
        Heard::Lagged => Bytes::from_static(b"data: {\"event\":\"lagged\"}\n\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::Events;

    #[test]
    fn silence_is_broken_by_a_comment_that_loses_no_event() {
        let events = Events::default();
        let subscription = events.subscribe().unwrap();
        let comment = smol::block_on(next(&subscription, silence(Duration::ZERO))).unwrap();
        assert_eq!(comment, ":\n\n");
        events.close();
        assert_eq!(smol::block_on(next(&subscription, silence(HEARTBEAT))), None);
    }
}
