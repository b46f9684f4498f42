//! The ledger's row: its words, what each status admits, and what each change does.

use regrip_core::bounds::Bounds;
use regrip_core::record::{
    AttemptEnd, Behaviour, DigestRow, DigestSource, Failure, KnownSize, Mark, NewDownload, Outcome, Restart,
    RestartReason, SizeSource, Source, Terms, Validators, Waiting,
};
use regrip_core::store::{Committing, DigestState, PartToken};
use regrip_core::testing::new_download;
use regrip_core::{Algorithm, Change, Checksum, Class, ErrorCode, OnExists, Row, Status};
use std::time::{Duration, SystemTime};

const NOW: SystemTime = SystemTime::UNIX_EPOCH;

#[test]
fn every_status_has_its_word_and_is_found_by_it() {
    let words = [
        (Status::Queued, "queued"),
        (Status::Downloading, "downloading"),
        (Status::Waiting, "waiting"),
        (Status::Paused, "paused"),
        (Status::Committing, "committing"),
        (Status::Completed, "completed"),
        (Status::ImportQueued, "import_queued"),
        (Status::Imported, "imported"),
        (Status::Failed, "failed"),
        (Status::Cancelled, "cancelled"),
    ];
    assert_eq!(words.map(|(status, _)| status), Status::ALL);
    for (status, word) in words {
        assert_eq!((status.name(), Status::named(word)), (word, Some(status)));
    }
    for word in ["", "Queued", "queued ", "done", "import", "imported\0"] {
        assert_eq!(Status::named(word), None, "{word:?}");
    }
}

#[test]
fn every_source_of_a_size_has_its_word_and_is_found_by_it() {
    for (source, word) in [
        (SizeSource::ContentRange, "content_range"),
        (SizeSource::ContentLength, "content_length"),
        (SizeSource::ReleaseSize, "release_size"),
    ] {
        let found = SizeSource::named(word);
        assert_eq!((source.name(), found), (word, Some(source)));
    }
    for word in ["", "content-length", "release", "ContentRange"] {
        assert_eq!(SizeSource::named(word), None, "{word:?}");
    }
}

#[test]
fn every_reason_to_restart_has_its_word_and_is_found_by_it() {
    let words = [
        (RestartReason::PartOversize, "part_oversize"),
        (RestartReason::PartChanged, "part_changed"),
        (RestartReason::ContentRangeMismatch, "content_range_mismatch"),
        (RestartReason::ValidatorChanged, "validator_changed"),
        (RestartReason::OverlapMismatch, "overlap_mismatch"),
        (RestartReason::RangeIgnored, "range_ignored"),
        (RestartReason::RangeNotSatisfiable, "range_not_satisfiable"),
        (RestartReason::RangeRefused, "range_refused"),
        (RestartReason::DigestMismatch, "digest_mismatch"),
    ];
    assert_eq!(words.map(|(reason, _)| reason), RestartReason::ALL);
    for (reason, word) in words {
        let found = RestartReason::named(word);
        assert_eq!((reason.name(), found), (word, Some(reason)));
    }
    for word in ["", "part", "range_ignored ", "RangeIgnored"] {
        assert_eq!(RestartReason::named(word), None, "{word:?}");
    }
}

fn failure(text: &str) -> Failure {
    Failure { class: Class::Permanent, code: ErrorCode::Disk, text: text.to_owned() }
}

fn committing() -> Committing {
    Committing { token: PartToken("7:8".to_owned()), size: 900 }
}

fn commits() -> Change {
    Change::Committing {
        committing: Committing { size: 5, ..committing() },
        digests: vec![checksum(Algorithm::Sha1, "aa"), checksum(Algorithm::Sha256, "ef")],
    }
}

fn checksum(algorithm: Algorithm, hex: &str) -> Checksum {
    let hex = hex.to_owned();
    Checksum { algorithm, hex }
}

fn wanted(algorithm: Algorithm, hex: &str, source: DigestSource) -> DigestRow {
    DigestRow::wanted(checksum(algorithm, hex), source)
}

fn state(offset: u64) -> DigestState {
    DigestState { offset, state: vec![1, 2] }
}

fn hashed(row: DigestRow) -> DigestRow {
    DigestRow { state: Some(state(300)), ..row }
}

fn fresh() -> Change {
    taken(0, None)
}

/// A full response whose first `kept` bytes are those of the part.
fn taken(kept: u64, restart: Option<Restart>) -> Change {
    Change::Fresh {
        kept,
        restart,
        validators: Validators { etag: Some("\"new\"".to_owned()), ..Validators::default() },
        stated: vec![checksum(Algorithm::Sha256, "cd")],
        size: Some(KnownSize { bytes: 900, source: SizeSource::ContentLength }),
        mismatch: false,
        epoch: "boot 2".to_owned(),
    }
}

fn resumed() -> Change {
    Change::Resumed {
        size: Some(KnownSize { bytes: 950, source: SizeSource::ContentRange }),
        mismatch: true,
        stated: vec![checksum(Algorithm::Sha256, "cd"), checksum(Algorithm::Sha512, "ce")],
        epoch: "boot 2".to_owned(),
    }
}

fn checkpoint() -> Change {
    Change::Checkpoint {
        downloaded: 600,
        durable: 500,
        epoch: "boot 2".to_owned(),
        digests: vec![(Algorithm::Sha256, state(500))],
    }
}

fn restart(reason: RestartReason) -> Change {
    Change::Restart(Restart { attempt: 3, reason, discarded: 400 })
}

fn differs(discarded: u64) -> Restart {
    Restart { attempt: 3, reason: RestartReason::ValidatorChanged, discarded }
}

fn moved() -> Change {
    Change::Moved {
        url: "http://mirror.example/a".to_owned(),
        validators: Validators::default(),
        terms: Terms {
            digests: Vec::new(),
            adopt: false,
            on_exists: OnExists::Rename,
            header_names: Vec::new(),
            mirrors: Vec::new(),
        },
    }
}

fn attempt_ended() -> Change {
    Change::AttemptEnded {
        end: AttemptEnd { attempt: 3, to: 700, outcome: Outcome::Failed, error: None, wait: None },
        bounds: Bounds { in_a_row: 4, in_all: 5, restarts: 6, furthest: 700 },
    }
}

fn waits() -> Change {
    Change::Waits(Waiting { until: NOW + Duration::from_secs(9), why: "another try".to_owned() })
}

fn completed(size: u64, warning: Option<Failure>) -> Change {
    Change::Completed { size, warning }
}

fn terms() -> Terms {
    Terms {
        digests: vec![
            wanted(Algorithm::Md5, "12", DigestSource::Peer),
            wanted(Algorithm::Sha256, "ef", DigestSource::Caller),
        ],
        adopt: true,
        on_exists: OnExists::Rename,
        header_names: vec!["cookie".to_owned()],
        mirrors: Vec::new(),
    }
}

#[test]
fn each_status_admits_what_gives_no_row_two_last_words() {
    use Status::*;
    let facts = [
        Change::Claimed(true),
        fresh(),
        resumed(),
        checkpoint(),
        restart(RestartReason::PartChanged),
        attempt_ended(),
        Change::Terms(terms()),
    ];
    let open: &[Status] = &[Queued, Downloading, Waiting, Committing];
    let rows: [(Change, &[Status]); 10] = [
        // By the end of a row its part may be of another process that retries it.
        (Change::Claimed(false), open),
        (waits(), open),
        (Change::Queued, open),
        (commits(), open),
        (Change::Failed(failure("no")), open),
        // The same once more is no contradiction, but never the end that another process has refused.
        (completed(900, None), &[Queued, Downloading, Waiting, Committing, Completed]),
        // From `committing` on it is too late.
        (Change::Cancelled, &[Queued, Downloading, Waiting, Paused, Cancelled]),
        (Change::Paused, &[Queued, Downloading, Waiting, Paused]),
        (Change::Retried, &[Failed, Cancelled]),
        // Nothing else that a drive in another process records ends a pause.
        (Change::Unpaused, &[Paused]),
    ];
    for status in Status::ALL {
        for fact in &facts {
            assert!(status.admits(fact), "{status:?} {fact:?}");
        }
        for (change, admitting) in &rows {
            let expected = admitting.contains(&status);
            assert_eq!(status.admits(change), expected, "{status:?} {change:?}");
        }
        assert_eq!(status.is_active(), open.contains(&status), "{status:?}");
        assert_eq!(status.is_complete(), [Completed, ImportQueued, Imported].contains(&status), "{status:?}");
        assert_eq!(status.is_finished(), !open.contains(&status) && status != Paused, "{status:?}");
    }
}

#[test]
fn a_mark_has_what_decides_which_row_is_driven() {
    for status in Status::ALL {
        let row = Row { status, durable: 42, ..Row::new(7, new_download("http://peer.example/a", "/films/a")) };
        let expected =
            Mark { id: 7, destination: "/films/a".to_owned(), committing: status == Status::Committing, durable: 42 };
        assert_eq!(Mark::from(row), expected, "{status:?}");
    }
}

/// A row in which nothing is as in a new one.
fn full() -> Row {
    Row {
        id: 1,
        new: NewDownload { release_size: Some(900), ..new_download("http://peer.example/a", "/a") },
        claimed: true,
        status: Status::Waiting,
        waiting: Some(Waiting { until: NOW, why: "a while".to_owned() }),
        validators: Validators {
            etag: Some("\"old\"".to_owned()),
            last_modified: Some("then".to_owned()),
            last_modified_strong: true,
            content_type: Some("video/x-matroska".to_owned()),
        },
        behaviour: Behaviour { ignores_if_range: true, refuses_ranges: true, shrunk: Some("12 a b".to_owned()) },
        size: Some(KnownSize { bytes: 900, source: SizeSource::ContentLength }),
        mismatch: false,
        downloaded: 400,
        durable: 300,
        epoch: Some("boot 1".to_owned()),
        responses: 2,
        digests: vec![
            hashed(wanted(Algorithm::Sha256, "ab", DigestSource::Caller)),
            hashed(wanted(Algorithm::Sha256, "ab", DigestSource::ReprDigest)),
        ],
        digest_restarted: true,
        attempts: 3,
        restarts: 2,
        bounds: Bounds { in_a_row: 1, in_all: 3, restarts: 2, furthest: 400 },
        committing: Some(committing()),
        failure: Some(failure("before")),
    }
}

/// What a change makes of a full row.
fn after(change: &Change) -> Row {
    let mut row = full();
    row.apply(change);
    row
}

#[test]
fn an_attempt_is_counted_and_ends_the_wait() {
    let mut row = full();
    assert_eq!(row.begin_attempt(), 4);
    let expected = Row { attempts: 4, status: Status::Downloading, waiting: None, ..full() };
    assert_eq!(row, expected);
}

#[test]
fn changes_of_the_bytes_change_what_is_known_of_them_and_no_status() {
    let none_yet = Row {
        downloaded: 0,
        durable: 0,
        digests: vec![wanted(Algorithm::Sha256, "ab", DigestSource::Caller)],
        committing: None,
        ..full()
    };
    let rows = [
        (Change::Claimed(false), Row { claimed: false, ..full() }),
        (
            fresh(),
            Row {
                validators: Validators { etag: Some("\"new\"".to_owned()), ..Validators::default() },
                behaviour: Behaviour { shrunk: None, ..full().behaviour },
                epoch: Some("boot 2".to_owned()),
                responses: 1,
                digests: vec![
                    wanted(Algorithm::Sha256, "ab", DigestSource::Caller),
                    wanted(Algorithm::Sha256, "cd", DigestSource::ReprDigest),
                ],
                ..none_yet.clone()
            },
        ),
        // All bytes are equal: only bytes past those of the response are forgotten.
        (
            taken(350, None),
            Row {
                downloaded: 350,
                durable: 300,
                digests: vec![
                    full().digests[0].clone(),
                    hashed(wanted(Algorithm::Sha256, "cd", DigestSource::ReprDigest)),
                ],
                bounds: Bounds { furthest: 350, ..full().bounds },
                ..after(&fresh())
            },
        ),
        // The bytes from 200 on were others.
        (
            taken(200, Some(differs(200))),
            Row {
                restarts: 3,
                downloaded: 200,
                durable: 200,
                bounds: Bounds { restarts: 3, furthest: 200, ..full().bounds },
                ..after(&fresh())
            },
        ),
        (
            taken(0, Some(differs(400))),
            Row { restarts: 3, bounds: Bounds { restarts: 3, furthest: 0, ..full().bounds }, ..after(&fresh()) },
        ),
        (Change::Learned(Behaviour::default()), Row { behaviour: Behaviour::default(), ..full() }),
        (moved(), {
            let mut row = full();
            row.new.source = Source::Url { url: "http://mirror.example/a".to_owned() };
            row.digests.remove(0);
            row.new.on_exists = OnExists::Rename;
            row.validators = Validators::default();
            row.behaviour = Behaviour::default();
            row
        }),
        // What is known already stays.
        (
            resumed(),
            Row {
                mismatch: true,
                epoch: Some("boot 2".to_owned()),
                responses: 3,
                digests: [full().digests, vec![wanted(Algorithm::Sha512, "ce", DigestSource::ReprDigest)]].concat(),
                ..full()
            },
        ),
        (
            checkpoint(),
            Row {
                downloaded: 600,
                durable: 500,
                epoch: Some("boot 2".to_owned()),
                digests: full().digests.into_iter().map(|row| DigestRow { state: Some(state(500)), ..row }).collect(),
                committing: None,
                ..full()
            },
        ),
        (
            restart(RestartReason::RangeIgnored),
            Row {
                restarts: 3,
                bounds: Bounds { restarts: 3, furthest: 0, ..full().bounds },
                validators: Validators::default(),
                behaviour: Behaviour { shrunk: None, ..full().behaviour },
                size: None,
                epoch: None,
                responses: 0,
                ..none_yet
            },
        ),
        (attempt_ended(), Row { bounds: Bounds { in_a_row: 4, in_all: 5, restarts: 6, furthest: 700 }, ..full() }),
    ];
    for (change, expected) in rows {
        assert_eq!(after(&change), expected, "{change:?}");
    }
}

#[test]
fn a_further_response_tells_what_was_not_known() {
    let mut row = full();
    row.size = None;
    row.digests.truncate(1);
    row.apply(&resumed());
    assert_eq!(row.size.map(|size| size.bytes), Some(950));
    assert_eq!(row.digests[1].wanted.as_deref(), Some("cd"));
    // A mismatch that was seen once is not forgotten.
    row.apply(&Change::Resumed { size: None, mismatch: false, stated: Vec::new(), epoch: "boot 2".to_owned() });
    assert!(row.mismatch);
}

#[test]
fn only_a_wrong_digest_uses_up_the_one_restart_for_it() {
    for reason in RestartReason::ALL {
        let mut row = Row { digest_restarted: false, ..full() };
        row.apply(&restart(reason));
        let expected = reason == RestartReason::DigestMismatch;
        assert_eq!(row.digest_restarted, expected, "{reason:?}");
    }
    assert!(after(&restart(RestartReason::RangeIgnored)).digest_restarted);
}

#[test]
fn changes_of_the_status_end_the_wait() {
    let stands = |status| Row { status, waiting: None, ..full() };
    let done = Row { downloaded: 900, durable: 900, committing: None, failure: None, ..stands(Status::Completed) };
    let Change::Waits(waiting) = waits() else {
        panic!("it waits");
    };
    let rows = [
        (waits(), Row { waiting: Some(waiting), ..full() }),
        (Change::Queued, stands(Status::Queued)),
        (
            commits(),
            Row {
                committing: Some(Committing { size: 5, ..committing() }),
                digests: full()
                    .digests
                    .into_iter()
                    .map(|row| DigestRow { got: Some("ef".to_owned()), ..row })
                    .collect(),
                ..stands(Status::Committing)
            },
        ),
        (completed(900, None), done.clone()),
        (completed(900, Some(failure("unsynced"))), Row { failure: Some(failure("unsynced")), ..done.clone() }),
        // The release announced 900: the transfer counts, and the difference is recorded.
        (completed(901, None), Row { downloaded: 901, durable: 901, mismatch: true, ..done }),
        (Change::Failed(failure("now")), Row { failure: Some(failure("now")), ..stands(Status::Failed) }),
        (Change::Cancelled, stands(Status::Cancelled)),
        (
            Change::Retried,
            Row {
                bounds: Bounds { furthest: 400, ..Bounds::default() },
                digest_restarted: false,
                failure: None,
                ..stands(Status::Queued)
            },
        ),
        (
            Change::Terms(terms()),
            Row {
                new: NewDownload {
                    adopt: true,
                    on_exists: OnExists::Rename,
                    header_names: vec!["cookie".to_owned()],
                    ..full().new
                },
                digests: vec![
                    wanted(Algorithm::Md5, "12", DigestSource::Peer),
                    hashed(wanted(Algorithm::Sha256, "ef", DigestSource::Caller)),
                    full().digests[1].clone(),
                ],
                ..full()
            },
        ),
    ];
    for (change, expected) in rows {
        assert_eq!(after(&change), expected, "{change:?}");
    }
}

#[test]
fn counts_of_a_row_never_overflow() {
    let mut row = Row {
        attempts: u32::MAX,
        restarts: u32::MAX,
        responses: u32::MAX,
        bounds: Bounds { restarts: u32::MAX, ..Bounds::default() },
        ..full()
    };
    assert_eq!(row.begin_attempt(), u32::MAX);
    row.apply(&resumed());
    assert_eq!(row.responses, u32::MAX);
    row.apply(&restart(RestartReason::PartChanged));
    assert_eq!((row.restarts, row.bounds.restarts), (u32::MAX, u32::MAX));
}

#[test]
fn the_size_that_is_shown_is_the_transfers_or_a_release_that_is_not_contradicted() {
    let transfer = KnownSize { bytes: 950, source: SizeSource::ContentRange };
    let release = |bytes| Some(KnownSize { bytes, source: SizeSource::ReleaseSize });
    let rows = [
        // by a transfer, by the release, mismatch, bytes in the part
        (Some(transfer), Some(900), true, 0, Some(transfer)),
        (Some(transfer), None, false, 0, Some(transfer)),
        (None, Some(900), false, 0, release(900)),
        (None, Some(900), false, 900, release(900)),
        (None, Some(900), false, 901, None),
        (None, Some(900), true, 800, None),
        (None, None, false, 0, None),
    ];
    for (size, release_size, mismatch, downloaded, expected) in rows {
        let mut row = Row { size, mismatch, downloaded, ..full() };
        row.new.release_size = release_size;
        assert_eq!(row.known_size(), expected);
    }
}

#[test]
fn the_same_url_or_the_same_item_of_the_same_peer_is_the_same_source() {
    let url = |url: &str| Source::Url { url: url.to_owned() };
    let peer = |peer_id: &str, item_id: &str, url: &str| Source::Peer {
        peer_id: peer_id.to_owned(),
        peer_name: "nas".to_owned(),
        item_id: item_id.to_owned(),
        url: url.to_owned(),
    };
    let rows = [
        (url("http://a/1"), url("http://a/1"), true),
        (url("http://a/1"), url("http://a/2"), false),
        (peer("p", "1", "http://a/1"), peer("p", "1", "http://b/1"), true),
        (peer("p", "1", "http://a/1"), peer("p", "2", "http://a/1"), false),
        (peer("p", "1", "http://a/1"), peer("q", "1", "http://a/1"), false),
        (peer("p", "1", "http://a/1"), url("http://a/1"), false),
    ];
    for (one, other, expected) in rows {
        assert_eq!(one.is_same(&other), expected, "{one:?} {other:?}");
        assert_eq!(other.is_same(&one), expected, "{other:?} {one:?}");
    }
}

#[test]
fn every_outcome_and_every_source_of_a_digest_has_its_word_and_is_found_by_it() {
    let outcomes = ["completed", "failed", "cancelled", "interrupted"];
    assert_eq!(Outcome::ALL.map(Outcome::name), outcomes);
    assert_eq!(outcomes.map(Outcome::named), Outcome::ALL.map(Some));
    assert_eq!(Outcome::named("done"), None);
    use DigestSource::{Asked, Caller, Peer, ReprDigest, SeveralSources};
    let sources = [Caller, Peer, ReprDigest, Asked, SeveralSources];
    let words = ["caller", "peer", "repr_digest", "asked", "several_sources"];
    assert_eq!(sources.map(DigestSource::name), words);
    assert_eq!(words.map(DigestSource::named), sources.map(Some));
    assert_eq!(DigestSource::named("repr-digest"), None);
}

#[test]
fn a_row_has_the_digests_of_their_algorithms() {
    let wanted = Checksum::new(Algorithm::Sha512, &"a".repeat(128)).unwrap();
    let md5 = DigestRow { got: Some("0".repeat(32)), ..DigestRow::asked(Algorithm::Md5) };
    let mut new = new_download("http://peer.example/film.mkv", "/films/film.mkv");
    new.digests = vec![md5, DigestRow::wanted(wanted.clone(), DigestSource::Caller)];
    let row = Row::new(1, new);
    assert_eq!(row.got(Algorithm::Md5), Some(&*"0".repeat(32)));
    assert_eq!(row.got(Algorithm::Sha512), None);
    assert_eq!(row.wanted(Algorithm::Sha512), Some(&*wanted.hex));
    assert_eq!(row.wanted(Algorithm::Md5), None);
}

#[test]
fn a_mirror_of_one_request_that_another_one_begins_with_is_the_same_download() {
    let url = |name: &str| format!("http://{name}.example/film.mkv");
    let mut first = new_download(&url("a"), "/films/film.mkv");
    first.mirrors = vec![url("b")];
    let source = |name: &str| Source::Url { url: url(name) };
    assert!(first.is_same(&source("b"), &[]));
    assert!(first.is_same(&source("c"), &[url("a")]));
    assert!(!first.is_same(&source("c"), &[url("d")]));
    assert!(!first.is_same(&source("c"), &[url("b")]), "a mirror in common is not enough");
}

#[test]
fn the_digests_of_a_finished_file_are_one_for_each_algorithm_that_was_computed() {
    let got = |row, hex: &str| DigestRow { got: Some(hex.to_owned()), ..row };
    let row = Row {
        digests: vec![
            got(wanted(Algorithm::Sha256, "ab", DigestSource::Caller), "ab"),
            DigestRow::asked(Algorithm::Sha1),
            got(DigestRow::asked(Algorithm::Md5), "cd"),
            got(wanted(Algorithm::Sha256, "ab", DigestSource::ReprDigest), "ab"),
        ],
        ..full()
    };
    assert_eq!(row.checksums(), [checksum(Algorithm::Sha256, "ab"), checksum(Algorithm::Md5, "cd")]);
}

#[test]
fn new_terms_keep_what_vouches_for_bytes_of_several_sources_and_what_is_known_of_each_digest() {
    let caller = |hex| wanted(Algorithm::Sha256, hex, DigestSource::Caller);
    let several = |hex| wanted(Algorithm::Sha256, hex, DigestSource::SeveralSources);
    let stated = || wanted(Algorithm::Sha512, "ef", DigestSource::ReprDigest);
    let asked = || DigestRow::asked(Algorithm::Md5);
    let done = |row| DigestRow { got: Some("ee".to_owned()), ..hashed(row) };
    let rows = [
        // the digests before, those of the terms, those after
        (vec![caller("ab")], vec![caller("cd")], vec![caller("cd")]),
        (vec![caller("ab")], vec![caller("ab"), several("ab")], vec![caller("ab"), several("ab")]),
        (vec![caller("ab"), several("ab")], vec![caller("cd")], vec![caller("cd"), several("cd")]),
        (vec![several("ab")], vec![several("ab"), caller("cd")], vec![caller("cd"), several("cd")]),
        (vec![several("ab")], vec![asked()], vec![asked(), several("ab")]),
        (vec![several("ab"), stated()], vec![], vec![several("ab"), stated()]),
        (vec![done(caller("ab"))], vec![asked(), caller("cd")], vec![asked(), done(caller("cd"))]),
        (vec![done(several("ab"))], vec![caller("cd")], vec![done(caller("cd")), done(several("cd"))]),
    ];
    for (before, now, expected) in rows {
        let mut row = Row { digests: before.clone(), ..full() };
        row.apply(&Change::Terms(Terms { digests: now.clone(), ..terms() }));
        assert_eq!(row.digests, expected, "{before:?} {now:?}");
    }
}
