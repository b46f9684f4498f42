//! What a file must hash to, who says so, and what a mismatch leads to.

use crate::world::*;
use regrip_core::hasher::Hasher;
use regrip_core::record::{DigestRow, DigestSource, NewDownload, RestartReason};
use regrip_core::store::StoreRules;
use regrip_core::testing::{Reply, new_download};
use regrip_core::{Algorithm, Checksum, DownloadsConfig, Engine, Error, OnExists, Status, Summary};

fn wanting(checksum: &Checksum) -> NewDownload {
    NewDownload { digests: vec![given(checksum)], ..new_download(URL, FILE) }
}

/// A part whose bytes cannot be read back.
fn unreadable(world: &World) {
    world.host.store.set_rules(StoreRules { read_back_bytes: 0, ..StoreRules::FILE });
}

fn get(world: &World, new: NewDownload) -> Result<Summary, Error> {
    world.run(async {
        let id = world.engine.accept(new).await?.id;
        world.engine.drive(id).await
    })
}

/// With the Repr-Digest of `file`.
fn stating(reply: Reply, file: &[u8]) -> Reply {
    stating_one("sha-256", Algorithm::Sha256, reply, file)
}

fn stating_one(key: &str, algorithm: Algorithm, mut reply: Reply, file: &[u8]) -> Reply {
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let hex = Hasher::of(algorithm, file).hex;
    let bits: String = hex.chars().filter_map(|digit| digit.to_digit(16)).map(|digit| format!("{digit:04b}")).collect();
    let letters = bits.as_bytes().chunks(6).map(|six| {
        let six = format!("{:0<6}", String::from_utf8_lossy(six));
        char::from(alphabet[usize::from_str_radix(&six, 2).expect("six bits")])
    });
    let mut base64: String = letters.collect();
    while !base64.len().is_multiple_of(4) {
        base64.push('=');
    }
    let value = format!("{key}=:{base64}:");
    reply.headers.push("repr-digest", value.as_bytes());
    reply
}

fn mismatch(result: Result<Summary, Error>, wanted: &Checksum, got: &Checksum) -> bool {
    matches!(result, Err(Error::DigestMismatch { wanted: w, got: g }) if w == *wanted && g == got.hex)
}

#[test]
fn a_file_with_the_wanted_digest_is_finished_with_it() {
    let file = content(1000);
    let wanted = sha256(&file);
    let world = World::scripted(config(), [Ok(whole(&file))]);
    let summary = get(&world, wanting(&wanted)).expect("it is the one");
    assert_eq!(summary.digests, [wanted]);
    world.assert_whole(&file);
}

#[test]
fn a_mismatch_of_bytes_from_one_response_is_permanent() {
    let file = content(1000);
    let other = sha256(b"another file");
    let world = World::scripted(config(), [Ok(whole(&file))]);
    let result = get(&world, wanting(&other));
    assert!(mismatch(result, &other, &sha256(&file)));
    assert_eq!((world.file(), world.row(1).status), (None, Status::Failed));
    assert!(world.restarts().is_empty());
    assert_eq!(world.part().as_deref(), Some(&file[..]), "kept, for who wants to look at it");
    world.assert_at_rest();
}

// H19: the last net under a server that answers a range with another file and says nothing.
#[test]
fn a_file_that_was_empty_is_asked_for_again_by_a_retry() {
    let file = content(1000);
    let world = World::scripted(config(), [Ok(whole(b"")), Ok(whole(&file))]);
    world.host.store.put(FILE, b"another");
    let new = NewDownload { on_exists: OnExists::Fail, ..new_download(URL, FILE) };
    assert!(matches!(get(&world, new), Err(Error::DestinationExists { .. })));
    world.host.store.delete(FILE);
    get(&world, wanting(&sha256(&file))).expect("it is the one now");
    world.assert_whole(&file);
}

#[test]
fn a_mismatch_of_bytes_from_several_responses_starts_over_once() {
    let (old, file) = (bytes_of(2, 1000), content(1000));
    let world = World::scripted(config(), [cut(whole(&old), 400), Ok(rest(&file, 400)), Ok(whole(&file))]);
    let summary = get(&world, wanting(&sha256(&file))).expect("one version in the end");
    assert_eq!((summary.attempts, summary.restarts), (2, 1));
    assert_eq!(world.restarts(), [(RestartReason::DigestMismatch, 1000)]);
    world.assert_whole(&file);
}

#[test]
fn a_second_mismatch_is_permanent_also_of_several_responses() {
    let (old, file) = (bytes_of(2, 1000), content(1000));
    let wanted = sha256(b"another file");
    let spliced = || [cut(whole(&old), 400), Ok(rest(&file, 400))];
    let answers = spliced().into_iter().chain(spliced());
    let world = World::scripted(config(), answers);
    let result = get(&world, wanting(&wanted));
    let got = sha256(&[&old[..400], &file[400..]].concat());
    assert!(mismatch(result, &wanted, &got));
    assert_eq!(world.restarts(), [(RestartReason::DigestMismatch, 1000)]);
    assert!(world.row(1).digest_restarted, "it is remembered");
}

#[test]
fn that_it_started_over_once_survives_the_process() {
    let (old, file) = (bytes_of(2, 1000), content(1000));
    let wanted = sha256(b"another file");
    let config = DownloadsConfig { max_download_attempts: 2, ..config() };
    let answers = [cut(whole(&old), 400), Ok(rest(&file, 400)), cut(whole(&old), 300), Ok(rest(&file, 300))];
    let world = World::scripted(config.clone(), answers);
    let id = world.run(world.engine.accept(wanting(&wanted))).expect("it is new").id;
    let first = world.drive(id);
    assert!(matches!(first, Err(Error::Network { .. })), "two attempts are spent");
    // Another process; not by a user's retry, which would begin afresh.
    let again = World::on(world.host.clone(), config);
    let row = again.row(id);
    assert!(row.digest_restarted && row.status == Status::Failed);
    again.run(again.engine.retry(id)).expect("it failed");
    assert!(!again.row(id).digest_restarted, "a user's retry has another try");
}

#[test]
fn two_digests_that_differ_are_permanent_before_the_first_byte() {
    let file = content(1000);
    let wanted = sha256(b"another file");
    let world = World::scripted(config(), [Ok(stating(whole(&file), &file))]);
    let result = get(&world, wanting(&wanted));
    assert!(matches!(
        result,
        Err(Error::DigestConflict { first, second, .. }) if first == wanted && second == sha256(&file)
    ));
    assert_eq!(world.part().unwrap_or_default(), b"");
    world.assert_at_rest();
}

#[test]
fn a_conflict_that_a_resume_brings_up_changes_nothing_of_the_part() {
    let file = content(1000);
    let wanted = sha256(b"another file");
    let world = World::scripted(config(), [cut(whole(&file), 400), Ok(stating(rest(&file, 400), &file))]);
    assert!(matches!(get(&world, wanting(&wanted)), Err(Error::DigestConflict { .. })));
    assert_eq!(world.part().as_deref(), Some(&file[..400]));
}

#[test]
fn a_stated_digest_is_held_against_the_file() {
    let file = content(1000);
    let world = World::scripted(config(), [Ok(stating(whole(&file), &file))]);
    world.get().expect("it is the one");
    let world = World::scripted(config(), [Ok(stating(whole(&file), b"another file"))]);
    assert!(mismatch(world.get(), &sha256(b"another file"), &sha256(&file)));
}

#[test]
fn a_digest_that_only_a_later_response_states_counts_too() {
    let (old, file) = (bytes_of(2, 1000), content(1000));
    let answers = [cut(whole(&old), 400), Ok(stating(rest(&file, 400), &file)), Ok(stating(whole(&file), &file))];
    let world = World::scripted(config(), answers);
    world.get().expect("one version in the end");
    assert_eq!(world.restarts(), [(RestartReason::DigestMismatch, 1000)]);
    world.assert_whole(&file);
}

#[test]
fn the_callers_digest_ranks_over_the_stated_one_where_they_agree() {
    let file = content(1000);
    let world = World::scripted(config(), [Ok(stating(whole(&file), &file))]);
    get(&world, wanting(&sha256(&file))).expect("all three agree");
}

#[test]
fn without_digests_nothing_is_hashed_or_held_against_anything() {
    let file = content(1000);
    let world = World::scripted(config(), [Ok(stating(whole(&file), b"another file"))]);
    let engine = Engine::new(world.host.clone(), config(), false).expect("in range");
    let summary = world.run(async {
        let id = engine.accept(wanting(&sha256(b""))).await?.id;
        engine.drive(id).await
    });
    assert_eq!(summary.expect("nobody looked").digests, []);
    world.assert_whole(&file);
}

#[test]
fn without_anything_to_check_or_a_wish_nothing_is_hashed() {
    let file = content(1000);
    let world = World::scripted(config(), [Ok(whole(&file))]);
    assert_eq!(world.get().expect("it is served").digests, []);
    assert_eq!(world.row(1).digests, []);
    let asking = DownloadsConfig { digest: Some(Algorithm::Sha1), ..config() };
    let world = World::scripted(asking, [Ok(whole(&file))]);
    let summary = world.get().expect("it is served");
    assert_eq!(summary.digests, [Hasher::of(Algorithm::Sha1, &file)]);
}

#[test]
fn every_algorithm_and_several_at_once_are_held_against_the_file() {
    let file = content(1000);
    for wrong in [None].into_iter().chain(Algorithm::ALL.map(Some)) {
        let content_for = |algorithm| match Some(algorithm) == wrong {
            true => b"another file".as_slice(),
            false => file.as_slice(),
        };
        let digest = |algorithm| given(&Hasher::of(algorithm, content_for(algorithm)));
        let new = NewDownload { digests: Algorithm::ALL.map(digest).to_vec(), ..new_download(URL, FILE) };
        let answers = [cut(whole(&file), 400), Ok(rest(&file, 400)), Ok(whole(&file))];
        let world = World::scripted(config(), answers);
        let result = get(&world, new);
        match wrong {
            None => assert_eq!(result.expect("all four agree").digests.len(), 4),
            Some(algorithm) => {
                let wanted = Hasher::of(algorithm, b"another file");
                let got = Hasher::of(algorithm, &file);
                assert!(mismatch(result, &wanted, &got), "{algorithm}");
            }
        }
    }
}

#[test]
fn two_given_digests_of_one_algorithm_that_differ_are_refused_without_a_request() {
    let file = content(1000);
    let of = |bytes: &[u8], source| DigestRow::wanted(sha256(bytes), source);
    let new = |second: &[u8]| NewDownload {
        digests: vec![of(&file, DigestSource::Caller), of(second, DigestSource::Peer)],
        ..new_download(URL, FILE)
    };
    let world = World::scripted(config(), [Ok(whole(&file))]);
    let error = get(&world, new(b"another file")).expect_err("they differ");
    let sources = |first: &str, second: &str| {
        format!("two digests differ: {} from {first}, {} from {second}", sha256(&file), sha256(b"another file"))
    };
    assert_eq!(error.to_string(), sources("the caller", "the peer"));
    assert!(world.asked().is_empty());
    let world = World::scripted(config(), [Ok(whole(&file))]);
    get(&world, new(&file)).expect("they agree");
}

#[test]
fn every_digest_that_a_response_states_counts() {
    let file = content(1000);
    for (sha512, right) in [(file.as_slice(), true), (b"another file", false)] {
        let both = stating_one("sha-512", Algorithm::Sha512, stating(whole(&file), &file), sha512);
        let world = World::scripted(config(), [Ok(both)]);
        let result = world.get();
        assert_eq!(result.is_ok(), right);
        if let Ok(summary) = result {
            assert_eq!(summary.digests.len(), 2);
        }
    }
}

#[test]
fn a_digest_that_is_given_later_counts_for_the_bytes_that_are_there() {
    let (old, file) = (bytes_of(2, 1000), content(1000));
    for (first, right) in [(&file, true), (&old, false)] {
        let answers = [cut(whole(first), 400), Ok(reply(404, &[], vec![])), Ok(rest(&file, 400)), Ok(whole(&file))];
        let world = World::scripted(config(), answers);
        world.get().expect_err("404 is permanent");
        let md5 = Hasher::of(Algorithm::Md5, &file);
        get(&world, wanting(&md5)).expect("one version in the end");
        assert_eq!(world.restarts().is_empty(), right);
        world.assert_whole(&file);
    }
}

#[test]
fn a_digest_given_later_starts_over_if_the_bytes_cannot_be_read_for_it() {
    let file = content(1000);
    let answers = [cut(whole(&file), 400), Ok(reply(404, &[], vec![])), Ok(whole(&file))];
    let world = World::scripted(config(), answers);
    unreadable(&world);
    world.get().expect_err("404 is permanent");
    get(&world, wanting(&sha256(&file))).expect("it starts over");
    assert_eq!(world.restarts(), [(RestartReason::PartChanged, 400)]);
    world.assert_whole(&file);
}

#[test]
fn a_digest_stated_later_stays_unverified_if_the_bytes_cannot_be_read_for_it() {
    let file = content(1000);
    let answers = [cut(whole(&file), 400), Ok(stating(rest(&file, 400), b"another file"))];
    let world = World::scripted(config(), answers);
    unreadable(&world);
    let summary = world.get().expect("nothing is held against it");
    assert_eq!((summary.digests, summary.restarts), (vec![], 0));
    world.assert_whole(&file);
}

// The state of each hash is saved, so that a resume reads only past the checkpoint.
#[test]
fn the_state_of_every_algorithm_is_continued() {
    let file = content(10_000);
    for algorithm in Algorithm::ALL {
        let mut hasher = Hasher::new(algorithm);
        hasher.update(&file[..777]);
        let state = regrip_core::store::Digest::save(&hasher).expect("it can be saved");
        let saved = |offset| regrip_core::store::DigestState { offset, state: state.clone() };
        let mut resumed = Hasher::resume(algorithm, &saved(777), 10_000).expect("it is one");
        resumed.update(&file[777..]);
        let got = regrip_core::store::Digest::finish(resumed);
        assert_eq!(got, Hasher::of(algorithm, &file).hex, "{algorithm}");
        let mut restored = Hasher::new(algorithm);
        assert!(!restored.restore(&state[1..]) && restored.restore(&state));
        restored.update(&file[777..]);
        assert_eq!(regrip_core::store::Digest::finish(restored), Hasher::of(algorithm, &file).hex);
        // It counts another number of bytes, or more than there are.
        assert!(Hasher::resume(algorithm, &saved(778), 10_000).is_none());
        assert!(Hasher::resume(algorithm, &saved(777), 776).is_none());
        for other in Algorithm::ALL.into_iter().filter(|other| *other != algorithm) {
            assert!(Hasher::resume(other, &saved(777), 10_000).is_none(), "{algorithm}");
        }
    }
}

#[test]
fn saved_states_are_continued_if_the_bytes_cannot_be_read_back() {
    let file = content(1000);
    let digests = [Algorithm::Md5, Algorithm::Sha256].map(|algorithm| Hasher::of(algorithm, &file));
    let world = World::scripted(config(), [cut(whole(&file), 400), Ok(rest(&file, 400))]);
    unreadable(&world);
    let new = NewDownload { digests: digests.iter().map(given).collect(), ..new_download(URL, FILE) };
    let summary = get(&world, new).expect("it goes on");
    assert_eq!((summary.digests, summary.restarts), (digests.to_vec(), 0));
    world.assert_whole(&file);
}

#[test]
fn a_digest_that_an_earlier_response_stated_refuses_no_new_version() {
    let (old, file) = (bytes_of(2, 1000), content(1000));
    let world = World::scripted(
        DownloadsConfig { max_download_attempts: 1, ..config() },
        [cut(stating(whole(&old), &old), 400), Ok(stating(whole(&file), &file))],
    );
    get(&world, new_download(URL, FILE)).expect_err("it is cut");
    get(&world, wanting(&sha256(&file))).expect("the server has the wanted file by now");
    world.assert_whole(&file);
}

#[test]
fn a_retry_of_what_a_digest_refused_asks_the_server_again() {
    let (old, file) = (bytes_of(2, 1000), content(1000));
    let world = World::scripted(config(), [Ok(whole(&old)), Ok(whole(&file))]);
    let result = get(&world, wanting(&sha256(&file)));
    assert!(mismatch(result, &sha256(&file), &sha256(&old)));
    world.run(world.engine.retry(1)).expect("it has failed");
    let result = world.run(world.engine.drive(1));
    result.expect("the server has the wanted file by now");
    world.assert_whole(&file);
}

#[test]
fn what_a_wrong_digest_refused_is_the_file_once_the_right_one_is_given() {
    let file = content(1000);
    let world = World::scripted(config(), [Ok(whole(&file))]);
    get(&world, wanting(&sha256(b"another file"))).expect_err("it is another file");
    get(&world, wanting(&sha256(&file))).expect("all its bytes are there");
    world.assert_whole(&file);
}

#[test]
fn a_download_that_a_digest_refused_can_be_asked_for_again_under_the_lowest_limits() {
    let (old, file) = (bytes_of(2, 1000), content(1000));
    let lowest = DownloadsConfig { max_download_attempts: 1, ..config() };
    let world = World::scripted(lowest, [Ok(whole(&old)), Ok(whole(&file))]);
    get(&world, wanting(&sha256(&file))).expect_err("it is another file");
    // The refused bytes are discarded once: fresh limits do not count them, nor what is left of them in the part.
    get(&world, wanting(&sha256(&file))).expect("the server has the wanted file by now");
    world.assert_whole(&file);
    let restarts = world.host.ledger.timeline(1).iter().filter(|line| line.restart.is_some()).count();
    assert_eq!(restarts, 1);
}

#[test]
fn a_process_that_dies_while_it_takes_up_what_a_digest_refused_does_not_trust_the_bytes() {
    let (old, file) = (bytes_of(2, 1000), content(1000));
    let world = World::scripted(config(), [Ok(whole(&old)), Ok(whole(&file))]);
    get(&world, wanting(&sha256(&file))).expect_err("it is another file");
    world.host.ledger.fail_after(Some(1));
    get(&world, wanting(&sha256(&file))).expect_err("the ledger fails after one change");
    world.host.ledger.fail_after(None);
    get(&world, wanting(&sha256(&file))).expect("the server has the wanted file by now");
    world.assert_whole(&file);
}
