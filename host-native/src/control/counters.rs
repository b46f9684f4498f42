//! What has happened since the process began, counted.
//!
//! Events say how far a part is; bytes that arrived are the steps between them, so one number a download is kept for as
//! long as it is driven.

use regrip_core::record::RestartReason;
use regrip_core::{Class, DownloadId, Event, What};
use std::collections::{BTreeMap, HashMap};

/// How attempts and downloads end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Ended {
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
    pub const ALL: [Ended; 4] = [
        Ended::Completed,
        Ended::Transient,
        Ended::Permanent,
        Ended::Cancelled,
    ];

    /// As metrics spell it.
    pub fn name(self) -> &'static str {
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
pub struct Counted {
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
    /// How far its part is, where that is known.
    offset: Option<u64>,
    /// An attempt is under way.
    attempting: bool,
}

/// The sums, and what is needed to go on with them.
#[derive(Debug, Default)]
pub(super) struct Counters {
    counted: Counted,
    courses: HashMap<DownloadId, Course>,
}

impl Counters {
    /// Takes an event in.
    pub(super) fn hear(&mut self, event: &Event<'_>) {
        if matches!(event.what, What::Queued) {
            return; // it may never be driven
        }
        let course = self.courses.entry(event.id).or_default();
        let counted = &mut self.counted;
        match &event.what {
            What::Queued | What::Waiting { .. } | What::Headers { .. } => {}
            What::Started { from, .. } => {
                // What a failed attempt brought after its last word is in the part.
                let told = course.offset.replace(*from);
                counted.bytes += told.map_or(0, |told| from.saturating_sub(told));
                counted.attempts_begun += 1;
                course.attempting = true;
            }
            What::Progress { bytes, .. } => course.reach(*bytes, counted),
            What::Restart {
                reason,
                discarded_bytes,
            } => {
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
    pub(super) fn counted(&self) -> Counted {
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
    fn reach(&mut self, bytes: u64, counted: &mut Counted) {
        let before = self.offset.replace(bytes).unwrap_or(bytes);
        counted.bytes += bytes.saturating_sub(before);
    }

    /// An end without an attempt under way counts none: a download may end while it waits.
    fn attempt_ended(&mut self, how: Ended, counted: &mut Counted) {
        if std::mem::take(&mut self.attempting) {
            count(&mut counted.attempts, how);
        }
    }
}

fn count<K: Ord>(counts: &mut BTreeMap<K, u64>, key: K) {
    *counts.entry(key).or_default() += 1;
}
