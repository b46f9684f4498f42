//! Draws downloads and changes from a seed, odd values among them.

use crate::bounds::Bounds;
use crate::checksum::{Algorithm, Checksum};
use crate::classify::Class;
use crate::config::OnExists;
use crate::error_code::ErrorCode;
use crate::record::{
    AttemptEnd, Behaviour, Change, DigestRow, DigestSource, Failure, KnownSize, NewDownload, Outcome, Restart,
    RestartReason, SizeSource, Source, Terms, Validators, Waiting,
};
use crate::retry::AskedBy;
use crate::store::{Committing, DigestState, PartToken};
use std::time::{Duration, SystemTime};

/// Changes of different kinds.
pub(super) const KINDS: u8 = 18;

/// A moment that a ledger keeps exactly: milliseconds are enough.
pub(super) fn at(millisecond: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_000 + (millisecond & 0xff_ffff_ffff))
}

/// A random source of values.
pub(super) struct Draw(pub(super) fastrand::Rng);

impl Draw {
    pub(super) fn seeded(seed: u64) -> Draw {
        Draw(fastrand::Rng::with_seed(seed))
    }

    /// One of these values or the other one.
    fn of<T: Clone>(&mut self, values: &[T], other: T) -> T {
        let index = self.0.usize(..=values.len());
        values.get(index).cloned().unwrap_or(other)
    }

    fn text(&mut self) -> String {
        let odd = ["", "\"abc\"", "W/\"x\"", "';DROP TABLE downloads;--", "nul\0nul", "zwölf\n🎬", "-1", "NULL"];
        match self.0.u8(0..4) {
            0 => self.of(&odd, "").to_owned(),
            1 => "x".repeat(self.0.usize(..5000)),
            _ => self.0.u64(..).to_string(),
        }
    }

    /// Up to what the largest integer of most databases holds.
    pub(super) fn bytes(&mut self) -> u64 {
        match self.0.u8(0..4) {
            0 => 0,
            1 => i64::MAX as u64,
            _ => self.0.u64(..1 << 40),
        }
    }

    fn count(&mut self) -> u32 {
        match self.0.u8(0..4) {
            0 => u32::MAX,
            _ => self.0.u32(..100),
        }
    }

    fn maybe<T>(&mut self, draw: impl FnOnce(&mut Self) -> T) -> Option<T> {
        self.0.bool().then(|| draw(self))
    }

    fn size(&mut self) -> KnownSize {
        let sources = [SizeSource::ContentRange, SizeSource::ContentLength];
        KnownSize { bytes: self.bytes(), source: self.of(&sources, SizeSource::ReleaseSize) }
    }

    fn failure(&mut self) -> Failure {
        Failure {
            class: self.of(&[Class::Transient], Class::Permanent),
            code: self.of(ErrorCode::ALL, ErrorCode::Disk),
            text: self.text(),
        }
    }

    fn on_exists(&mut self) -> OnExists {
        self.of(&[OnExists::Overwrite, OnExists::Rename], OnExists::Fail)
    }

    fn names(&mut self) -> Vec<String> {
        (0..self.0.usize(..3)).map(|_| self.text()).collect()
    }

    /// A download whose destination no other seed has.
    pub(super) fn new_download(&mut self, seed: u64) -> NewDownload {
        let url = format!("https://example.org/{}", self.text());
        let source = match self.0.bool() {
            true => Source::Url { url },
            false => Source::Peer { peer_id: self.text(), peer_name: self.text(), item_id: self.text(), url },
        };
        NewDownload {
            source,
            mirrors: self.names(),
            header_names: self.names(),
            destination: format!("/films/{seed}/{}", self.text()),
            part: self.text(),
            on_exists: self.on_exists(),
            release_size: self.maybe(Draw::bytes),
            digests: self.digest_rows(),
            adopt: self.0.bool(),
        }
    }

    pub(super) fn change(&mut self) -> Change {
        let kind = self.0.u8(..KINDS);
        self.change_of(kind)
    }

    /// A change of one kind, below [`KINDS`].
    pub(super) fn change_of(&mut self, kind: u8) -> Change {
        match kind {
            0 => Change::Claimed(self.0.bool()),
            1 => Change::Fresh {
                kept: self.bytes(),
                restart: self.maybe(Draw::restart),
                validators: self.validators(),
                stated: self.checksums(),
                size: self.maybe(Draw::size),
                mismatch: self.0.bool(),
                epoch: self.text(),
            },
            2 => Change::Resumed {
                size: self.maybe(Draw::size),
                mismatch: self.0.bool(),
                stated: self.checksums(),
                epoch: self.text(),
            },
            3 => Change::Checkpoint {
                downloaded: self.bytes(),
                durable: self.bytes(),
                epoch: self.text(),
                digests: (0..self.0.usize(..3)).map(|_| (self.algorithm(), self.digest_state())).collect(),
            },
            4 => Change::Restart(self.restart()),
            5 => self.attempt_ended(),
            6 => Change::Waits(Waiting { until: at(self.0.u64(..)), why: self.text() }),
            7 => Change::Queued,
            8 => Change::Committing {
                committing: Committing { token: PartToken(self.text()), size: self.bytes() },
                digests: self.checksums(),
            },
            9 => Change::Completed { size: self.bytes(), warning: self.maybe(Draw::failure) },
            10 => Change::Failed(self.failure()),
            11 => Change::Cancelled,
            12 => Change::Retried,
            13 => Change::Learned(Behaviour {
                ignores_if_range: self.0.bool(),
                refuses_ranges: self.0.bool(),
                shrunk: self.maybe(Draw::text),
            }),
            14 => Change::Moved { url: self.text(), validators: self.validators(), terms: self.terms() },
            15 => Change::Paused,
            16 => Change::Unpaused,
            _ => Change::Terms(self.terms()),
        }
    }

    fn validators(&mut self) -> Validators {
        let last_modified = self.maybe(Draw::text);
        Validators {
            etag: self.maybe(Draw::text),
            last_modified_strong: last_modified.is_some() && self.0.bool(),
            last_modified,
            content_type: self.maybe(Draw::text),
        }
    }

    fn algorithm(&mut self) -> Algorithm {
        self.of(&Algorithm::ALL, Algorithm::Sha256)
    }

    fn checksums(&mut self) -> Vec<Checksum> {
        let checksum = |draw: &mut Self| Checksum { algorithm: draw.algorithm(), hex: draw.text() };
        (0..self.0.usize(..3)).map(|_| checksum(self)).collect()
    }

    fn digest_state(&mut self) -> DigestState {
        DigestState { offset: self.bytes(), state: (0..self.0.usize(..110)).map(|_| self.0.u8(..)).collect() }
    }

    fn digest_rows(&mut self) -> Vec<DigestRow> {
        let sources = [DigestSource::Caller, DigestSource::Peer, DigestSource::SeveralSources];
        let row = |draw: &mut Self| DigestRow {
            algorithm: draw.algorithm(),
            source: draw.of(&sources, DigestSource::Asked),
            wanted: draw.maybe(Draw::text),
            state: draw.maybe(Draw::digest_state),
            got: draw.maybe(Draw::text),
        };
        (0..self.0.usize(..4)).map(|_| row(self)).collect()
    }

    fn restart(&mut self) -> Restart {
        Restart {
            attempt: self.0.u32(..5),
            reason: self.of(&RestartReason::ALL, RestartReason::PartChanged),
            discarded: self.bytes(),
        }
    }

    fn terms(&mut self) -> Terms {
        Terms {
            digests: self.digest_rows(),
            adopt: self.0.bool(),
            on_exists: self.on_exists(),
            header_names: self.names(),
            mirrors: self.names(),
        }
    }

    fn attempt_ended(&mut self) -> Change {
        Change::AttemptEnded {
            end: AttemptEnd {
                attempt: self.0.u32(..5),
                to: self.bytes(),
                outcome: self.of(&Outcome::ALL, Outcome::Failed),
                error: self.maybe(Draw::failure),
                wait: self.maybe(|draw| {
                    let wait = Duration::from_millis(draw.0.u64(..1 << 40));
                    (wait, draw.of(&[AskedBy::Jitter], AskedBy::RetryAfter))
                }),
            },
            bounds: Bounds {
                in_a_row: self.count(),
                in_all: self.count(),
                restarts: self.count(),
                furthest: self.bytes(),
            },
        }
    }
}
