//! The example as a user runs it: its own process, beside a server that misbehaves by script.

use regrip_faultd::faults::{Cut, Replace, Stall};
use regrip_faultd::{FileScript, Options, Script, Server, TlsIdentity, Version};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::Duration;
use tempfile::TempDir;

const SIZE: u64 = 3_000_000;
const REACHED: u64 = 1_000_000;
const ETAG: &str = "\"v1\"";

/// A folder for the file, which an example process downloads to.
struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        Folder(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Starts the example; the environment's proxies stay out of it.
    fn start(&self, url: &str) -> Child {
        let mut command = Command::new(env!("CARGO_BIN_EXE_regrip-example-tokio"));
        for name in ["http_proxy", "https_proxy", "all_proxy"] {
            command.env_remove(name).env_remove(name.to_uppercase());
        }
        let command = command.arg(url).arg(self.path("film.mkv"));
        command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
    }

    /// Starts the example, and kills it when the part has all bytes before a stall.
    fn start_and_kill(&self, url: &str) {
        let mut child = self.start(url);
        let part = self.path("film.mkv.part");
        while !fs::metadata(&part).is_ok_and(|part| part.len() == REACHED) {
            let ended = child.try_wait().unwrap();
            assert_eq!(ended, None, "ended before it was killed");
            thread::sleep(Duration::from_millis(5));
        }
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Runs the example to its end; returns its standard error, too.
    fn run(&self, url: &str) -> (ExitStatus, String) {
        let output = self.start(url).wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status, said)
    }
}

fn version() -> Version {
    Version::new(1, SIZE).etag(ETAG)
}

fn serve(file: FileScript) -> Server {
    Server::start(Script::one("/film.mkv", file)).unwrap()
}

fn assert_whole(file: &Path, version: &Version) {
    let content = version.content().bytes(0..version.size);
    assert!(fs::read(file).unwrap() == content, "{}", file.display());
}

/// The requests: status, Range and If-Range.
fn requests(server: &Server) -> Vec<(u16, Option<String>, Option<String>)> {
    let log = server.log().into_iter();
    log.map(|entry| (entry.status, entry.range, entry.if_range)).collect()
}

fn rest_from(offset: u64) -> (u16, Option<String>, Option<String>) {
    (206, Some(format!("bytes={offset}-")), Some(ETAG.to_owned()))
}

#[test]
fn a_body_that_is_cut_is_resumed_by_a_second_request_for_the_rest() {
    let server = serve(FileScript::honest(version()).answer([Cut::after(REACHED)]));
    let folder = Folder::new();
    let (status, said) = folder.run(&server.url("/film.mkv"));
    assert!(status.success(), "{said}");
    assert_whole(&folder.path("film.mkv"), &version());
    assert!(!folder.path("film.mkv.part").exists());
    assert_eq!(requests(&server), [(200, None, None), rest_from(REACHED)]);
}

#[test]
fn a_process_that_is_killed_is_resumed_by_the_next_one() {
    let server = serve(FileScript::honest(version()).answer([Stall::after(REACHED)]));
    let (folder, url) = (Folder::new(), server.url("/film.mkv"));
    folder.start_and_kill(&url);
    let (status, said) = folder.run(&url);
    assert!(status.success(), "{said}");
    assert_whole(&folder.path("film.mkv"), &version());
    assert_eq!(requests(&server), [(200, None, None), rest_from(REACHED)]);
}

#[test]
fn a_file_that_is_replaced_between_two_runs_is_never_mixed_with_the_old_version() {
    let new = Version::new(2, SIZE).etag("\"v2\"");
    let file = FileScript::honest(version()).version(new.clone());
    let file = file.answer([Stall::after(REACHED)]).answer([Replace::with(1)]);
    let (server, folder) = (serve(file), Folder::new());
    folder.start_and_kill(&server.url("/film.mkv"));
    let (status, said) = folder.run(&server.url("/film.mkv"));
    assert!(status.success(), "{said}");
    assert!(said.contains("starting over: validator_changed"), "{said}");
    assert_whole(&folder.path("film.mkv"), &new);
}

#[test]
fn a_file_that_exists_is_neither_replaced_nor_fetched() {
    let (server, folder) = (serve(FileScript::honest(version())), Folder::new());
    fs::write(folder.path("film.mkv"), "mine").unwrap();
    let (status, said) = folder.run(&server.url("/film.mkv"));
    assert_eq!(status.code(), Some(1), "{said}");
    assert_eq!(fs::read(folder.path("film.mkv")).unwrap(), b"mine");
    assert_eq!(requests(&server), []);
}

#[test]
fn a_certificate_that_nobody_vouches_for_ends_the_download_without_a_second_attempt() {
    let tls = Some(TlsIdentity::self_signed().unwrap());
    let script = Script::one("/film.mkv", FileScript::honest(version()));
    let server = Server::start_with(Options { tls, ..Options::default() }, script).unwrap();
    let (status, said) = Folder::new().run(&server.url("/film.mkv"));
    assert_eq!(status.code(), Some(1), "{said}");
    assert!(said.contains("the certificate was refused"), "{said}");
    assert!(!said.contains("retrying"), "{said}");
}
