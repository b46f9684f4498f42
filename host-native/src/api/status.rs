//! The state of the server: `/api/stubs`, `/api/peers`, `/api/servers`, `/api/troubles`, and `/metrics` in the Prometheus text format 0.0.4.
//!
//! `/api/events`: what happens, as server-sent events (WHATWG HTML, server-sent events), each an object as `--json` prints
//! it. `{"event":"lagged"}` says that some are missing: a client then reads the lists again.

use super::{Api, Handled, LOOK_EVERY};
use crate::control::{COMPLETED_FOLDER, Heard, PeerCard, Subscription};
use crate::ledger::NativeLedger;
use crate::server::{Asked, Payload, Refusal, Reply};
use crate::time::{DurationCounts, rfc3339};
use async_io::Timer;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::unfold;
use hyper::StatusCode;
use hyper::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use regrip_core::Status;
use regrip_core::error::chain;
use regrip_core::host::Host;
use regrip_core::time::{Clock, Instant};
use serde_json::{Value, json};
use smol::channel::Receiver;
use smol::future::FutureExt;
use std::fmt::{Display, Write};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// Stubs shown at once.
const MOST_STUBS: usize = 1000;

/// How long a registration may take before its request is answered all the same.
const REGISTERED_WITHIN: Duration = Duration::from_secs(15);

pub(super) async fn stubs<L: NativeLedger>(api: Arc<Api<L>>, _: Asked) -> Handled {
    let stubs = api.control.stubs();
    Ok(Reply::json(&json!({
        "stubs": stubs.list(MOST_STUBS),
        // Including those that are not shown.
        "total": stubs.count(),
        "watch_path": stubs.watch_path().map(|path| path.to_string_lossy().into_owned()),
    })))
}

pub(super) async fn peers<L: NativeLedger>(api: Arc<Api<L>>, _: Asked) -> Handled {
    let cards = api.control.peers().list();
    let peers = cards.into_iter().map(|card| peer(&api, card));
    Ok(Reply::json(&json!({ "peers": peers.collect::<Vec<_>>() })))
}

/// A peer as it was found last or, if its breaker is open, with its outage.
fn peer<L: NativeLedger>(api: &Api<L>, card: PeerCard) -> Value {
    let seen = card.seen;
    let mut peer = json!({
        "id": card.id, "name": card.name, "url": card.url,
        "version": seen.version, "reachable": seen.answered, "since": seen.since.map(rfc3339),
        "error": seen.error, "probes": 0, "next_probe_at": null, "last_search": seen.last_search,
    });
    let engine = api.control.engine();
    if let Some(outage) = engine.reachability(&card.id, &card.url).outage() {
        let clock = engine.host().clock();
        let at = |instant| rfc3339(wall(instant, clock.now(), clock.wall()));
        peer["reachable"] = false.into();
        peer["since"] = at(outage.since).into();
        peer["error"] = chain(&outage.last.error()).into();
        peer["probes"] = outage.probes.into();
        peer["next_probe_at"] = at(outage.next_probe).into();
    }
    peer
}

/// The workers that share the ledger; none if it is this server's own.
pub(super) async fn workers<L: NativeLedger>(api: Arc<Api<L>>, _: Asked) -> Handled {
    let _turn = api.turns.acquire().await;
    let workers = match api.control.ledger().fleet() {
        Some(fleet) => fleet.workers().await?,
        None => Vec::new(),
    };
    Ok(Reply::json(&json!({ "workers": workers })))
}

/// For a load balancer: no requests should be sent here while the server ends, its ledger does not answer, or it is a worker whose
/// storage does not answer.
pub(super) async fn ready<L: NativeLedger>(api: Arc<Api<L>>, _: Asked) -> Handled {
    let control = &api.control;
    let state = if control.is_ending() {
        "draining"
    } else if control.ledger().is_stuck() {
        "ledger does not answer"
    } else if control.ledger().fleet().is_some() && control.troubles().of(COMPLETED_FOLDER).is_some() {
        "storage does not answer"
    } else {
        "ready"
    };
    let status = if state == "ready" { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    Ok(Reply::json_with(status, &json!({ "status": state })))
}

pub(super) async fn servers<L: NativeLedger>(api: Arc<Api<L>>, _: Asked) -> Handled {
    Ok(Reply::json(&json!({ "servers": api.control.servers().list() })))
}

/// Registers this server again, and answers with the results that there are in time.
pub(super) async fn register<L: NativeLedger>(api: Arc<Api<L>>, asked: Asked) -> Handled {
    let board = api.control.servers();
    board.register();
    let mut waited = Duration::ZERO;
    while board.list().iter().any(|card| card.registration == "pending") && waited < REGISTERED_WITHIN {
        silence(LOOK_EVERY).await;
        waited += LOOK_EVERY;
    }
    servers(api, asked).await
}

pub(super) async fn troubles<L: NativeLedger>(api: Arc<Api<L>>, _: Asked) -> Handled {
    let troubles = api.control.troubles().list();
    Ok(Reply::json(&json!({ "troubles": troubles })))
}

/// An instant of the monotonic clock on the wall clock.
fn wall(instant: Instant, now: Instant, wall: SystemTime) -> SystemTime {
    let moved = match instant >= now {
        true => wall.checked_add(instant.since(now)),
        false => wall.checked_sub(now.since(instant)),
    };
    moved.unwrap_or(wall)
}

pub(super) async fn metrics<L: NativeLedger>(api: Arc<Api<L>>, _: Asked) -> Handled {
    let _turn = api.turns.acquire().await;
    let counts = api.control.ledger().counts().await?;
    let text = text(&api, &counts);
    let reply = Reply::new(StatusCode::OK, Payload::Bytes(text.into()));
    Ok(reply.header(CONTENT_TYPE, HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8")))
}

fn text<L: NativeLedger>(api: &Api<L>, counts: &[(Status, u64)]) -> String {
    let control = &api.control;
    let counted = control.events().counted();
    let engine = control.engine();
    let started = api.started.duration_since(SystemTime::UNIX_EPOCH);
    let mut page = MetricsText::default();

    page.family("build_info", "gauge", "The running version.");
    page.sample(&[("version", env!("CARGO_PKG_VERSION"))], 1);
    let seconds = started.unwrap_or_default().as_secs();
    page.gauge("start_time_seconds", "Start of the server, in seconds since 1970.", seconds);

    page.counter("received_bytes_total", "Bytes of files received.", counted.bytes);
    let discarded = counted.discarded_bytes;
    page.counter("discarded_bytes_total", "Of these, bytes discarded by restarts.", discarded);
    page.counter("attempts_started_total", "Attempts begun.", counted.attempts_begun);
    let help = "Attempts ended: completed, cancelled, or by the class of their error.";
    page.family("attempts_total", "counter", help);
    for (class, count) in &counted.attempts {
        page.sample(&[("class", class.name())], count);
    }
    page.family("restarts_total", "counter", "Restarts of downloads, by reason.");
    for (reason, count) in &counted.restarts {
        page.sample(&[("reason", reason)], count);
    }
    let help = "Downloads ended: completed, cancelled, or by the class of their error.";
    page.family("downloads_ended_total", "counter", help);
    for (class, count) in &counted.downloads {
        page.sample(&[("class", class.name())], count);
    }

    page.family("downloads", "gauge", "Downloads in the ledger, by status.");
    for status in Status::ALL {
        let count = counts.iter().find(|(of, _)| *of == status);
        let count = count.map_or(0, |(_, count)| *count);
        page.sample(&[("status", status.name())], count);
    }
    let driven = control.drives_count();
    page.gauge("driven_downloads", "Downloads in progress, including waiting ones.", driven);
    let limit = engine.config().max_concurrent_downloads;
    page.gauge("permits_limit", "Downloads that may receive data at once.", limit);
    page.gauge("permits_used", "Downloads that receive data now.", engine.permits_used());
    let waiting = engine.permits_waiting();
    page.gauge("permits_waiting", "Downloads in the queue for a permit.", waiting);
    let pending = control.stubs().count();
    page.gauge("pending_stubs", "Stubs whose release is not known yet.", pending);
    let help = "Problems with the server's folders, disk or configuration.";
    page.gauge("troubles", help, control.troubles().list().len());
    peer_metrics(&mut page, api);
    let waiting = control.ledger().waiting_requests();
    page.gauge("ledger_waiting_requests", "Requests that wait for the database.", waiting);
    let help = "How long drives took that completed their download, waits included.";
    page.histogram("download_seconds", help, &control.completed_durations());
    if let Some(fleet) = control.ledger().fleet() {
        page.family("worker_info", "gauge", "The name of this worker among those that share the ledger.");
        page.sample(&[("worker", engine.owner())], 1);
        page.gauge("worker_draining", "1 if this worker takes no more downloads.", u8::from(control.is_ending()));
        page.histogram("ledger_request_seconds", "How long the database took to answer.", &fleet.answered());
    }
    let subscribers = control.events().subscribers_count();
    page.gauge("event_subscribers", "Subscribers to events.", subscribers);
    page.text
}

fn peer_metrics<L: NativeLedger>(page: &mut MetricsText, api: &Api<L>) {
    let peers = api.control.peers().list();
    let outages = peers.iter().map(|peer| {
        let labels = [("peer_id", peer.id.as_str()), ("peer", peer.name.as_str())];
        (labels, api.control.engine().reachability(&peer.id, &peer.url).outage())
    });
    let outages: Vec<_> = outages.collect();
    let help = "1 if a peer cannot be reached, so that its downloads wait.";
    page.family("peer_breaker_open", "gauge", help);
    for (labels, outage) in &outages {
        page.sample(labels, u8::from(outage.is_some()));
    }
    page.family("peer_probes", "gauge", "Failed probes of an unreachable peer.");
    for (labels, outage) in &outages {
        page.sample(labels, outage.as_ref().map_or(0, |outage| outage.probes));
    }
}

/// The page while it is written.
#[derive(Default)]
struct MetricsText {
    text: String,
    family: &'static str,
}

impl MetricsText {
    fn gauge(&mut self, name: &'static str, help: &str, value: impl Display) {
        self.family(name, "gauge", help);
        self.sample(&[], value);
    }

    fn counter(&mut self, name: &'static str, help: &str, value: impl Display) {
        self.family(name, "counter", help);
        self.sample(&[], value);
    }

    fn family(&mut self, name: &'static str, kind: &str, help: &str) {
        // Writing to a String does not fail.
        let _ = writeln!(self.text, "# HELP regrip_{name} {help}\n# TYPE regrip_{name} {kind}");
        self.family = name;
    }

    fn histogram(&mut self, name: &'static str, help: &str, counted: &DurationCounts) {
        self.family(name, "histogram", help);
        let mut below = 0;
        for (bound, count) in DurationCounts::BOUNDS.iter().zip(counted.counts) {
            below += count;
            let _ = writeln!(self.text, "regrip_{name}_bucket{{le=\"{bound}\"}} {below}");
        }
        let (count, sum) = (counted.count, counted.sum.as_secs_f64());
        let _ = writeln!(self.text, "regrip_{name}_bucket{{le=\"+Inf\"}} {count}");
        let _ = writeln!(self.text, "regrip_{name}_sum {sum}\nregrip_{name}_count {count}");
    }

    fn sample(&mut self, labels: &[(&str, &str)], value: impl Display) {
        let labels = labels.iter().map(|(name, value)| format!("{name}=\"{}\"", escaped(value)));
        let labels = match labels.collect::<Vec<_>>().join(",") {
            none if none.is_empty() => none,
            some => format!("{{{some}}}"),
        };
        let _ = writeln!(self.text, "regrip_{}{labels} {value}", self.family);
    }
}

fn escaped(value: &str) -> String {
    let value = value.replace('\\', "\\\\").replace('"', "\\\"");
    value.replace('\n', "\\n")
}

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
