//! Who is told what happens: the counters, and whoever subscribed.
//!
//! Called in the transfers' own threads, so nothing here waits. A subscriber has a queue of its own, of bounded length;
//! what does not fit is left out, and the subscriber is told that something is missing before it is told anything more.

use super::counters::{Counted, Counters};
use super::object::object;
use crate::host::Listener;
use regrip_core::{DownloadId, Event};
use smol::channel::{Receiver, Sender, TrySendError, bounded};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Events a subscriber may be behind by.
const QUEUE: usize = 1024;
/// Subscribers at once.
const SUBSCRIBERS: usize = 64;

/// What a subscriber receives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// An event, as [`object`] writes it, in one line.
    Event(Arc<str>),
    /// Some were left out here.
    Lagged,
}

/// The host's listener. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Events(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    counters: Mutex<Counters>,
    subscribers: Mutex<Subscribers>,
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
    /// Subscribes to what happens from now on. `None` where there are too many subscribers already, or everything ends.
    pub fn subscribe(&self) -> Option<Subscription> {
        let mut subscribers = self.subscribers();
        subscribers.list.retain(|other| !other.sender.is_closed());
        if subscribers.closed || subscribers.list.len() >= SUBSCRIBERS {
            return None;
        }
        let (sender, events) = bounded(QUEUE);
        let lagged = Arc::new(AtomicBool::new(false));
        subscribers.list.push(Subscriber {
            sender,
            lagged: Arc::clone(&lagged),
        });
        Some(Subscription { events, lagged })
    }

    /// Ends every subscription, once what waits in it was taken.
    pub fn close(&self) {
        let mut subscribers = self.subscribers();
        subscribers.closed = true;
        subscribers.list.clear();
    }

    /// How many subscribers there are.
    pub fn subscribers_count(&self) -> usize {
        let subscribers = self.subscribers();
        let open = |other: &&Subscriber| !other.sender.is_closed();
        subscribers.list.iter().filter(open).count()
    }

    /// What has happened so far.
    pub fn counted(&self) -> Counted {
        self.counters().counted()
    }

    /// A download is driven no more.
    pub(super) fn forget(&self, id: DownloadId) {
        self.counters().forget(id);
    }

    fn counters(&self) -> MutexGuard<'_, Counters> {
        let counters = self.0.counters.lock();
        counters.unwrap_or_else(PoisonError::into_inner)
    }

    fn subscribers(&self) -> MutexGuard<'_, Subscribers> {
        let subscribers = self.0.subscribers.lock();
        subscribers.unwrap_or_else(PoisonError::into_inner)
    }
}

impl Listener for Events {
    fn hear(&self, event: &Event<'_>) {
        self.counters().hear(event);
        let mut subscribers = self.subscribers();
        if subscribers.list.is_empty() {
            return;
        }
        let line: Arc<str> = object(event).to_string().into();
        subscribers
            .list
            .retain(|one| match one.sender.try_send(Arc::clone(&line)) {
                Ok(()) => true,
                Err(TrySendError::Full(_)) => {
                    one.lagged.store(true, Ordering::Release);
                    true
                }
                Err(TrySendError::Closed(_)) => false,
            });
    }
}

/// What one subscriber receives. Dropping it ends the subscription.
#[derive(Debug)]
pub struct Subscription {
    events: Receiver<Arc<str>>,
    lagged: Arc<AtomicBool>,
}

impl Subscription {
    /// The next event; `None` where everything ends.
    ///
    /// # Cancel safety
    /// Dropping the future loses no event.
    pub async fn next(&self) -> Option<Heard> {
        if self.lagged.swap(false, Ordering::AcqRel) {
            // What is still here is older than the gap, and whoever reads everything anew knows better.
            while self.events.try_recv().is_ok() {}
            return Some(Heard::Lagged);
        }
        let line = self.events.recv().await;
        line.ok().map(Heard::Event)
    }
}
