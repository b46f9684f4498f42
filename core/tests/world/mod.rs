//! What the engine tests share: a file, a peer that answers by a script, an engine over both, and short names for them.
#![allow(dead_code)] // each test crate uses a part of it

pub(crate) mod slow;

use regrip_core::hasher::Hasher;
use regrip_core::ledger::Ledger;
use regrip_core::record::{DigestRow, DigestSource, RestartReason};
use regrip_core::testing::{Asked, FakeHost, FakeTransport, Piece, Reply, VirtualClock, new_download};
use regrip_core::time::Clock;
use regrip_core::transport::Headers;
use regrip_core::{Algorithm, Change, Checksum, DownloadId, DownloadsConfig, Engine, Error, Row, Summary, What};
use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

pub(crate) const URL: &str = "http://peer.example/film.mkv";
pub(crate) const FILE: &str = "/films/film.mkv";
pub(crate) const PART: &str = "/films/film.mkv.part";
pub(crate) const V1: (&str, &str) = ("etag", "\"v1\"");

/// The SHA-256 of some bytes.
pub(crate) fn sha256(bytes: &[u8]) -> Checksum {
    Hasher::of(Algorithm::Sha256, bytes)
}

/// A digest that the caller gives.
pub(crate) fn given(checksum: &Checksum) -> DigestRow {
    DigestRow::wanted(checksum.clone(), DigestSource::Caller)
}

/// Bytes that are nowhere the same.
pub(crate) fn content(length: usize) -> Vec<u8> {
    bytes_of(1, length)
}

/// Those of another version.
pub(crate) fn bytes_of(version: u64, length: usize) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(version);
    std::iter::repeat_with(|| random.u8(..)).take(length).collect()
}

pub(crate) fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

pub(crate) fn config() -> DownloadsConfig {
    DownloadsConfig::default()
}

pub(crate) type Answer = Result<Reply, Error>;

/// An answer with these fields and pieces, nothing added.
pub(crate) fn reply(status: u16, fields: &[(&str, &str)], body: Vec<Piece>) -> Reply {
    Reply { delay: Duration::ZERO, status, headers: fields.iter().copied().collect(), body }
}

pub(crate) fn bytes(bytes: &[u8]) -> Piece {
    Piece::Bytes(bytes.to_vec())
}

/// A 200 with all of the file and a strong ETag.
pub(crate) fn whole(content: &[u8]) -> Reply {
    let length = content.len().to_string();
    reply(200, &[("content-length", &length), V1], vec![bytes(content)])
}

/// A 206 with the bytes from `from` on and a strong ETag.
pub(crate) fn rest(content: &[u8], from: usize) -> Reply {
    let total = content.len();
    let range = format!("bytes {from}-{}/{total}", total - 1);
    reply(206, &[("content-range", &range), V1], vec![bytes(&content[from..])])
}

/// The same answer, whose body breaks after `at` bytes of its first piece.
pub(crate) fn cut(mut reply: Reply, at: usize) -> Answer {
    let mut left = at;
    reply.body.retain_mut(|piece| match piece {
        Piece::Bytes(bytes) => {
            bytes.truncate(left);
            left -= bytes.len();
            !bytes.is_empty()
        }
        _ => left > 0,
    });
    reply.body.push(Piece::Break(broken()));
    Ok(reply)
}

pub(crate) fn broken() -> Error {
    Error::Network { what: "reading".to_owned(), source: None }
}

pub(crate) fn without(mut reply: Reply, name: &str) -> Reply {
    let kept = Headers::NAMES.into_iter().filter(|have| *have != name);
    reply.headers = kept.filter_map(|have| Some((have, reply.headers.only(have)?.to_owned()))).collect();
    reply
}

/// A fake host, an engine on it, and what to ask them.
pub(crate) struct World {
    pub(crate) clock: VirtualClock,
    pub(crate) host: FakeHost,
    pub(crate) engine: Engine<FakeHost>,
}

impl World {
    /// With a peer that answers by a function.
    pub(crate) fn answering(config: DownloadsConfig, peer: impl FnMut(&Asked) -> Answer + Send + 'static) -> World {
        let clock = VirtualClock::default();
        let transport = FakeTransport::new(clock.clone(), peer);
        World::on(FakeHost::new(clock, transport), config)
    }

    /// With a peer that gives these answers, in order, and must not be asked for more.
    pub(crate) fn scripted(config: DownloadsConfig, answers: impl IntoIterator<Item = Answer>) -> World {
        let mut answers: VecDeque<Answer> = answers.into_iter().collect();
        World::answering(config, move |asked| {
            let answer = answers.pop_front();
            answer.unwrap_or_else(|| panic!("asked once too often: {asked:?}"))
        })
    }

    /// Another engine on the same disk, ledger and clock, as after a crash of the process.
    pub(crate) fn on(host: FakeHost, config: DownloadsConfig) -> World {
        World {
            clock: host.clock.clone(),
            engine: Engine::new(host.clone(), config, true).expect("the configuration is in range"),
            host,
        }
    }

    pub(crate) fn accept(&self) -> DownloadId {
        let accepted = self.run(self.engine.accept(new_download(URL, FILE)));
        accepted.expect("the destination is free").id
    }

    pub(crate) fn drive(&self, id: DownloadId) -> Result<Summary, Error> {
        self.run(self.engine.drive(id))
    }

    /// Accepts and drives the one download.
    pub(crate) fn get(&self) -> Result<Summary, Error> {
        let id = self.accept();
        self.drive(id)
    }

    /// Runs to the end; what can never end fails the test.
    pub(crate) fn run<T>(&self, future: impl Future<Output = T>) -> T {
        self.clock.run(future).expect("something still moves")
    }

    pub(crate) fn row(&self, id: DownloadId) -> Row {
        self.run(self.host.ledger.row(id)).expect("the row is there")
    }

    pub(crate) fn file(&self) -> Option<Vec<u8>> {
        self.host.store.file(FILE)
    }

    pub(crate) fn part(&self) -> Option<Vec<u8>> {
        self.host.store.file(PART)
    }

    /// First byte and If-Range of every request.
    pub(crate) fn asked(&self) -> Vec<(Option<u64>, Option<String>)> {
        let requests = self.host.transport.requests();
        requests.into_iter().map(|asked| (asked.first, asked.if_range)).collect()
    }

    pub(crate) fn restarts(&self) -> Vec<(RestartReason, u64)> {
        let events = self.host.events();
        let restarts = events.into_iter().filter_map(|(_, what)| match what {
            What::Restart { reason, discarded_bytes } => Some((reason, discarded_bytes)),
            _ => None,
        });
        restarts.collect()
    }

    /// The waits between attempts, as they were announced.
    pub(crate) fn delays(&self) -> Vec<Duration> {
        let events = self.host.events();
        let delays = events.into_iter().filter_map(|(_, what)| match what {
            What::Retrying { delay, .. } => Some(delay),
            _ => None,
        });
        delays.collect()
    }

    /// Durable bytes by checkpoint, in order.
    pub(crate) fn checkpoints(&self) -> Vec<u64> {
        let changes = self.host.ledger.changes();
        let durable = changes.into_iter().filter_map(|(_, change)| match change {
            Change::Checkpoint { durable, .. } => Some(durable),
            _ => None,
        });
        durable.collect()
    }

    /// Nothing is held: no permit, no timer, no connection, no open part.
    pub(crate) fn assert_at_rest(&self) {
        assert_eq!(self.engine.permits_used(), 0, "a permit is held");
        assert_eq!(self.clock.timers(), 0, "a timer is set");
        assert_eq!(self.host.transport.open_bodies(), 0, "a connection is open");
        assert_eq!(self.host.store.open_parts(), 0, "a part is open");
    }

    pub(crate) fn assert_whole(&self, content: &[u8]) {
        assert!(self.file().as_deref() == Some(content), "the file is not the one served");
        assert_eq!(self.part(), None);
        self.assert_at_rest();
    }
}

/// Polls a future at most this many times; `None` if it was not done by then. The future is dropped in either case.
pub(crate) async fn at_most<T>(polls: u32, future: impl Future<Output = T>) -> Option<T> {
    let (mut future, mut left) = (pin!(future), polls);
    poll_fn(|context| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        future.as_mut().poll(context).map(Some)
    })
    .await
}

/// Lets everything else go first, once.
pub(crate) async fn pause() {
    let mut paused = false;
    poll_fn(|context| {
        if std::mem::replace(&mut paused, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// Waits on the virtual clock.
pub(crate) async fn wait(clock: &VirtualClock, duration: Duration) {
    clock.sleep(duration).await;
}
