//! What errors say, and what a person can do about them.

use regrip_core::error::{Doubt, LockFile, Timeout};
use regrip_core::{Algorithm, Checksum, Error};
use std::borrow::Cow;
use std::time::Duration;

fn path() -> String {
    "/films/a".to_owned()
}

fn digest() -> Checksum {
    Checksum::new(Algorithm::Md5, &"0".repeat(32)).expect("32 digits")
}

fn status(status: u16) -> Error {
    Error::Status { status, retry_after: None }
}

fn locked(pid: Option<u32>, lock_file: Option<(Option<&str>, Option<Doubt>)>) -> Error {
    let lock_file = lock_file.map(|(host, doubt)| LockFile {
        path: "/films/a.lock".to_owned(),
        host: host.map(str::to_owned),
        doubt,
    });
    Error::PartLocked { path: path(), pid, lock_file }
}

#[test]
fn an_error_that_a_person_can_do_something_about_says_what() {
    let of_lock = |doubt| locked(None, Some((None, Some(doubt))));
    let table = [
        (Error::ForeignPart { path: path() }, "move it away, or adopt it"),
        (locked(Some(7), None), "wait for that process to end"),
        (locked(Some(7), Some((None, None))), "wait for that process to end"),
        (of_lock(Doubt::Lost), "run it again once nothing else writes the part"),
        (of_lock(Doubt::OtherHost), "if nothing writes the part any more, delete the lock file"),
        (Error::DestinationExists { path: path() }, "choose another name, or set onExists"),
        (Error::DestinationRefused { path: path(), what: "a folder" }, "choose another destination"),
        (Error::DestinationBusy { path: path(), id: 1, url: path() }, "choose another destination, or remove"),
        (Error::DiskFull { path: path(), source: None }, "make room and run it again"),
        (Error::CredentialsMissing { names: path() }, "run it again with the same credentials"),
        (Error::TooManyRestarts { restarts: 2, limit: 1 }, "the source keeps changing"),
        (Error::UnexpectedPage { content_type: path() }, "open the address in a browser"),
        (Error::NotResumable, "download to a file instead"),
        (Error::UnknownSize, "the server must send a Content-Length"),
        (Error::TooLarge { bytes: 2, limit: 1 }, "raise maxDownloadBytes"),
        (Error::DigestMismatch { wanted: digest(), got: path() }, "check the digest"),
        (Error::Certificate(path()), "check the server's name and clock"),
        (Error::ProxyRefused(path()), "check the proxy's address"),
        (status(401), "the server wants credentials"),
        (status(403), "the server wants credentials"),
        (status(404), "check the address"),
        (status(410), "check the address"),
        (Error::Lost, "download it again"),
    ];
    for (error, expected) in table {
        let advice = error.advice().unwrap_or_default();
        assert!(advice.starts_with(expected), "{error}: {advice}");
    }
    for error in [status(402), status(500), Error::Cancelled, Error::Protocol(path())] {
        assert_eq!(error.advice(), None, "{error}");
    }
}

#[test]
fn an_error_names_its_times_sizes_and_processes() {
    let late = |timeout, ms| Error::Timeout { timeout, after: Duration::from_millis(ms) };
    let of_lock = |doubt| locked(Some(7), Some((Some("nas"), Some(doubt))));
    let doubted = |why: &str| {
        format!(
            "/films/a may be in use by process 7 on host nas, which cannot be checked: {why} (lock file /films/a.lock)"
        )
    };
    let table = [
        (late(Timeout::Connect, 30_000), "no connection within 30 s".to_owned()),
        (late(Timeout::Headers, 1_500), "no response within 1.5 s".to_owned()),
        (late(Timeout::Idle, 10_050), "no data received for 10.05 s".to_owned()),
        (late(Timeout::Idle, 7), "no data received for 0.007 s".to_owned()),
        (Error::Incomplete { got: 5, expected: Some(9) }, "the response body ended after 5 of 9 bytes".to_owned()),
        (
            Error::Incomplete { got: 5, expected: None },
            "the response body ended after 5 of an unknown number of bytes".to_owned(),
        ),
        (locked(None, None), "/films/a is being written by another process".to_owned()),
        (
            locked(Some(7), Some((None, None))),
            "/films/a is being written by process 7 on host unknown (lock file /films/a.lock)".to_owned(),
        ),
        (
            of_lock(Doubt::Unreadable),
            "/films/a is locked by /films/a.lock, which is not a readable lock file".to_owned(),
        ),
        (
            of_lock(Doubt::Lost),
            "/films/a is no longer locked by this download: /films/a.lock was removed or replaced".to_owned(),
        ),
        (of_lock(Doubt::OtherHost), doubted("another host")),
        (of_lock(Doubt::OtherBoot), doubted("another boot")),
        (of_lock(Doubt::OtherNamespace), doubted("another process namespace")),
        (of_lock(Doubt::Hidden), doubted("no information about processes")),
    ];
    for (error, expected) in table {
        assert_eq!(error.to_string(), expected);
    }
    assert_eq!(Doubt::Unreadable.why(), "not a readable lock file");
    assert_eq!(Doubt::Lost.why(), "removed or replaced");
}

#[test]
fn a_code_is_its_name() {
    assert_eq!(Cow::from(Error::Lost.code()), "Lost");
}
