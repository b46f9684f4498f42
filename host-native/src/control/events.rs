//! Events: as JSON objects, as counters, and for subscribers.
//!
//! Called in the transfers' own threads, so nothing here waits. A subscriber has a bounded queue; events that do not fit are
//! dropped, and the subscriber gets [`Heard::Lagged`] before any later event.
//!
//! In a fleet subscribers also get the changes of status of downloads that other workers drive ([`Control::follow_events`]), which are
//! read from the ledger while there are subscribers: without progress, and only the last of several changes within a second.
//!
//! Received bytes are counted as the steps between the offsets of events, so one number is kept for each driven download.

use super::downloads::Control;
use crate::host::Listener;
use crate::ledger::{LedgerEntry, NativeLedger};
use crate::sync::lock;
use crate::time::rfc3339 as time;
use regrip_core::record::RestartReason;
use regrip_core::{Algorithm, Class, DownloadId, Event, Row, Status, Summary, What, display_url};
use serde_json::{Value, json};
use smol::Timer;
use smol::channel::{Receiver, Sender, TrySendError, bounded};
use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

/// Events a subscriber may be behind by.
const QUEUE: usize = 1024;
/// Subscribers at once.
const SUBSCRIBERS: usize = 64;

/// How often subscribers learn of what other workers did.
const FOLLOW_EVERY: Duration = Duration::from_secs(1);
/// Changes of other workers that are looked at each time: the latest.
const MOST_FOLLOWED: u32 = 200;
/// Downloads whose status is remembered for that.
const MOST_KNOWN: usize = 10_000;

/// An item of a subscription.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// An event as a JSON object in one line.
    Event(Arc<str>),
    /// Some events are missing here.
    Lagged,
}

/// The host's listener. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Events(Arc<EventsInner>);

#[derive(Debug, Default)]
struct EventsInner {
    counters: Mutex<Counters>,
    subscribers: Mutex<Subscribers>,
    /// The first subscriber is there.
    subscribed: NewsSignal,
    /// What events of this process said last of downloads, while those of other workers are followed.
    own: Mutex<HashMap<DownloadId, Status>>,
}

#[derive(Debug)]
struct NewsSignal(Sender<()>, Receiver<()>);

impl Default for NewsSignal {
    fn default() -> Self {
        let (sender, receiver) = bounded(1);
        NewsSignal(sender, receiver)
    }
}

#[derive(Debug, Default)]
struct Subscribers {
    list: Vec<Subscriber>,
    closed: bool,
}

#[derive(Debug)]
struct Subscriber {
    sender: Sender<Arc<str>>,
    lagged: Arc<AtomicBool>,
}

impl Events {
    /// Subscribes to what happens from now on. `None` if there are too many subscribers, or the server is stopping.
    pub fn subscribe(&self) -> Option<Subscription> {
        let mut subscribers = lock(&self.0.subscribers);
        subscribers.list.retain(|other| !other.sender.is_closed());
        if subscribers.closed || subscribers.list.len() >= SUBSCRIBERS {
            return None;
        }
        let (sender, events) = bounded(QUEUE);
        let lagged = Arc::new(AtomicBool::new(false));
        subscribers.list.push(Subscriber { sender, lagged: Arc::clone(&lagged) });
        // One pending signal is enough.
        let _ = self.0.subscribed.0.try_send(());
        Some(Subscription { events, lagged })
    }

    /// Ends every subscription, once what waits in it was taken.
    pub fn close(&self) {
        let mut subscribers = lock(&self.0.subscribers);
        subscribers.closed = true;
        subscribers.list.clear();
    }

    /// How many subscribers there are.
    pub fn subscribers_count(&self) -> usize {
        let subscribers = lock(&self.0.subscribers);
        let open = |other: &&Subscriber| !other.sender.is_closed();
        subscribers.list.iter().filter(open).count()
    }

    /// What has happened so far.
    pub(crate) fn counted(&self) -> Totals {
        lock(&self.0.counters).counted()
    }

    /// A download is driven no more.
    pub(super) fn forget(&self, id: DownloadId) {
        lock(&self.0.counters).forget(id);
    }
}

impl Listener for Events {
    fn hear(&self, event: &Event<'_>) {
        lock(&self.0.counters).hear(event);
        self.pass_on(event, true);
    }
}

impl Events {
    /// Sends an event to the subscribers.
    fn pass_on(&self, event: &Event<'_>, is_own: bool) {
        let mut subscribers = lock(&self.0.subscribers);
        if subscribers.list.is_empty() {
            return;
        }
        if is_own && let Some(status) = status_after(&event.what) {
            let mut own = lock(&self.0.own);
            if own.len() >= MOST_KNOWN {
                own.clear(); // what is forgotten is said twice at most
            }
            own.insert(event.id, status);
        }
        let line: Arc<str> = object(event).to_string().into();
        subscribers.list.retain(|one| match one.sender.try_send(Arc::clone(&line)) {
            Ok(()) => true,
            Err(TrySendError::Full(_)) => {
                one.lagged.store(true, Ordering::Release);
                true
            }
            Err(TrySendError::Closed(_)) => false,
        });
    }
}

/// The status of a download after an event; `None` if it is driven on.
fn status_after(what: &What) -> Option<Status> {
    match what {
        What::Queued => Some(Status::Queued),
        What::Started { .. } => Some(Status::Downloading),
        What::Waiting { .. } => Some(Status::Waiting),
        What::Paused { .. } => Some(Status::Paused),
        What::Completed(_) => Some(Status::Completed),
        What::Failed(_) => Some(Status::Failed),
        What::Cancelled(_) => Some(Status::Cancelled),
        What::Headers { .. } | What::Progress { .. } | What::Restart { .. } | What::Retrying { .. } => None,
    }
}

/// The event that reports the status of a row; `None` if its status has no event.
fn what_led_to(row: &Row) -> Option<What> {
    let failure = row.failure.as_ref();
    let summary = || Summary {
        bytes: row.downloaded,
        attempts: row.attempts,
        restarts: row.restarts,
        digests: row.checksums(),
        ..Summary::default()
    };
    Some(match row.status {
        Status::Queued => What::Queued,
        Status::Downloading => What::Started { attempt: row.attempts, from: row.downloaded },
        Status::Waiting => {
            let waiting = row.waiting.as_ref()?;
            What::Waiting { until: waiting.until, why: waiting.why.clone() }
        }
        Status::Paused => What::Paused { bytes: row.downloaded },
        Status::Completed => {
            What::Completed(Summary { warning: failure.map(|failure| failure.text.clone()), ..summary() })
        }
        Status::Failed => What::Failed(Summary {
            class: failure.map(|failure| failure.class),
            code: failure.map(|failure| failure.code.clone()),
            error: failure.map(|failure| failure.text.clone()),
            ..summary()
        }),
        Status::Cancelled => What::Cancelled(summary()),
        Status::Committing | Status::ImportQueued | Status::Imported => return None,
    })
}

/// What is known of the downloads of a fleet, to find what has changed.
#[derive(Default)]
struct Followed {
    /// Status and attempts that subscribers know of.
    known: HashMap<DownloadId, (Status, u32)>,
    /// Those that were found changed the last time: if an event of this process follows its change of the row, it is not said twice.
    due: HashMap<DownloadId, (Status, u32)>,
}

impl Followed {
    fn of(entries: &[LedgerEntry]) -> Followed {
        let known = entries.iter().map(|entry| (entry.row.id, (entry.row.status, entry.row.attempts)));
        Followed { known: known.collect(), due: HashMap::new() }
    }

    /// The rows whose change is to be passed on, from the latest changes.
    fn changed<'a>(&mut self, entries: &'a [LedgerEntry], events: &Events, me: &str) -> Vec<&'a LedgerEntry> {
        if self.known.len() > MOST_KNOWN {
            self.known.retain(|id, _| entries.iter().any(|entry| entry.row.id == *id));
        }
        let before = std::mem::take(&mut self.due);
        let mut own = lock(&events.0.own);
        let mut changed = Vec::new();
        // The oldest first.
        for entry in entries.iter().rev() {
            let (id, now) = (entry.row.id, (entry.row.status, entry.row.attempts));
            if self.known.get(&id) == Some(&now) {
                continue;
            }
            let is_own = entry.worker.as_deref() == Some(me) || own.get(&id) == Some(&now.0);
            if is_own || before.get(&id) == Some(&now) {
                self.known.insert(id, now);
                own.remove(&id);
                changed.extend((!is_own).then_some(entry));
            } else {
                self.due.insert(id, now);
            }
        }
        changed
    }
}

impl<L: NativeLedger> Control<L> {
    /// Passes on to subscribers what other workers that share the ledger did. Never ends.
    pub(crate) async fn follow_events(&self) {
        if self.ledger().fleet().is_none() {
            return;
        }
        let events = self.events();
        let mut followed: Option<Followed> = None;
        loop {
            match followed {
                Some(_) => drop(Timer::after(FOLLOW_EVERY).await),
                None => drop(events.0.subscribed.1.recv().await),
            }
            if events.subscribers_count() == 0 {
                followed = None;
                continue;
            }
            // A request that lists downloads meanwhile reports that the ledger does not answer.
            let Ok(entries) = self.ledger().list(&[], MOST_FOLLOWED, None).await else {
                continue;
            };
            let Some(followed) = &mut followed else {
                followed = Some(Followed::of(&entries));
                continue;
            };
            for entry in followed.changed(&entries, events, self.engine().owner()) {
                if let Some(what) = what_led_to(&entry.row) {
                    let at = humantime::parse_rfc3339_weak(&entry.updated_at).unwrap_or_else(|_| SystemTime::now());
                    let url = display_url(entry.row.new.source.url());
                    let path = &entry.row.new.destination;
                    events.pass_on(&Event { id: entry.row.id, at, url: &url, path, what }, false);
                }
            }
        }
    }
}

/// The events of one subscriber. Dropping it ends the subscription.
#[derive(Debug)]
pub struct Subscription {
    events: Receiver<Arc<str>>,
    lagged: Arc<AtomicBool>,
}

impl Subscription {
    /// The next event; `None` if the server is stopping.
    ///
    /// # Cancel safety
    /// Dropping the future loses no event.
    pub async fn next(&self) -> Option<Heard> {
        if self.lagged.swap(false, Ordering::AcqRel) {
            // The queued events are older than the gap: the subscriber reads the lists again anyway.
            while self.events.try_recv().is_ok() {}
            return Some(Heard::Lagged);
        }
        let line = self.events.recv().await;
        line.ok().map(Heard::Event)
    }
}

/// An event as `--json` and SSE send it.
pub(crate) fn object(event: &Event<'_>) -> Value {
    let mut object = json!({
        "event": event.what.name(),
        "id": event.id,
        "at": time(event.at),
        "url": event.url,
        "path": event.path,
    });
    if let (Some(object), Value::Object(more)) = (object.as_object_mut(), details(&event.what)) {
        object.extend(more);
    }
    object
}

fn details(what: &What) -> Value {
    match what {
        What::Queued => json!({}),
        What::Started { attempt, from } => json!({ "attempt": attempt, "from": from }),
        What::Headers { expected_bytes, source, mismatch } => {
            json!({ "expected_bytes": expected_bytes, "source": source.map(|s| s.name()), "mismatch": mismatch })
        }
        What::Progress { bytes, total, bytes_per_sec, eta_secs } => {
            json!({ "bytes": bytes, "total": total, "bytes_per_sec": bytes_per_sec, "eta_secs": eta_secs })
        }
        What::Restart { reason, discarded_bytes } => {
            json!({ "reason": reason.name(), "discarded_bytes": discarded_bytes })
        }
        What::Retrying { attempt, delay, asked_by, class, error } => json!({
            "attempt": attempt,
            "delay_ms": u64::try_from(delay.as_millis()).unwrap_or(u64::MAX),
            "asked_by": asked_by.name(),
            "class": class.name(),
            "error": error,
        }),
        What::Waiting { until, why } => json!({ "until": time(*until), "why": why }),
        What::Paused { .. } => json!({ "until": null, "why": "paused" }),
        What::Completed(summary) | What::Failed(summary) | What::Cancelled(summary) => json!({
            "bytes": summary.bytes,
            "attempts": summary.attempts,
            "restarts": summary.restarts,
            "sha256": summary.hex(Algorithm::Sha256),
            "digests": summary.digests,
            "warning": summary.warning,
            "class": summary.class.map(|class| class.name()),
            "code": summary.code,
            "error": summary.error,
        }),
    }
}

/// How attempts and downloads end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Ended {
    /// With a file.
    Completed,
    /// By an error that another attempt may not meet.
    Transient,
    /// By an error for good.
    Permanent,
    /// Called off.
    Cancelled,
}

impl Ended {
    /// All of them.
    pub(crate) const ALL: [Ended; 4] = [Ended::Completed, Ended::Transient, Ended::Permanent, Ended::Cancelled];

    /// As metrics spell it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Ended::Completed => "completed",
            Ended::Transient => "transient",
            Ended::Permanent => "permanent",
            Ended::Cancelled => "cancelled",
        }
    }

    fn of(class: Option<Class>) -> Ended {
        match class {
            Some(Class::Transient) => Ended::Transient,
            Some(Class::Permanent) | None => Ended::Permanent,
        }
    }
}

/// The sums.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    /// Bytes that arrived and counted, those that were discarded later included.
    pub bytes: u64,
    /// Bytes that were discarded.
    pub discarded_bytes: u64,
    /// Attempts that began.
    pub attempts_begun: u64,
    /// Attempts by how they ended.
    pub attempts: BTreeMap<Ended, u64>,
    /// Downloads by how they ended.
    pub downloads: BTreeMap<Ended, u64>,
    /// Restarts by their reason's name.
    pub restarts: BTreeMap<&'static str, u64>,
}

/// A download that is driven.
#[derive(Debug, Default)]
struct Course {
    /// The length of its part, if it is known.
    offset: Option<u64>,
    /// An attempt is under way.
    attempting: bool,
}

/// The sums, and what is needed to go on with them.
#[derive(Debug, Default)]
pub(super) struct Counters {
    counted: Totals,
    courses: HashMap<DownloadId, Course>,
}

impl Counters {
    /// Takes an event in.
    pub(super) fn hear(&mut self, event: &Event<'_>) {
        if matches!(event.what, What::Queued | What::Paused { .. }) {
            return; // it may not be driven
        }
        let course = self.courses.entry(event.id).or_default();
        let counted = &mut self.counted;
        match &event.what {
            What::Queued | What::Paused { .. } | What::Waiting { .. } | What::Headers { .. } => {}
            What::Started { from, .. } => {
                // What a failed attempt brought after its last word is in the part.
                let told = course.offset.replace(*from);
                counted.bytes += told.map_or(0, |told| from.saturating_sub(told));
                counted.attempts_begun += 1;
                course.attempting = true;
            }
            What::Progress { bytes, .. } => course.reach(*bytes, counted),
            What::Restart { reason, discarded_bytes } => {
                course.offset = Some(0);
                counted.discarded_bytes += discarded_bytes;
                count(&mut counted.restarts, reason.name());
            }
            What::Retrying { class, .. } => course.attempt_ended(Ended::of(Some(*class)), counted),
            What::Completed(summary) => {
                if course.attempting {
                    course.reach(summary.bytes, counted);
                }
                self.ended(event.id, Ended::Completed);
            }
            What::Failed(summary) => self.ended(event.id, Ended::of(summary.class)),
            What::Cancelled(_) => self.ended(event.id, Ended::Cancelled),
        }
    }

    /// The sums.
    pub(super) fn counted(&self) -> Totals {
        let mut counted = self.counted.clone();
        // Those that did not happen are 0, not missing.
        for reason in RestartReason::ALL {
            counted.restarts.entry(reason.name()).or_default();
        }
        for ended in Ended::ALL {
            counted.attempts.entry(ended).or_default();
            counted.downloads.entry(ended).or_default();
        }
        counted
    }

    fn ended(&mut self, id: DownloadId, how: Ended) {
        if let Some(mut course) = self.courses.remove(&id) {
            course.attempt_ended(how, &mut self.counted);
        }
        count(&mut self.counted.downloads, how);
    }

    /// Forgets a download that is driven no more, without an end of its own: its process ends.
    pub(super) fn forget(&mut self, id: DownloadId) {
        self.courses.remove(&id);
    }
}

impl Course {
    fn reach(&mut self, bytes: u64, counted: &mut Totals) {
        let before = self.offset.replace(bytes).unwrap_or(bytes);
        counted.bytes += bytes.saturating_sub(before);
    }

    /// An end without an attempt under way counts none: a download may end while it waits.
    fn attempt_ended(&mut self, how: Ended, counted: &mut Totals) {
        if std::mem::take(&mut self.attempting) {
            count(&mut counted.attempts, how);
        }
    }
}

fn count<K: Ord>(counts: &mut BTreeMap<K, u64>, key: K) {
    *counts.entry(key).or_default() += 1;
}
