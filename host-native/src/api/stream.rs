//! `/api/events`: what happens, as server-sent events (WHATWG HTML, server-sent events), each an object as `--json` prints
//! it. `{"event":"lagged"}` says that some were left out: whoever reads it reads the lists anew.

use super::Api;
use crate::control::{Heard, Subscription};
use crate::server::{Asked, Payload, Refusal, Reply};
use async_io::Timer;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::unfold;
use hyper::StatusCode;
use hyper::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use smol::future::FutureExt;
use std::sync::Arc;
use std::time::Duration;

/// A comment goes out after so much silence: proxies and the server's own idle timeout close silent connections.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// Tells nginx to pass each event on as it comes.
const X_ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

pub(super) async fn events(api: Arc<Api>, _: Asked) -> Result<Reply, Refusal> {
    let subscription = api.control.events().subscribe().ok_or_else(|| {
        Refusal::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "TooManySubscribers",
            "too many listen to events already, or the server ends",
        )
    })?;
    let hello = futures::stream::iter([Bytes::from_static(b": regrip\n\n")]);
    let key_changes = api.door.key_changes();
    let stream = hello.chain(unfold(subscription, move |subscription| {
        let api = Arc::clone(&api);
        async move {
            let chunk = next(&subscription, HEARTBEAT).await?;
            // Whoever has only the key from before gets no more.
            let same_key = api.door.key_changes() == key_changes;
            same_key.then_some((chunk, subscription))
        }
    }));
    let reply = Reply::new(StatusCode::OK, Payload::Stream(stream.boxed()));
    Ok(reply
        .header(
            CONTENT_TYPE,
            HeaderValue::from_static("text/event-stream; charset=utf-8"),
        )
        .header(X_ACCEL_BUFFERING, HeaderValue::from_static("no")))
}

async fn next(subscription: &Subscription, heartbeat: Duration) -> Option<Bytes> {
    let heard = async { subscription.next().await.map(written) };
    let silence = async {
        Timer::after(heartbeat).await;
        Some(Bytes::from_static(b":\n\n"))
    };
    heard.or(silence).await
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
        let comment = smol::block_on(next(&subscription, Duration::ZERO)).unwrap();
        assert_eq!(comment, ":\n\n");
        events.close();
        assert_eq!(smol::block_on(next(&subscription, HEARTBEAT)), None);
    }
}
