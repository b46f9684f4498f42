//! A small model: every sequence of up to three kinds of response, then honest service; and a crash at every await.
//!
//! The source has a file of 100 bytes, replaced by another one of the same size and with the same first 30 bytes if a
//! sequence says so. It distinguishes them by a strong ETag, by a strong Last-Modified or by nothing; in the last case the two may
//! have a repeated byte in common between heads and ends that differ. It never lies about what a client has to believe: bytes under a strong validator are those of that version, and a Content-Range names the bytes
//! that follow it.

use crate::world::slow::Slow;
use crate::world::*;
use regrip_core::host::Host;
use regrip_core::ledger::Ledger;
use regrip_core::testing::{Asked, Piece, Reply, new_download};
use regrip_core::{DownloadsConfig, Engine, Error, Status, What};
use std::sync::LazyLock;
use std::time::Duration;

const LENGTH: usize = 100;
const SHARED: usize = 30;
/// Compared before a byte is appended that no strong validator vouches for.
const OVERLAP: u64 = 8;
const DATE: &str = "Thu, 01 Jan 2026 00:00:00 GMT";

/// How the source distinguishes its versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Telling {
    ETag,
    Date,
    Nothing,
    /// Nothing, and both have the same repeated byte between heads and ends that differ.
    NothingOfPadded,
}

macro_rules! kinds {
    ($($kind:ident,)*) => {
        /// What a response does. Those in the second half are for ranged requests; a plain one is answered honestly.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        enum Kind { $($kind,)* }

        const KINDS: [Kind; [$(Kind::$kind),*].len()] = [$(Kind::$kind),*];
    };
}

kinds! {
    Honest,
    Replaced,
    ReplacedAndCut,
    ReplacedAndIfRangeIgnored,
    CutAtOnce,
    CutHalfWay,
    CutBeforeTheLastByte,
    NoConnection,
    Busy,
    Broken,
    NotFound,
    Chunked,
    ChunkedAndCut,
    Unframed,
    Coded,
    Page,
    Smaller,
    WholeUnderAnotherETag,
    WholeAndCut,
    EarlierStart,
    AnotherTotal,
    AnotherETag,
    WeakETag,
    WithoutValidators,
    IfRangeIgnored,
    Shorter,
    WholeWithARange,
    Unsatisfied,
    UnsatisfiedOtherwise,
    Forbidden,
    NotImplemented,
}

/// What may be sent as a whole: two versions, two padded ones, a page, a smaller file, a coding.
static RESPONSES: LazyLock<[Vec<u8>; 7]> = LazyLock::new(|| {
    let lengths = [LENGTH, LENGTH, LENGTH, LENGTH, 12, 20, 15];
    let mut version = 0;
    let mut all = lengths.map(|length| {
        version += 1;
        bytes_of(version, length)
    });
    let (old, others) = all.split_at_mut(1);
    others[0][..SHARED].copy_from_slice(&old[0][..SHARED]);
    for padded in &mut others[1..3] {
        padded[SHARED..PADDED_TO].fill(0);
    }
    all
});
const PADDED: usize = 2;
/// The end of the repeated byte: every cut but the last one is in it.
const PADDED_TO: usize = 80;
const PAGE: usize = 4;
const SMALLER: usize = 5;
const CODED: usize = 6;

impl Kind {
    /// The file is another one from this response on.
    fn replaces(self) -> bool {
        matches!(self, Kind::Replaced | Kind::ReplacedAndCut | Kind::ReplacedAndIfRangeIgnored)
    }
}

/// A source, and what it has still to do wrong.
struct Source {
    telling: Telling,
    kinds: Vec<Kind>,
    current: usize,
}

impl Source {
    fn new(telling: Telling, kinds: &[Kind]) -> Source {
        let kinds = kinds.iter().rev().copied().collect();
        Source {
            telling,
            kinds,
            current: match telling {
                Telling::NothingOfPadded => PADDED,
                _ => 0,
            },
        }
    }

    fn file(&self) -> &'static [u8] {
        &RESPONSES[self.current]
    }

    fn etag(&self) -> String {
        format!("\"v{}\"", self.current)
    }

    fn date(&self) -> String {
        format!("Wed, 31 Dec 2025 00:00:0{} GMT", self.current)
    }

    fn with_validators(&self, status: u16, mut fields: Vec<(&str, String)>, body: &[u8]) -> Reply {
        fields.push(("date", DATE.to_owned()));
        match self.telling {
            Telling::ETag => fields.push(("etag", self.etag())),
            Telling::Date => fields.push(("last-modified", self.date())),
            Telling::Nothing | Telling::NothingOfPadded => {}
        }
        let fields: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (*name, &**value)).collect();
        let middle = body.len() / 2;
        reply(status, &fields, vec![bytes(&body[..middle]), bytes(&body[middle..])])
    }

    fn whole(&self) -> Reply {
        let fields = vec![("content-length", LENGTH.to_string()), ("content-type", "video/x-matroska".to_owned())];
        self.with_validators(200, fields, self.file())
    }

    fn range(&self, from: usize, to: usize, total: usize) -> Reply {
        let fields = vec![("content-range", format!("bytes {from}-{}/{total}", to - 1))];
        self.with_validators(206, fields, &self.file()[from..to])
    }

    fn matches(&self, asked: &Asked) -> bool {
        let value = asked.if_range.as_deref();
        value.is_none_or(|value| value == self.etag() || value == self.date())
    }

    fn honest(&self, asked: &Asked) -> Reply {
        match asked.first.filter(|_| self.matches(asked)) {
            Some(first) if first as usize >= LENGTH => self.unsatisfied(LENGTH),
            Some(first) => self.range(first as usize, LENGTH, LENGTH),
            None => self.whole(),
        }
    }

    fn unsatisfied(&self, total: usize) -> Reply {
        self.with_validators(416, vec![("content-range", format!("bytes */{total}"))], b"")
    }

    fn answer(&mut self, asked: &Asked) -> Answer {
        let kind = self.kinds.pop().unwrap_or(Kind::Honest);
        let first = asked.first.map(|first| (first as usize).min(LENGTH - 1));
        let other_etag = |reply: Reply, etag: &str| {
            let mut reply = without(reply, "etag");
            reply.headers.push("etag", etag.as_bytes());
            reply
        };
        if kind.replaces() {
            self.current |= 1;
        }
        let honest = self.honest(asked);
        let empty = |status| Ok(reply(status, &[], vec![]));
        match (kind, first) {
            (Kind::Honest | Kind::Replaced, _) => Ok(honest),
            (Kind::ReplacedAndCut, _) => cut(honest, 45),
            (Kind::CutAtOnce, _) => cut(honest, 0),
            (Kind::CutHalfWay, _) => {
                let at = length(&honest) / 2;
                cut(honest, at)
            }
            (Kind::CutBeforeTheLastByte, _) => {
                let at = length(&honest).saturating_sub(1);
                cut(honest, at)
            }
            (Kind::NoConnection, _) => Err(broken()),
            (Kind::Busy, _) => empty(429),
            (Kind::Broken, _) => empty(503),
            (Kind::NotFound, _) => empty(404),
            (Kind::Chunked | Kind::ChunkedAndCut, _) => {
                let mut reply = without(honest, "content-length");
                reply.headers.push("transfer-encoding", b"chunked");
                match kind {
                    Kind::Chunked => Ok(reply),
                    _ => cut(reply, 45),
                }
            }
            (Kind::Unframed, _) => Ok(without(honest, "content-length")),
            (Kind::Coded, _) => {
                let fields = [("content-encoding", "gzip"), ("content-length", "15")];
                Ok(reply(200, &fields, vec![bytes(&RESPONSES[CODED])]))
            }
            (Kind::Page, _) => {
                let fields = [("content-type", "text/html"), ("content-length", "12")];
                Ok(reply(200, &fields, vec![bytes(&RESPONSES[PAGE])]))
            }
            (Kind::Smaller, _) => {
                let fields = [("content-type", "video/x-matroska"), ("content-length", "20")];
                Ok(reply(200, &fields, vec![bytes(&RESPONSES[SMALLER])]))
            }
            (Kind::WholeUnderAnotherETag, _) => Ok(other_etag(self.whole(), "\"node\"")),
            (Kind::WholeAndCut, _) => cut(self.whole(), 45),
            (_, None) => Ok(honest),
            (Kind::EarlierStart, Some(first)) => Ok(self.range(first.saturating_sub(1), LENGTH, LENGTH)),
            (Kind::AnotherTotal, Some(first)) => Ok(self.range(first, LENGTH, LENGTH + 1)),
            (Kind::AnotherETag, Some(first)) => Ok(other_etag(self.range(first, LENGTH, LENGTH), "\"node\"")),
            (Kind::WeakETag, Some(first)) => {
                let etag = format!("W/{}", self.etag());
                Ok(other_etag(self.range(first, LENGTH, LENGTH), &etag))
            }
            (Kind::WithoutValidators, Some(first)) => {
                let reply = without(self.range(first, LENGTH, LENGTH), "etag");
                Ok(without(reply, "last-modified"))
            }
            (Kind::IfRangeIgnored | Kind::ReplacedAndIfRangeIgnored, Some(first)) => {
                Ok(self.range(first, LENGTH, LENGTH))
            }
            (Kind::Shorter, Some(first)) => Ok(self.range(first, LENGTH.min(first + 10), LENGTH)),
            (Kind::WholeWithARange, Some(first)) => {
                let mut reply = self.range(first, LENGTH, LENGTH);
                reply.status = 200;
                Ok(reply)
            }
            (Kind::Unsatisfied, Some(_)) => Ok(self.unsatisfied(LENGTH)),
            (Kind::UnsatisfiedOtherwise, Some(_)) => empty(416),
            (Kind::Forbidden, Some(_)) => empty(403),
            (Kind::NotImplemented, Some(_)) => empty(501),
        }
    }
}

fn length(reply: &Reply) -> usize {
    let lengths = reply.body.iter().map(|piece| match piece {
        Piece::Bytes(bytes) => bytes.len(),
        _ => 0,
    });
    lengths.sum()
}

/// A download whose source answers so. If `begun`, its first 60 bytes are there.
fn world(telling: Telling, begun: bool, kinds: &[Kind]) -> World {
    let mut source = Source::new(telling, kinds);
    let mut begun = begun;
    World::answering(config(), move |asked| match std::mem::take(&mut begun) {
        true => cut(source.whole(), 60),
        false => source.answer(asked),
    })
}

fn config() -> DownloadsConfig {
    DownloadsConfig { max_download_attempts: 3, resume_overlap_bytes: OVERLAP, ..DownloadsConfig::default() }
}

/// What holds whenever nothing moves.
fn look(world: &World, story: &str) {
    if let Some(file) = world.file() {
        assert!(RESPONSES[..CODED].contains(&file), "{story}: the file is no one response");
    }
    let part = world.part().unwrap_or_default();
    let held = RESPONSES.iter().any(|one| one.starts_with(&part));
    assert!(held, "{story}: {} bytes that are of no one response", part.len());
}

/// Returns `true` if only one version of the file is ever sent.
fn is_one_version(kinds: &[Kind]) -> bool {
    let another = |kind: &Kind| kind.replaces() || matches!(kind, Kind::Page | Kind::Smaller | Kind::Coded);
    !kinds.iter().any(another)
}

fn play(telling: Telling, begun: bool, kinds: &[Kind]) {
    let story = format!("{telling:?}, begun {begun}, {kinds:?}");
    let world = world(telling, begun, kinds);
    let id = world.accept();
    let mut runs = 0;
    while let Err(error) = world.drive(id) {
        look(&world, &story);
        assert!(runs < 4, "{story}: {error}");
        runs += 1;
        world.run(world.engine.retry(id)).unwrap_or_else(|error| panic!("{story}: {error}"));
    }
    look(&world, &story);
    world.assert_at_rest();
    assert!(world.file().is_some(), "{story}");
    let attempts = world.host.events().iter().filter(|(_, what)| matches!(what, What::Started { .. })).count();
    assert!(world.asked().len() <= 3 * attempts, "{story}: {} requests", world.asked().len());
    // Each kind ends one attempt at most, and the first one may be cut.
    assert!(attempts <= kinds.len() + 2, "{story}: {attempts} attempts");
    if is_one_version(kinds) {
        assert_eq!(world.restarts(), [], "{story}");
    }
}

const TELLING: [Telling; 4] = [Telling::ETag, Telling::Date, Telling::Nothing, Telling::NothingOfPadded];

fn pairs() -> impl Iterator<Item = [Kind; 2]> {
    KINDS.into_iter().flat_map(|first| KINDS.map(|second| [first, second]))
}

#[test]
fn up_to_two_faults_of_a_new_download_end_with_one_whole_response() {
    for telling in TELLING {
        pairs().for_each(|kinds| play(telling, false, &kinds));
    }
}

#[test]
fn up_to_three_faults_of_a_begun_download_end_with_one_whole_response() {
    // What a Date or nothing vouches for differs from an ETag within two responses.
    std::thread::scope(|scope| {
        for telling in TELLING {
            scope.spawn(move || {
                for [first, second] in pairs() {
                    play(telling, true, &[first, second]);
                    for third in KINDS.iter().filter(|_| all() || telling == Telling::ETag) {
                        play(telling, true, &[first, second, *third]);
                    }
                }
            });
        }
    });
}

/// A process: takes up what the last one left, as a user's next command would, or begins.
async fn process(engine: &Engine<Slow>) -> Result<(), Error> {
    engine.recover().await?;
    let rows = engine.host().ledger().rows_for(FILE).await?;
    let id = match rows.first() {
        Some(row) if row.status == Status::Completed => return Ok(()),
        Some(row) => {
            if row.status == Status::Failed {
                engine.retry(row.id).await?;
            }
            row.id
        }
        None => engine.accept(new_download(URL, FILE)).await?.id,
    };
    engine.drive(id).await.map(|_| ())
}

/// Runs a process for this many polls, ends it, and examines what it left. `None`: it did not end by itself.
fn run_and_end(world: &World, polls: u32, loses_power: bool, story: &str) -> Option<Result<(), Error>> {
    let slow = Slow::new(world.host.clone(), Duration::ZERO);
    let engine = Engine::new(slow, config(), true).expect("the configuration is in range");
    let done = world.run(at_most(polls, process(&engine)));
    world.assert_at_rest();
    match loses_power {
        true => world.host.store.lose_power(),
        false => world.host.store.crash(),
    }
    look(world, story);
    done
}

/// All sequences, also those that take minutes.
fn all() -> bool {
    std::env::var_os("REGRIP_MODEL_ALL").is_some()
}

fn crash_everywhere(telling: Telling, begun: bool, kinds: &[Kind]) {
    for loses_power in [false, true] {
        for polls in 0.. {
            let story = format!("{telling:?}, begun {begun}, {kinds:?}, {loses_power}, poll {polls}");
            let world = world(telling, begun, kinds);
            let done = run_and_end(&world, polls, loses_power, &story);
            let mut runs = 0;
            while !matches!(run_and_end(&world, u32::MAX, false, &story), Some(Ok(()))) {
                runs += 1;
                assert!(runs < 4, "{story}");
            }
            assert!(world.file().is_some(), "{story}");
            if is_one_version(kinds) {
                assert_eq!(world.restarts(), [], "{story}");
            }
            if done.is_some() {
                break;
            }
        }
    }
}

#[test]
fn a_crash_at_any_await_of_any_fault_leaves_what_can_be_finished() {
    std::thread::scope(|scope| {
        for telling in TELLING {
            scope.spawn(move || {
                for kind in KINDS {
                    crash_everywhere(telling, false, &[kind]);
                    crash_everywhere(telling, true, &[kind]);
                }
                for kinds in pairs().filter(|_| all()) {
                    crash_everywhere(telling, true, &kinds);
                }
            });
        }
    });
}
