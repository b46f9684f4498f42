//! `/metrics`: the Prometheus text format 0.0.4.

use super::Api;
use crate::ledger::NativeLedger;
use crate::server::{Asked, Payload, Refusal, Reply};
use hyper::StatusCode;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use regrip_core::Status;
use std::fmt::{Display, Write};
use std::sync::Arc;
use std::time::SystemTime;

pub(super) async fn metrics<L: NativeLedger>(api: Arc<Api<L>>, _: Asked) -> Result<Reply, Refusal> {
    let _turn = api.turn().await;
    let counts = api.control.ledger().counts().await?;
    let text = text(&api, &counts);
    let reply = Reply::new(StatusCode::OK, Payload::Bytes(text.into()));
    Ok(reply.header(
        CONTENT_TYPE,
        HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8"),
    ))
}

fn text<L: NativeLedger>(api: &Api<L>, counts: &[(Status, u64)]) -> String {
    let control = &api.control;
    let counted = control.events().counted();
    let engine = control.engine();
    let mut page = Page::default();
    page.family("regrip_build_info", "gauge", "The version that runs.");
    page.sample(&[("version", env!("CARGO_PKG_VERSION"))], 1);
    let since_1970 = api.started.duration_since(SystemTime::UNIX_EPOCH);
    page.family(
        "regrip_start_time_seconds",
        "gauge",
        "When the server began, in seconds since 1970.",
    );
    page.sample(&[], since_1970.unwrap_or_default().as_secs());

    page.family(
        "regrip_received_bytes_total",
        "counter",
        "Bytes of files that arrived.",
    );
    page.sample(&[], counted.bytes);
    page.family(
        "regrip_discarded_bytes_total",
        "counter",
        "Of these, bytes discarded by restarts.",
    );
    page.sample(&[], counted.discarded_bytes);
    page.family(
        "regrip_attempts_started_total",
        "counter",
        "Attempts that began.",
    );
    page.sample(&[], counted.attempts_begun);
    page.family(
        "regrip_attempts_total",
        "counter",
        "Attempts that ended: completed, cancelled, or by the class of their error.",
    );
    for (class, count) in &counted.attempts {
        page.sample(&[("class", class.name())], count);
    }
    page.family(
        "regrip_restarts_total",
        "counter",
        "Times a download began anew, by reason.",
    );
    for (reason, count) in &counted.restarts {
        page.sample(&[("reason", reason)], count);
    }
    page.family(
        "regrip_downloads_ended_total",
        "counter",
        "Downloads that ended: completed, cancelled, or by the class of their error.",
    );
    for (class, count) in &counted.downloads {
        page.sample(&[("class", class.name())], count);
    }

    page.family(
        "regrip_downloads",
        "gauge",
        "Downloads in the ledger, by status.",
    );
    for status in Status::ALL {
        let count = counts.iter().find(|(of, _)| *of == status);
        page.sample(
            &[("status", status.name())],
            count.map_or(0, |(_, count)| *count),
        );
    }
    page.family(
        "regrip_driven_downloads",
        "gauge",
        "Downloads under way, those that wait included.",
    );
    page.sample(&[], control.drives_count());
    page.family(
        "regrip_permits_limit",
        "gauge",
        "Downloads whose bytes may move at once.",
    );
    page.sample(&[], engine.config().max_concurrent_downloads);
    page.family(
        "regrip_permits_used",
        "gauge",
        "Downloads whose bytes move now.",
    );
    page.sample(&[], engine.permits_used());
    page.family(
        "regrip_permits_waiting",
        "gauge",
        "Downloads that wait for others to end: the queue.",
    );
    page.sample(&[], engine.permits_waiting());
    page.family(
        "regrip_pending_stubs",
        "gauge",
        "Stubs whose release has not arrived.",
    );
    page.sample(&[], control.stubs().count());
    page.family(
        "regrip_troubles",
        "gauge",
        "What is wrong with the server's folders, disk or configuration.",
    );
    page.sample(&[], control.troubles().list().len());
    peers(&mut page, api);
    page.family(
        "regrip_ledger_waiting_requests",
        "gauge",
        "Requests that wait for the database.",
    );
    page.sample(&[], control.ledger().waiting_requests());
    page.family(
        "regrip_event_subscribers",
        "gauge",
        "Who listens to events.",
    );
    page.sample(&[], control.events().subscribers_count());
    page.text
}

fn peers<L: NativeLedger>(page: &mut Page, api: &Api<L>) {
    let peers = api.control.peers().list();
    let outages: Vec<_> = peers
        .iter()
        .map(|peer| api.control.engine().reachability(&peer.id).outage())
        .collect();
    let labels = |at: usize| {
        [
            ("peer_id", peers[at].id.as_str()),
            ("peer", peers[at].name.as_str()),
        ]
    };
    page.family(
        "regrip_peer_breaker_open",
        "gauge",
        "Whether a peer cannot be reached, so that its downloads wait.",
    );
    for (at, outage) in outages.iter().enumerate() {
        page.sample(&labels(at), u8::from(outage.is_some()));
    }
    page.family(
        "regrip_peer_probes",
        "gauge",
        "How often an unreachable peer was asked in vain.",
    );
    for (at, outage) in outages.iter().enumerate() {
        page.sample(
            &labels(at),
            outage.as_ref().map_or(0, |outage| outage.probes),
        );
    }
}

/// The page while it is written.
#[derive(Default)]
struct Page {
    text: String,
    family: &'static str,
}

impl Page {
    fn family(&mut self, name: &'static str, kind: &str, help: &str) {
        // A String takes all that is written to it.
        let _ = write!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
        self.family = name;
    }

    fn sample(&mut self, labels: &[(&str, &str)], value: impl Display) {
        let labels: Vec<String> = labels
            .iter()
            .map(|(name, value)| format!("{name}=\"{}\"", escaped(value)))
            .collect();
        let labels = match labels.as_slice() {
            [] => String::new(),
            some => format!("{{{}}}", some.join(",")),
        };
        let _ = writeln!(self.text, "{}{labels} {value}", self.family);
    }
}

fn escaped(value: &str) -> String {
    value
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}
