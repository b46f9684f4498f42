//! The ledger's contract: what each change leaves is what `Row::apply` says, and attempts are counted without gaps.

use regrip::ledger::SqliteLedger;
use regrip_core::bounds::Bounds;
use regrip_core::classify::Class;
use regrip_core::ledger::Ledger;
use regrip_core::record::*;
use regrip_core::retry::AskedBy;
use regrip_core::store::{Committing, DigestState, PartToken};
use regrip_core::{Error, ErrorCode, OnExists};
use smol::block_on;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tempfile::TempDir;

/// In memory where that is possible: a commit waits for the disk.
fn folder() -> TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() {
        tempfile::tempdir_in(memory).unwrap()
    } else {
        tempfile::tempdir().unwrap()
    }
}

fn open(folder: &TempDir) -> SqliteLedger {
    SqliteLedger::open(&folder.path().join("ledger.db")).unwrap()
}

/// Milliseconds are what the ledger keeps.
fn at(millisecond: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(1_700_000_000_000 + millisecond)
}

fn new(name: &str) -> NewDownload {
    NewDownload {
        source: Source::Url {
            url: format!("https://example.org/{name}?key=1"),
        },
        header_names: vec!["authorization".to_owned()],
        destination: format!("/films/{name}"),
        part: format!("/films/{name}.part"),
        on_exists: OnExists::Fail,
        release_size: None,
        sha256: None,
        adopt: false,
    }
}

/// Draws what may happen, from a seed.
struct Draw(fastrand::Rng);

impl Draw {
    fn text(&mut self) -> String {
        let odd = [
            "",
            "\"abc\"",
            "W/\"x\"",
            "';DROP TABLE downloads;--",
            "nul\0nul",
            "zwölf\n🎬",
            "-1",
            "NULL",
        ];
        match self.0.u8(0..4) {
            0 => odd[self.0.usize(..odd.len())].to_owned(),
            1 => "x".repeat(self.0.usize(..5000)),
            _ => self.0.u64(..).to_string(),
        }
    }

    fn bytes(&mut self) -> u64 {
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
        let sources = [
            SizeSource::ContentRange,
            SizeSource::ContentLength,
            SizeSource::ReleaseSize,
        ];
        KnownSize {
            bytes: self.bytes(),
            source: sources[self.0.usize(..sources.len())],
        }
    }

    fn failure(&mut self) -> Failure {
        let codes = ErrorCode::ALL;
        Failure {
            class: [Class::Transient, Class::Permanent][self.0.usize(..2)],
            code: codes[self.0.usize(..codes.len())].clone(),
            text: self.text(),
        }
    }

    fn on_exists(&mut self) -> OnExists {
        [OnExists::Overwrite, OnExists::Fail, OnExists::Rename][self.0.usize(..3)]
    }

    fn reason(&mut self) -> RestartReason {
        [
            RestartReason::PartOversize,
            RestartReason::PartChanged,
            RestartReason::ContentRangeMismatch,
            RestartReason::ValidatorChanged,
            RestartReason::OverlapMismatch,
            RestartReason::RangeIgnored,
            RestartReason::RangeNotSatisfiable,
            RestartReason::DigestMismatch,
        ][self.0.usize(..8)]
    }

    fn new_download(&mut self) -> NewDownload {
        let url = format!("https://example.org/{}", self.text());
        let source = match self.0.bool() {
            true => Source::Url { url },
            false => Source::Peer {
                peer_id: self.text(),
                peer_name: self.text(),
                item_id: self.text(),
                url,
            },
        };
        NewDownload {
            source,
            header_names: (0..self.0.usize(..3)).map(|_| self.text()).collect(),
            destination: format!("/films/{}", self.text()),
            part: self.text(),
            on_exists: self.on_exists(),
            release_size: self.maybe(Draw::bytes),
            sha256: self.maybe(Draw::text),
            adopt: self.0.bool(),
        }
    }

    fn change(&mut self) -> Change {
        match self.0.u8(0..15) {
            0 => Change::Claimed(self.0.bool()),
            1 => Change::Fresh {
                validators: Validators {
                    etag: self.maybe(Draw::text),
                    last_modified: self.maybe(Draw::text),
                    sha256: self.maybe(Draw::text),
                },
                size: self.maybe(Draw::size),
                mismatch: self.0.bool(),
                epoch: self.text(),
            },
            2 => Change::Resumed {
                size: self.maybe(Draw::size),
                mismatch: self.0.bool(),
                sha256: self.maybe(Draw::text),
                epoch: self.text(),
            },
            3 | 4 => Change::Checkpoint {
                downloaded: self.bytes(),
                durable: self.bytes(),
                epoch: self.text(),
                digest: self.maybe(|draw| DigestState {
                    offset: draw.bytes(),
                    state: (0..draw.0.usize(..110)).map(|_| draw.0.u8(..)).collect(),
                }),
            },
            5 => Change::Restart {
                attempt: self.0.u32(..5),
                reason: self.reason(),
                discarded: self.bytes(),
            },
            6 => self.attempt_ended(),
            7 => Change::Waits(Waiting {
                until: at(self.0.u64(..1 << 40)),
                why: self.text(),
            }),
            8 => Change::Queued,
            9 => Change::Committing(Committing {
                token: PartToken(self.text()),
                size: self.bytes(),
                sha256: self.maybe(Draw::text),
            }),
            10 => Change::Completed {
                size: self.bytes(),
                sha256: self.maybe(Draw::text),
                warning: self.maybe(Draw::failure),
            },
            11 => Change::Failed(self.failure()),
            12 => Change::Cancelled,
            13 => Change::Retried,
            _ => Change::Terms(Terms {
                sha256: self.maybe(Draw::text),
                adopt: self.0.bool(),
                on_exists: self.on_exists(),
                header_names: (0..self.0.usize(..3)).map(|_| self.text()).collect(),
            }),
        }
    }

    fn attempt_ended(&mut self) -> Change {
        Change::AttemptEnded {
            end: AttemptEnd {
                attempt: self.0.u32(..5),
                to: self.bytes(),
                outcome: Outcome::Failed,
                error: self.maybe(Draw::failure),
                wait: self.maybe(|draw| {
                    let wait = Duration::from_millis(draw.0.u64(..1 << 40));
                    (
                        wait,
                        [AskedBy::Jitter, AskedBy::RetryAfter][draw.0.usize(..2)],
                    )
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

fn assert_refused<T: std::fmt::Debug>(answer: Result<T, Error>, row: &Row) {
    let status = row.status;
    assert!(
        matches!(&answer, Err(Error::WrongState { status: found, .. }) if *found == status),
        "{answer:?} for {row:?}"
    );
}

#[test]
fn after_every_change_the_row_is_what_apply_says() {
    let folder = folder();
    let ledger = open(&folder);
    block_on(async {
        for seed in 0..100 {
            let mut draw = Draw(fastrand::Rng::with_seed(seed));
            let new = draw.new_download();
            let id = ledger.insert(&new, at(0)).await.unwrap();
            let mut wanted = Row::new(id, new);
            assert_eq!(ledger.row(id).await.unwrap(), wanted, "seed {seed}");
            for step in 0..80 {
                if draw.0.u8(..8) == 0 {
                    let (at, from) = (at(step), draw.bytes());
                    let attempt = NewAttempt { at, from };
                    let begun = ledger.begin_attempt(id, &attempt).await;
                    if wanted.status.is_finished() {
                        assert_refused(begun, &wanted);
                    } else {
                        assert_eq!(begun.unwrap(), wanted.begin_attempt());
                    }
                } else {
                    let change = draw.change();
                    let recorded = ledger.record(id, &change, at(step)).await;
                    if wanted.status.admits(&change) {
                        recorded.unwrap();
                        wanted.apply(&change);
                    } else {
                        assert_refused(recorded, &wanted);
                    }
                }
                let row = ledger.row(id).await.unwrap();
                assert_eq!(row, wanted, "seed {seed}, step {step}");
            }
        }
    });
}

#[test]
fn a_change_touches_no_other_row() {
    let folder = folder();
    let ledger = open(&folder);
    block_on(async {
        let mut draw = Draw(fastrand::Rng::with_seed(7));
        let quiet = ledger.insert(&new("quiet"), at(0)).await.unwrap();
        let busy = ledger.insert(&new("busy"), at(0)).await.unwrap();
        let wanted = ledger.row(quiet).await.unwrap();
        for step in 0..500 {
            let change = draw.change();
            // Admitted or not.
            let _ = ledger.record(busy, &change, at(step)).await;
        }
        assert_eq!(ledger.row(quiet).await.unwrap(), wanted);
    });
}

#[test]
fn attempts_begun_by_eight_threads_at_once_are_counted_without_a_gap() {
    let folder = folder();
    let ledgers = [open(&folder), open(&folder)]; // as two processes have them
    let id = block_on(ledgers[0].insert(&new("f"), at(0))).unwrap();
    let begin = |ledger: &SqliteLedger| {
        let attempt = NewAttempt { at: at(1), from: 0 };
        block_on(ledger.begin_attempt(id, &attempt)).unwrap()
    };
    let mut numbers: Vec<u32> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|thread| {
                let ledger = ledgers[thread % 2].clone();
                scope.spawn(move || (0..25).map(|_| begin(&ledger)).collect::<Vec<_>>())
            })
            .collect();
        threads
            .into_iter()
            .flat_map(|thread| thread.join().unwrap())
            .collect()
    });
    numbers.sort_unstable();
    assert_eq!(numbers, (1..=200).collect::<Vec<u32>>());
    assert_eq!(block_on(ledgers[1].row(id)).unwrap().attempts, 200);
}
