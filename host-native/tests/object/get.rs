//! `regrip get URL -o s3://bucket/key`.

use crate::storage::{Act, Storage, error};
use crate::support::{Bench, Ran};
use regrip_faultd::faults::Cut;
use regrip_faultd::{Content, FileScript, Script, Version};
use std::process::{Child, Stdio};
use std::sync::Arc;

const MIB: u64 = 1 << 20;
/// The smallest part.
const PART: u64 = 5 * MIB;

/// The command, a source and a bucket.
struct Place {
    bench: Bench,
    storage: Storage,
}

impl Place {
    fn serving(script: Script) -> Place {
        Place { bench: Bench::serving(script), storage: Storage::new() }
    }

    /// One file with a strong ETag.
    fn of(size: u64) -> Place {
        Place::serving(Script::one("/film", film(size)))
    }

    fn arguments(&self, more: &[&str]) -> Vec<String> {
        let mut arguments = vec![self.bench.url("/film"), "-o".to_owned(), self.name("film")];
        arguments.extend(more.iter().map(|&more| more.to_owned()));
        arguments
    }

    fn name(&self, key: &str) -> String {
        format!("s3://{}/{key}", self.storage.bucket)
    }

    fn run(&self, more: &[&str]) -> Ran {
        Ran::of(self.start(more).wait_with_output().expect("it ends"))
    }

    fn start(&self, more: &[&str]) -> Child {
        let arguments = self.arguments(more);
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let mut command = self.bench.get(&arguments);
        self.storage.environment(&mut command);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("regrip starts")
    }

    /// Kills a run once this many parts are durable; the next one is under way then.
    fn killed_after(&self, parts: usize, more: &[&str]) {
        let mut child = self.start(more);
        self.storage.wait(|log| log.iter().filter(|asked| asked.is("PUT", "partNumber=")).count() > parts);
        child.kill().expect("killed");
        child.wait().expect("ended");
    }

    fn assert_object_is(&self, content: Content) {
        let object = self.storage.object("film").expect("the object is there");
        assert_eq!(object.len() as u64, content.size);
        assert!(object == content.bytes(0..content.size), "the object differs from its source");
        assert_eq!(self.storage.uploads(), 0, "an upload is left");
    }

    fn ranges(&self) -> Vec<Option<String>> {
        self.bench.ranges("/film")
    }
}

fn film(size: u64) -> FileScript {
    FileScript::honest(Version::new(1, size).etag("\"v1\""))
}

#[test]
fn a_file_is_uploaded_in_parts_whose_last_one_may_be_small() {
    let whole = |parts: usize| (1..=parts).map(|number| (number, PART as usize)).collect::<Vec<_>>();
    for (size, last) in
        [(0, 0), (1, 1), (PART - 1, PART - 1), (PART, 0), (PART + 1, 1), (3 * PART, 0), (3 * PART + 7, 7)]
    {
        let place = Place::of(size);
        let ran = place.run(&["--json"]);
        assert_eq!(ran.code, Some(0), "{ran:?}");
        place.assert_object_is(Content::new(1, size));
        let mut parts = whole((size / PART) as usize);
        if last > 0 || size == 0 {
            parts.push((parts.len() + 1, last as usize));
        }
        assert_eq!(place.storage.parts_sent(), parts, "{size}");
        assert_eq!(ran.events().last().expect("an event")["path"], place.name("film"));
        let checked = |asked: &crate::storage::Asked| asked.head.contains("content-md5: ");
        assert_eq!(place.storage.count(|asked| asked.is("PUT", "partNumber=") && checked(asked)), parts.len());

        let again = place.run(&[]);
        assert_eq!((again.code, place.ranges().len()), (Some(0), 1), "{again:?}");
        assert_eq!(place.bench.names(), [""; 0], "nothing is written to the folder");
    }
}

#[test]
fn after_a_cut_line_the_bytes_in_memory_count_too() {
    let size = 4 * PART;
    let cut = 2 * PART + 1000;
    let place = Place::serving(Script::one("/film", film(size).answer([Cut::after(cut)])));
    let ran = place.run(&[]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert_eq!(place.ranges(), [None, Some(format!("bytes={cut}-"))]);
    assert_eq!(place.storage.parts_sent().len(), 4, "each part once");
    place.assert_object_is(Content::new(1, size));
}

#[test]
fn after_a_kill_the_parts_that_were_acknowledged_count_and_a_digest_goes_on() {
    let size = 8 * PART + 99;
    let place = Place::serving(Script::one("/film", film(size)).bytes_per_second(20_000_000));
    let sha256 = format!("sha256:{}", Content::new(1, size).sha256());
    place.killed_after(3, &["--checksum", &sha256]);
    let ran = place.run(&["--checksum", &sha256, "--json"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(!ran.story().contains(&"restart".to_owned()), "{ran:?}");
    let ranges = place.ranges();
    let from: u64 =
        ranges[1].as_deref().and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok()).unwrap();
    assert!(from >= 3 * PART && from.is_multiple_of(PART), "{ranges:?}");
    assert_eq!(place.storage.parts_sent().len() as u64, 9 - from / PART, "the others are not sent again");
    place.assert_object_is(Content::new(1, size));
}

#[test]
fn a_replaced_source_aborts_the_upload_before_another_one_begins() {
    let size = 6 * PART;
    let script = film(size).version(Version::new(2, size + 5).etag("\"v2\""));
    let place = Place::serving(Script::one("/film", script).bytes_per_second(20_000_000));
    place.killed_after(2, &[]);
    assert!(place.bench.server.site().replace("/film", 1));
    place.storage.clear_log();
    let ran = place.run(&["--json"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(ran.story().contains(&"restart".to_owned()), "{ran:?}");
    place.assert_object_is(Content::new(2, size + 5));
    let log = place.storage.log();
    let at = |method, text| log.iter().position(|asked| asked.is(method, text)).expect("it was asked");
    assert!(at("DELETE", "uploadId=") < at("POST", "uploads="), "{log:?}");
}

#[test]
fn without_a_validator_a_later_run_starts_over() {
    let size = 4 * PART;
    let bare = FileScript::honest(Version::new(1, size));
    let place = Place::serving(Script::one("/film", bare).bytes_per_second(20_000_000));
    place.killed_after(1, &[]);
    let ran = place.run(&[]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert_eq!(place.ranges(), [None, None]);
    place.assert_object_is(Content::new(1, size));
}

#[test]
fn an_upload_that_the_bucket_aborted_starts_over() {
    let size = 4 * PART;
    let place = Place::serving(Script::one("/film", film(size)).bytes_per_second(20_000_000));
    place.killed_after(1, &[]);
    let (_, _, body) = place.storage.ask("GET", "?uploads", b"");
    let body = String::from_utf8_lossy(&body).into_owned();
    let id = body.split("<UploadId>").nth(1).and_then(|rest| rest.split('<').next()).expect("an upload");
    assert_eq!(place.storage.ask("DELETE", &format!("/film?uploadId={id}"), b"").0, 204);
    let ran = place.run(&[]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    place.assert_object_is(Content::new(1, size));
}

#[test]
fn the_lost_reply_of_complete_is_found_out_by_the_tag_of_the_object() {
    let place = Place::of(PART + 1);
    let mut lost = false;
    place.storage.rule(move |asked| match asked.is_complete() && !std::mem::replace(&mut lost, true) {
        true => Act::LoseAnswer,
        false => Act::Pass,
    });
    let ran = place.run(&[]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert_eq!(place.storage.count(|asked| asked.is_complete()), 1, "it is not sent again");
    place.assert_object_is(Content::new(1, PART + 1));
}

#[test]
fn a_kill_after_complete_was_carried_out_leaves_a_completed_download() {
    let place = Place::of(PART + 1);
    let (killed, kill) = std::sync::mpsc::channel::<()>();
    let kill = Arc::new(std::sync::Mutex::new(kill));
    place.storage.rule(move |asked| {
        let kill = Arc::clone(&kill);
        match asked.is("HEAD", "film") && asked.head.contains("x-amz") {
            _ if asked.is_complete() => Act::LoseAnswer,
            // The HEAD that would find it out is held until the process is gone.
            true => Act::After(Box::new(move || kill.lock().unwrap().recv().unwrap_or_default())),
            false => Act::Pass,
        }
    });
    // The first HEAD is that of the acceptance.
    killed.send(()).unwrap();
    let mut child = place.start(&[]);
    place.storage.wait(|log| log.iter().any(crate::storage::Asked::is_complete));
    child.kill().expect("killed");
    child.wait().expect("ended");
    drop(killed);
    place.storage.rule(|_| Act::Pass);
    let ran = place.run(&[]);
    assert_eq!((ran.code, place.ranges().len()), (Some(0), 1), "{ran:?}");
    assert_eq!(place.storage.count(|asked| asked.is_complete()), 1);
    place.assert_object_is(Content::new(1, PART + 1));
}

#[test]
fn an_error_within_a_200_is_an_error_and_asked_again() {
    for code in [200, 500, 503, 409] {
        let place = Place::of(PART + 1);
        let mut answered = false;
        let name = if code == 409 { "ConditionalRequestConflict" } else { "InternalError" };
        place.storage.rule(move |asked| match asked.is_complete() && !std::mem::replace(&mut answered, true) {
            true => Act::Answer(code, error(name)),
            false => Act::Pass,
        });
        let ran = place.run(&[]);
        assert_eq!(ran.code, Some(0), "{code}: {ran:?}");
        assert_eq!(place.storage.count(|asked| asked.is_complete()), 2, "{code}");
        place.assert_object_is(Content::new(1, PART + 1));
    }
}

#[test]
fn an_object_that_appears_meanwhile_is_kept_and_the_upload_too() {
    let place = Arc::new(Place::of(PART + 1));
    let rival = Arc::clone(&place);
    let mut there = false;
    place.storage.rule(move |asked| match asked.is_complete() && !std::mem::replace(&mut there, true) {
        true => {
            let rival = Arc::clone(&rival);
            Act::After(Box::new(move || assert_eq!(rival.storage.ask("PUT", "/film", b"rival").0, 200)))
        }
        false => Act::Pass,
    });
    let ran = place.run(&[]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.err.contains("already exists"), "{ran:?}");
    assert_eq!(place.storage.object("film").as_deref(), Some(&b"rival"[..]));
    assert_eq!(place.storage.uploads(), 1);
    // Nothing is fetched or sent again to replace it.
    let ran = place.run(&["--on-exists", "overwrite"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert_eq!((place.ranges().len(), place.storage.parts_sent().len()), (1, 0), "{ran:?}");
    place.assert_object_is(Content::new(1, PART + 1));
    place.storage.rule(|_| Act::Pass);
}

#[test]
fn an_object_that_is_there_is_refused_before_a_byte_is_fetched() {
    let place = Place::of(1000);
    assert_eq!(place.storage.ask("PUT", "/film", b"rival").0, 200);
    let ran = place.run(&[]);
    assert_eq!((ran.code, place.ranges().len()), (Some(1), 0), "{ran:?}");
    let ran = place.run(&["--on-exists", "rename"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert_eq!(place.storage.object("film.1").map(|object| object.len()), Some(1000));
}

#[test]
fn a_storage_that_is_busy_is_asked_again_and_one_that_refuses_a_part_keeps_the_others() {
    let size = 3 * PART;
    let place = Place::of(size);
    let mut busy = 2;
    place.storage.rule(move |asked| match asked.is("PUT", "partNumber=2") && busy > 0 {
        true => {
            busy -= 1;
            Act::Answer(503, error("SlowDown"))
        }
        false => Act::Pass,
    });
    let ran = place.run(&[]);
    assert_eq!((ran.code, place.ranges().len()), (Some(0), 1), "{ran:?}");
    place.assert_object_is(Content::new(1, size));

    let place = Place::of(size);
    place.storage.rule(|asked| match asked.is("PUT", "partNumber=2") {
        true => Act::Answer(403, error("AccessDenied")),
        false => Act::Pass,
    });
    let ran = place.run(&[]);
    assert_eq!(ran.code, Some(3), "{ran:?}");
    assert!(ran.err.contains("cannot upload a part of s3://") && ran.err.contains("403 AccessDenied"), "{ran:?}");
    place.storage.rule(|_| Act::Pass);
    let ran = place.run(&[]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert_eq!(place.ranges()[1], Some(format!("bytes={PART}-")));
    assert_eq!(place.storage.parts_sent().first(), Some(&(2, PART as usize)));
    place.assert_object_is(Content::new(1, size));
}

#[test]
fn a_removed_download_aborts_its_upload_at_once_or_in_the_next_run() {
    for refuses in [false, true] {
        let place = Place::serving(Script::one("/film", film(4 * PART)).bytes_per_second(20_000_000));
        place.killed_after(1, &[]);
        assert_eq!(place.storage.uploads(), 1);
        place.storage.rule(move |asked| match refuses && asked.is("DELETE", "") {
            true => Act::Answer(403, error("AccessDenied")),
            false => Act::Pass,
        });
        let mut remove = place.bench.regrip_command(&["remove", "1"]);
        place.storage.environment(&mut remove);
        let ran = Ran::of(remove.output().expect("regrip runs"));
        assert_eq!(ran.code == Some(0), !refuses, "{ran:?}");
        assert_eq!(place.storage.uploads(), usize::from(refuses));
        place.storage.rule(|_| Act::Pass);
        let other = Place { storage: Storage::new(), ..place };
        drop(other);
    }
}

#[test]
fn two_processes_never_write_one_object_at_once() {
    let place = Place::serving(Script::one("/film", film(4 * PART)).bytes_per_second(10_000_000));
    let mut child = place.start(&[]);
    place.storage.wait(|log| log.iter().any(|asked| asked.is("PUT", "partNumber=")));
    let ran = place.run(&[]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.err.contains("is being written by process"), "{ran:?}");
    assert!(child.wait().expect("ended").success());
    place.assert_object_is(Content::new(1, 4 * PART));
}

#[test]
fn headers_for_the_source_are_not_sent_to_the_storage() {
    let place = Place::of(1000);
    let ran = place.run(&["-H", "X-Secret: hunter3", "-u", "me:hunter4", "-v"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(
        place
            .storage
            .log()
            .iter()
            .all(|asked| !asked.head.contains("x-secret") && !asked.head.contains("authorization"))
    );
    assert!(!ran.err.contains("X-Amz-Signature=") && !ran.err.contains("hunter"), "{}", ran.err);
}
