//! `regrip::download` against a server that misbehaves by script, on three executors, with and without the feature `sqlite`.

use regrip::{Connections, DownloadError, DownloadRequest, Downloaded, Error, OnExists, RetryPolicy, download};
use regrip_core::Algorithm;
use regrip_core::hasher::Hasher;
use regrip_faultd::faults::{Cut, Replace, Stall, Status};
use regrip_faultd::{FileScript, Script, Server, Version};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tempfile::TempDir;

const SIZE: u64 = 3_000_000;
const REACHED: u64 = 2_000_000;
const ETAG: &str = "\"v1\"";

/// A server, a folder for the file, and a record.
struct Place {
    server: Server,
    folder: TempDir,
}

impl Place {
    fn serving(file: FileScript) -> Self {
        let server = Server::start(Script::one("/film.mkv", file)).unwrap();
        Place { server, folder: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn request(&self) -> DownloadRequest {
        let policy = RetryPolicy::new(3, Duration::from_millis(1), Duration::from_secs(5)).unwrap();
        self.recorded(download(self.server.url("/film.mkv"), self.path("films/film.mkv"))).retry(policy)
    }

    /// With a record of this place, and no proxy of this machine.
    #[cfg(feature = "sqlite")]
    fn recorded(&self, request: DownloadRequest) -> DownloadRequest {
        request.no_proxy().state(self.path("state.db"))
    }
    #[cfg(not(feature = "sqlite"))]
    fn recorded(&self, request: DownloadRequest) -> DownloadRequest {
        request.no_proxy()
    }

    /// Starts a download whose server stalls, and drops it once the part has all bytes before that.
    async fn start_and_drop(&self) {
        let part = self.path("films/film.mkv.part");
        let reached = async {
            while fs::metadata(&part).map_or(0, |part| part.len()) < REACHED {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::select! {
            ended = self.request().into_future() => panic!("{ended:?}"),
            () = reached => {}
        }
    }

    /// The requests: status and Range.
    fn requests(&self) -> Vec<(u16, Option<String>)> {
        self.server.log().into_iter().map(|entry| (entry.status, entry.range)).collect()
    }

    fn assert_whole(&self, version: &Version) {
        let content = version.content().bytes(0..version.size);
        assert!(fs::read(self.path("films/film.mkv")).unwrap() == content);
        assert!(!self.path("films/film.mkv.part").exists());
    }
}

fn version() -> Version {
    Version::new(1, SIZE).etag(ETAG)
}

fn from(offset: u64) -> Option<String> {
    Some(format!("bytes={offset}-"))
}

fn failed(result: Result<Downloaded, DownloadError>) -> Error {
    match result {
        Err(DownloadError::Failed(error)) => error,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_cut_body_is_resumed_and_a_complete_file_is_not_requested_again() {
    let place = Place::serving(FileScript::honest(version()).answer([Cut::after(REACHED)]));
    let seen = Arc::new(Mutex::new(Vec::new()));
    let progress = Arc::clone(&seen);
    let request = place.request().on_progress(move |bytes, total| progress.lock().unwrap().push((bytes, total)));
    let file = request.wait().unwrap();
    assert_eq!((file.bytes, file.attempts, file.fetched), (SIZE, 2, true));
    assert_eq!(file.path, fs::canonicalize(place.path("films/film.mkv")).unwrap());
    assert_eq!(seen.lock().unwrap().last(), Some(&(SIZE, Some(SIZE))));
    place.assert_whole(&version());
    let again = place.request().wait().unwrap();
    assert_eq!((again.bytes, again.fetched), (SIZE, false));
    assert_eq!(place.requests(), [(200, None), (206, from(REACHED))]);
}

#[tokio::test]
async fn on_tokio_a_dropped_download_is_resumed_by_the_next_call() {
    let place = Place::serving(FileScript::honest(version()).answer([Stall::after(REACHED)]));
    place.start_and_drop().await;
    let file = place.request().await.unwrap();
    assert_eq!(file.bytes, SIZE);
    place.assert_whole(&version());
    assert_eq!(place.requests(), [(200, None), (206, from(REACHED))]);
}

#[tokio::test]
#[cfg(feature = "cli")]
async fn the_command_resumes_what_a_program_began() {
    let place = Place::serving(FileScript::honest(version()).answer([Stall::after(REACHED)]));
    place.start_and_drop().await;
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_regrip"));
    let command = command.arg(place.server.url("/film.mkv")).arg("-o").arg(place.path("films/film.mkv"));
    let output = command.args(["--proxy", "", "--state"]).arg(place.path("state.db")).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    place.assert_whole(&version());
    assert_eq!(place.requests(), [(200, None), (206, from(REACHED))]);
}

#[tokio::test]
async fn a_file_that_is_replaced_between_two_calls_is_never_mixed_with_the_old_version() {
    let new = Version::new(2, SIZE).etag("\"v2\"");
    let file = FileScript::honest(version()).version(new.clone());
    let place = Place::serving(file.answer([Stall::after(REACHED)]).answer([Replace::with(1)]));
    place.start_and_drop().await;
    place.request().await.unwrap();
    place.assert_whole(&new);
}

#[test]
fn on_the_executor_of_futures_a_status_is_tried_again_as_often_as_the_policy_says() {
    let place = Place::serving(FileScript::honest(version()).then([Status::code(503)]));
    let error = failed(futures::executor::block_on(place.request().into_future()));
    assert!(matches!(error, Error::Status { status: 503, .. }), "{error:?}");
    assert_eq!(place.requests().len(), 3);
}

#[test]
fn a_digest_that_does_not_match_leaves_no_file() {
    let place = Place::serving(FileScript::honest(version()));
    let other = Hasher::of(Algorithm::Sha256, b"other");
    let error = failed(place.request().checksum(other).wait());
    assert!(matches!(error, Error::DigestMismatch { .. }), "{error:?}");
    assert!(!place.path("films/film.mkv").exists());
    let right = Hasher::of(Algorithm::Sha256, &version().content().bytes(0..SIZE));
    let file = place.request().checksum(right.clone()).wait().unwrap();
    assert_eq!(file.checksums, [right]);
}

#[test]
fn a_file_of_somebody_else_is_neither_replaced_nor_is_anything_requested_unless_asked_for() {
    let place = Place::serving(FileScript::honest(version()));
    fs::create_dir(place.path("films")).unwrap();
    fs::write(place.path("films/film.mkv"), "mine").unwrap();
    let error = failed(place.request().wait());
    assert!(matches!(error, Error::DestinationExists { .. }), "{error:?}");
    assert_eq!(fs::read(place.path("films/film.mkv")).unwrap(), b"mine");
    assert_eq!(place.requests(), []);
    place.request().on_exists(OnExists::Overwrite).wait().unwrap();
    place.assert_whole(&version());
}

#[test]
fn a_part_that_is_not_in_the_record_is_left_alone_unless_it_is_to_be_adopted() {
    let place = Place::serving(FileScript::honest(version()));
    let (part, start) = (place.path("films/film.mkv.part"), version().content().bytes(0..REACHED));
    fs::create_dir(place.path("films")).unwrap();
    fs::write(&part, &start).unwrap();
    let error = failed(place.request().wait());
    assert!(matches!(error, Error::ForeignPart { .. }), "{error:?}");
    assert_eq!(fs::read(&part).unwrap(), start);
    place.request().adopt_part(true).wait().unwrap();
    place.assert_whole(&version());
    assert_eq!(place.requests(), [(206, from(REACHED - 65_536))], "the overlap is compared");
}

#[tokio::test]
async fn a_destination_has_one_writer() {
    let place = Place::serving(FileScript::honest(version()).answer([Stall::after(REACHED)]));
    let part = place.path("films/film.mkv.part");
    let second = async {
        while fs::metadata(&part).map_or(0, |part| part.len()) < REACHED {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        failed(place.request().await)
    };
    tokio::select! {
        ended = place.request().into_future() => panic!("{ended:?}"),
        error = second => assert!(matches!(error, Error::PartLocked { .. }), "{error:?}"),
    }
}

#[test]
fn headers_and_userinfo_are_sent_and_several_connections_are_used() {
    let place = Place::serving(FileScript::honest(Version::new(1, 40_000_000).etag(ETAG)));
    let url = place.server.url("/film.mkv").replace("http://", "http://me:secret@");
    let request = place.recorded(download(url, place.path("films/film.mkv")));
    request.header("X-Key", "abc").connections(Connections::Fixed(3)).wait().unwrap();
    let log = place.server.log();
    let connections: std::collections::BTreeSet<_> = log.iter().map(|entry| entry.connection).collect();
    assert!(connections.len() > 1, "{log:?}");
    for entry in &log {
        assert_eq!(entry.header("x-key"), Some("abc"));
        assert_eq!(entry.header("authorization"), Some("Basic bWU6c2VjcmV0"));
    }
}

#[test]
fn an_argument_that_cannot_be_used_is_named_before_anything_is_requested() {
    let place = Place::serving(FileScript::honest(version()));
    let url = || place.server.url("/film.mkv");
    let path = || place.path("film.mkv");
    let table = [
        (download("ftp://me:hunter2@host/a", path()), "not an http or https URL"),
        (download("me:hunter2@host", path()), "not an http or https URL"),
        (download("", path()), "not a URL"),
        (download(url(), ""), "does not name a file"),
        (download(url(), "films/.."), "does not name a file"),
        (download(url(), path()).header("X Key", "hunter2"), "not a header name"),
        (download(url(), path()).header("X-Key", "hunter2\r\nA: b"), "control characters"),
        (download(url(), path()).header("Range", "bytes=0-"), "set by regrip itself"),
        (download(url(), path()).idle_timeout(Duration::ZERO), "idleTimeoutMs"),
    ];
    for (request, expected) in table {
        let shown = format!("{request:?}");
        match place.recorded(request).wait() {
            Err(DownloadError::Argument(text)) => {
                assert!(text.contains(expected), "{shown}: {text}");
                assert!(!text.contains("hunter2") && !shown.contains("hunter2"), "{shown}: {text}");
            }
            other => panic!("{shown}: {other:?}"),
        }
    }
    let name = "x".repeat(256);
    let error = failed(place.recorded(download(url(), Path::new("/tmp").join(name))).wait());
    assert!(matches!(error, Error::NameRefused { .. }), "{error:?}");
    assert_eq!(place.requests(), []);
}

#[test]
#[cfg(feature = "sqlite")]
fn a_state_file_that_cannot_be_used_is_named_without_advice_for_the_command() {
    let place = Place::serving(FileScript::honest(version()));
    fs::write(place.path("state.db"), "no database, but a text of some length".repeat(200)).unwrap();
    let Err(DownloadError::Argument(text)) = place.request().wait() else { panic!() };
    assert!(text.contains("state.db cannot be used") && !text.contains("--state"), "{text}");
    assert_eq!(place.requests(), []);
}
