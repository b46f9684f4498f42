//! What a file must hash to, who says so, and what a mismatch leads to (spec §5, Digest).

use crate::world::*;
use regrip_core::record::{NewDownload, RestartReason};
use regrip_core::testing::{MemoryDigest, Reply, new_download};
use regrip_core::{DownloadsConfig, Engine, Error, Status, Summary};

fn wanting(sha256: &str) -> NewDownload {
    NewDownload {
        sha256: Some(sha256.to_owned()),
        ..new_download(URL, FILE)
    }
}

fn get(world: &World, new: NewDownload) -> Result<Summary, Error> {
    world.run(async {
        let id = world.engine.accept(new).await?.id;
        world.engine.drive(id).await
    })
}

/// With the Repr-Digest of `file`.
fn stating(mut reply: Reply, file: &[u8]) -> Reply {
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let hex = MemoryDigest::of(file);
    let bits: String = hex
        .chars()
        .filter_map(|digit| digit.to_digit(16))
        .map(|digit| format!("{digit:04b}"))
        .collect();
    let letters = bits.as_bytes().chunks(6).map(|six| {
        let six = format!("{:0<6}", String::from_utf8_lossy(six));
        char::from(alphabet[usize::from_str_radix(&six, 2).expect("six bits")])
    });
    let base64: String = letters.collect();
    reply
        .headers
        .push("repr-digest", format!("sha-256=:{base64}=:").as_bytes());
    reply
}

fn mismatch(result: Result<Summary, Error>, wanted: &str, got: &str) -> bool {
    matches!(result, Err(Error::DigestMismatch { wanted: w, got: g }) if w == wanted && g == got)
}

#[test]
fn a_file_with_the_wanted_digest_is_finished_with_it() {
    let file = content(1000);
    let sha256 = MemoryDigest::of(&file);
    let world = World::scripted(config(), [Ok(whole(&file))]);
    let summary = get(&world, wanting(&sha256)).expect("it is the one");
    assert_eq!(summary.sha256, Some(sha256));
    world.assert_whole(&file);
}

#[test]
fn a_mismatch_of_bytes_from_one_response_is_permanent() {
    let file = content(1000);
    let other = MemoryDigest::of(b"another file");
    let world = World::scripted(config(), [Ok(whole(&file))]);
    let result = get(&world, wanting(&other));
    assert!(mismatch(result, &other, &MemoryDigest::of(&file)));
    assert_eq!((world.file(), world.row(1).status), (None, Status::Failed));
    assert!(world.restarts().is_empty());
    assert_eq!(
        world.part().as_deref(),
        Some(&file[..]),
        "kept, for who wants to look at it"
    );
    world.assert_at_rest();
}

// H19: the last net under a server that answers a range with another file and says nothing.
#[test]
fn a_mismatch_of_bytes_from_several_responses_starts_over_once() {
    let (old, file) = (bytes_of(2, 1000), content(1000));
    let sha256 = MemoryDigest::of(&file);
    let world = World::scripted(
        config(),
        [
            cut(whole(&old), 400),
            Ok(rest(&file, 400)),
            Ok(whole(&file)),
        ],
    );
    let summary = get(&world, wanting(&sha256)).expect("one version in the end");
    assert_eq!((summary.attempts, summary.restarts), (2, 1));
    assert_eq!(world.restarts(), [(RestartReason::DigestMismatch, 1000)]);
    world.assert_whole(&file);
}

#[test]
fn a_second_mismatch_is_permanent_also_of_several_responses() {
    let (old, file) = (bytes_of(2, 1000), content(1000));
    let wanted = MemoryDigest::of(b"another file");
    let spliced = || [cut(whole(&old), 400), Ok(rest(&file, 400))];
    let answers = spliced().into_iter().chain(spliced());
    let world = World::scripted(config(), answers);
    let result = get(&world, wanting(&wanted));
    let got = MemoryDigest::of(&[&old[..400], &file[400..]].concat());
    assert!(mismatch(result, &wanted, &got));
    assert_eq!(world.restarts(), [(RestartReason::DigestMismatch, 1000)]);
    assert!(world.row(1).digest_restarted, "it is remembered");
}

#[test]
fn that_it_started_over_once_survives_the_process() {
    let (old, file) = (bytes_of(2, 1000), content(1000));
    let wanted = MemoryDigest::of(b"another file");
    let config = DownloadsConfig {
        max_download_attempts: 2,
        ..config()
    };
    let answers = [
        cut(whole(&old), 400),
        Ok(rest(&file, 400)),
        cut(whole(&old), 300),
        Ok(rest(&file, 300)),
    ];
    let world = World::scripted(config.clone(), answers);
    let id = world
        .run(world.engine.accept(wanting(&wanted)))
        .expect("it is new")
        .id;
    let first = world.drive(id);
    assert!(
        matches!(first, Err(Error::Network { .. })),
        "two attempts are spent"
    );
    // Another process; not by a user's retry, which would begin afresh.
    let again = World::on(world.host.clone(), config);
    let row = again.row(id);
    assert!(row.digest_restarted && row.status == Status::Failed);
    again.run(again.engine.retry(id)).expect("it failed");
    assert!(
        !again.row(id).digest_restarted,
        "a user's retry has another try"
    );
}

#[test]
fn two_digests_that_differ_are_permanent_before_the_first_byte() {
    let file = content(1000);
    let wanted = MemoryDigest::of(b"another file");
    let world = World::scripted(config(), [Ok(stating(whole(&file), &file))]);
    let result = get(&world, wanting(&wanted));
    assert!(matches!(
        result,
        Err(Error::DigestConflict { first, second, .. }) if first == wanted && second == MemoryDigest::of(&file)
    ));
    assert_eq!(world.part().unwrap_or_default(), b"");
    world.assert_at_rest();
}

#[test]
fn a_conflict_that_a_resume_brings_up_changes_nothing_of_the_part() {
    let file = content(1000);
    let wanted = MemoryDigest::of(b"another file");
    let world = World::scripted(
        config(),
        [cut(whole(&file), 400), Ok(stating(rest(&file, 400), &file))],
    );
    assert!(matches!(
        get(&world, wanting(&wanted)),
        Err(Error::DigestConflict { .. })
    ));
    assert_eq!(world.part().as_deref(), Some(&file[..400]));
}

#[test]
fn a_stated_digest_is_held_against_the_file() {
    let file = content(1000);
    let world = World::scripted(config(), [Ok(stating(whole(&file), &file))]);
    world.get().expect("it is the one");
    let world = World::scripted(config(), [Ok(stating(whole(&file), b"another file"))]);
    assert!(mismatch(
        world.get(),
        &MemoryDigest::of(b"another file"),
        &MemoryDigest::of(&file)
    ));
}

#[test]
fn a_digest_that_only_a_later_response_states_counts_too() {
    let (old, file) = (bytes_of(2, 1000), content(1000));
    let answers = [
        cut(whole(&old), 400),
        Ok(stating(rest(&file, 400), &file)),
        Ok(stating(whole(&file), &file)),
    ];
    let world = World::scripted(config(), answers);
    world.get().expect("one version in the end");
    assert_eq!(world.restarts(), [(RestartReason::DigestMismatch, 1000)]);
    world.assert_whole(&file);
}

#[test]
fn the_callers_digest_ranks_over_the_stated_one_where_they_agree() {
    let file = content(1000);
    let world = World::scripted(config(), [Ok(stating(whole(&file), &file))]);
    get(&world, wanting(&MemoryDigest::of(&file))).expect("all three agree");
}

#[test]
fn without_digests_nothing_is_hashed_or_held_against_anything() {
    let file = content(1000);
    let world = World::scripted(config(), [Ok(stating(whole(&file), b"another file"))]);
    let engine = Engine::new(world.host.clone(), config(), false).expect("in range");
    let summary = world.run(async {
        let id = engine.accept(wanting("0000")).await?.id;
        engine.drive(id).await
    });
    assert_eq!(summary.expect("nobody looked").sha256, None);
    world.assert_whole(&file);
}
