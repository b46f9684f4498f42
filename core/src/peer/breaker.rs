//! The circuit breaker of a peer: a pure state machine, which [`Reachability`](super::Reachability) waits on.
//!
//! After `breakerFailures` failed connections in a row the breaker opens, and downloads of that peer use no attempts. One probe
//! at a time tries again, at intervals that double up to five minutes. The first response of any kind closes the breaker.
//!
//! A connection has failed if no response head was received. An error status is a response: the peer is reachable.

use crate::error::{Error, Timeout, chain};
use crate::time::Instant;
use std::time::Duration;

/// The time from the opening of the breaker to the first probe.
const FIRST_PROBE: Duration = Duration::from_secs(5);

/// The longest interval between probes.
const LAST_PROBE: Duration = Duration::from_secs(300);

/// A connection without a response, in a form that every download waiting for the peer can fail with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoAnswer {
    /// It could not be established, or was lost before the response head.
    Network(String),
    /// A timeout expired.
    Timeout {
        /// Which one.
        timeout: Timeout,
        /// Its length.
        after: Duration,
    },
}

impl NoAnswer {
    /// The failed connection that `error` reports, if it does.
    pub fn of(error: &Error) -> Option<NoAnswer> {
        match error {
            Error::Network { what, source } => Some(NoAnswer::Network(match source {
                Some(source) => format!("{what}: {}", chain(source.as_ref())),
                None => what.clone(),
            })),
            Error::Timeout { timeout: timeout @ (Timeout::Connect | Timeout::Headers), after } => {
                Some(NoAnswer::Timeout { timeout: *timeout, after: *after })
            }
            _ => None,
        }
    }

    /// Converts it back to an error.
    pub fn error(&self) -> Error {
        match self {
            NoAnswer::Network(what) => Error::Network { what: what.clone(), source: None },
            NoAnswer::Timeout { timeout, after } => Error::Timeout { timeout: *timeout, after: *after },
        }
    }
}

/// The outage of a peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outage {
    /// When its downloads began to wait.
    pub since: Instant,
    /// When the next probe is due.
    pub next_probe: Instant,
    /// The number of failed probes since then.
    pub probes: u32,
    /// The failure of the last connection.
    pub last: NoAnswer,
}

/// The state of one peer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Breaker {
    failures_in_a_row: u32,
    outage: Option<Outage>,
}

impl Breaker {
    /// The current outage.
    pub fn outage(&self) -> Option<&Outage> {
        self.outage.as_ref()
    }

    /// Records a failed connection. `limit` is `breakerFailures`; 0 turns the breaker off. A connection that was open when the
    /// breaker opened does not move the next probe.
    pub fn failed(&mut self, now: Instant, limit: u32, last: NoAnswer) {
        self.failures_in_a_row = self.failures_in_a_row.saturating_add(1);
        match &mut self.outage {
            Some(outage) => outage.last = last,
            None if limit > 0 && self.failures_in_a_row >= limit => {
                self.outage = Some(Outage { since: now, next_probe: now.after(FIRST_PROBE), probes: 0, last });
            }
            None => {}
        }
    }

    /// Records a failed probe.
    pub fn probe_failed(&mut self, now: Instant, last: NoAnswer) {
        if let Some(outage) = &mut self.outage {
            outage.probes = outage.probes.saturating_add(1);
            outage.next_probe = now.after(interval(outage.probes));
            outage.last = last;
        }
    }

    /// Records a response of the peer, with any status.
    pub fn answered(&mut self) {
        *self = Breaker::default();
    }
}

/// The interval after this many failed probes.
fn interval(probes: u32) -> Duration {
    let factor = 1_u32.checked_shl(probes).unwrap_or(u32::MAX);
    FIRST_PROBE.saturating_mul(factor).min(LAST_PROBE)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Instant {
        Instant(Duration::from_secs(seconds))
    }

    fn refused(number: u64) -> NoAnswer {
        NoAnswer::Network(format!("refused {number}"))
    }

    #[test]
    fn it_opens_after_so_many_failures_in_a_row() {
        // `F` a failure, `A` an answer; whether it is open then.
        let table = [
            (3, "FF", false),
            (3, "FFF", true),
            (3, "FFAFF", false),
            (3, "FFAFFF", true),
            (3, "FFFF", true),
            (3, "FFFA", false),
            (1, "F", true),
            (0, "FFFFFFFFFF", false),
        ];
        for (limit, story, open) in table {
            let mut breaker = Breaker::default();
            for (second, what) in (0..).zip(story.chars()) {
                match what {
                    'F' => breaker.failed(at(second), limit, refused(second)),
                    _ => breaker.answered(),
                }
            }
            assert_eq!(breaker.outage().is_some(), open, "{limit}: {story}");
        }
    }

    #[test]
    fn probes_come_at_doubling_intervals_up_to_five_minutes() {
        let mut breaker = Breaker::default();
        breaker.failed(at(100), 1, refused(0));
        let mut now = at(100);
        let mut intervals = Vec::new();
        for number in 0..9 {
            let due = breaker.outage().map(|outage| outage.next_probe);
            let due = due.unwrap_or_default();
            intervals.push(due.since(now).as_secs());
            // A missing answer took ten seconds.
            now = due.after(Duration::from_secs(10));
            breaker.probe_failed(now, refused(number));
        }
        assert_eq!(intervals, [5, 10, 20, 40, 80, 160, 300, 300, 300]);
        let outage = breaker.outage().cloned();
        let outage = outage.map(|outage| (outage.since, outage.probes, outage.last));
        assert_eq!(outage, Some((at(100), 9, refused(8))));
        assert_eq!(interval(u32::MAX), LAST_PROBE);
    }

    #[test]
    fn a_straggler_moves_no_probe() {
        let mut breaker = Breaker::default();
        breaker.failed(at(0), 1, refused(0));
        breaker.failed(at(4), 1, refused(1));
        let outage = breaker.outage().cloned();
        let outage = outage.map(|outage| (outage.since, outage.next_probe, outage.last));
        assert_eq!(outage, Some((at(0), at(5), refused(1))));
    }

    #[test]
    fn a_probe_that_fails_after_the_peer_answered_opens_nothing() {
        let mut breaker = Breaker::default();
        breaker.failed(at(0), 1, refused(0));
        breaker.answered();
        breaker.probe_failed(at(9), refused(1));
        assert_eq!(breaker, Breaker::default());
    }

    #[test]
    fn only_a_missing_response_head_is_no_answer() {
        let timeout = |timeout| Error::Timeout { timeout, after: Duration::from_secs(1) };
        let table = [
            (Error::network("connecting", "refused"), true),
            (timeout(Timeout::Connect), true),
            (timeout(Timeout::Headers), true),
            (timeout(Timeout::Idle), false),
            (Error::Certificate(String::new()), false),
            (Error::Protocol(String::new()), false),
            (Error::Status { status: 503, retry_after: None }, false),
        ];
        for (error, expected) in table {
            let no_answer = NoAnswer::of(&error);
            assert_eq!(no_answer.is_some(), expected, "{error}");
            if let Some(no_answer) = no_answer {
                let again = no_answer.error();
                assert_eq!(again.code(), error.code());
                assert_eq!(chain(&again), chain(&error));
            }
        }
    }
}
