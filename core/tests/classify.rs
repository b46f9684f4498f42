//! Transient or permanent: every kind of error, and every status.

use regrip_core::classify::{class_of_status, is_of_the_release, is_of_this_machine};
use regrip_core::error::Timeout;
use regrip_core::{Algorithm, Checksum, Class, Error, Status, class, is_transient};
use std::collections::BTreeSet;
use std::time::Duration;

use Class::{Permanent, Transient};

/// `extraRetryStatuses` of the example configuration.
const LISTED: &[u16] = &[408, 425];

fn digest() -> Checksum {
    Checksum::new(Algorithm::Md5, &"0".repeat(32)).expect("32 digits")
}

fn text() -> String {
    "x".to_owned()
}

fn status(status: u16) -> Error {
    Error::Status { status, retry_after: None }
}

fn timeout(timeout: Timeout) -> Error {
    let after = Duration::from_secs(1);
    Error::Timeout { timeout, after }
}

/// Every variant of [`Error`], with its class and its code. A variant that is missing here fails
/// `the_table_names_every_variant`.
#[rustfmt::skip] // one line a row
fn table() -> Vec<(Error, Class, &'static str)> {
    let disk = || Error::Disk { what: "open", path: text(), source: None };
    vec![
        (Error::Network { what: text(), source: None }, Transient, "Network"),
        (timeout(Timeout::Connect), Transient, "ConnectTimeout"),
        (timeout(Timeout::Headers), Transient, "HeadersTimeout"),
        (timeout(Timeout::Idle), Transient, "IdleTimeout"),
        (Error::LowSpeed { bytes: 1, window: Duration::from_secs(1) }, Transient, "LowSpeed"),
        (Error::Incomplete { got: 1, expected: Some(2) }, Transient, "Incomplete"),
        (Error::Incomplete { got: 1, expected: None }, Transient, "Incomplete"),
        (status(503), Transient, "Status"),
        (status(404), Permanent, "Status"),
        (status(408), Transient, "Status"),
        (Error::TooManyFiles { source: None }, Transient, "TooManyFiles"),
        (Error::Protocol(text()), Permanent, "Protocol"),
        (Error::Certificate(text()), Permanent, "Certificate"),
        (Error::Tls(text()), Permanent, "Tls"),
        (Error::RedirectRefused(text()), Permanent, "RedirectRefused"),
        (Error::AddressRefused(text()), Permanent, "AddressRefused"),
        (Error::ProxyRefused(text()), Permanent, "ProxyRefused"),
        (Error::Coded(text()), Permanent, "Coded"),
        (Error::UnexpectedPage { content_type: text() }, Permanent, "UnexpectedPage"),
        (Error::Shrunk { bytes: 1, held: 2 }, Transient, "Shrunk"),
        (Error::NotResumable, Permanent, "NotResumable"),
        (Error::UnknownSize, Permanent, "UnknownSize"),
        (Error::TooLarge { bytes: 2, limit: 1 }, Permanent, "TooLarge"),
        (Error::TooManyRestarts { restarts: 2, limit: 1 }, Permanent, "TooManyRestarts"),
        (Error::DigestMismatch { wanted: digest(), got: text() }, Permanent, "DigestMismatch"),
        (Error::DigestConflict { first: digest(), first_source: "a", second: digest(), second_source: "b" }, Permanent, "DigestConflict"),
        (Error::ForeignPart { path: text() }, Permanent, "ForeignPart"),
        (Error::PartLocked { path: text(), pid: Some(1), lock_file: None }, Permanent, "PartLocked"),
        (Error::DestinationExists { path: text() }, Permanent, "DestinationExists"),
        (Error::DestinationRefused { path: text(), what: "a folder" }, Permanent, "DestinationRefused"),
        (Error::DestinationBusy { path: text(), id: 1, url: text() }, Permanent, "DestinationBusy"),
        (Error::NameRefused { name: text(), why: "why" }, Permanent, "NameRefused"),
        (Error::CredentialsMissing { names: text() }, Permanent, "CredentialsMissing"),
        (Error::DiskFull { path: text(), source: None }, Permanent, "DiskFull"),
        (disk(), Permanent, "Disk"),
        (Error::Ledger { what: text(), source: None }, Permanent, "Ledger"),
        (Error::NoSuchDownload(1), Permanent, "NoSuchDownload"),
        (Error::WrongState { id: 1, status: Status::Queued }, Permanent, "WrongState"),
        (Error::Lost, Permanent, "Lost"),
        (Error::Superseded { by: 1 }, Permanent, "superseded"),
        (Error::Cancelled, Permanent, "cancelled"),
        (Error::Paused, Permanent, "paused"),
        (Error::Interrupted, Permanent, "interrupted"),
    ]
}

// D02
#[test]
fn every_error_has_its_class_and_code() {
    for (error, expected, code) in table() {
        assert_eq!(class(&error, LISTED), expected, "{error:?}");
        assert_eq!(is_transient(&error, LISTED), expected == Transient);
        assert_eq!(error.code().as_str(), code);
        let line = error.to_string();
        assert!(!line.contains('\n') && !line.ends_with('.'), "{line:?}");
    }
}

/// The variants by the name their `Debug` begins with, against those of the source itself: `Error` is not exhaustive for
/// other crates, so the compiler cannot see one that is missing here.
#[test]
fn the_table_names_every_variant() {
    let listed: BTreeSet<String> = table()
        .iter()
        .map(|(error, _, _)| {
            let debug = format!("{error:?}");
            debug.split([' ', '(', '{']).next().unwrap_or_default().to_owned()
        })
        .collect();
    let source = include_str!("../src/error.rs");
    let body = source.split_once("pub enum Error {").expect("the enum").1;
    let body = body.split_once("\n}").expect("its end").0;
    let declared: BTreeSet<String> = body
        .lines()
        .filter_map(|line| line.strip_prefix("    "))
        .filter(|line| line.starts_with(|letter: char| letter.is_ascii_uppercase()))
        .filter_map(|line| line.split([' ', '(', ',', '{']).next())
        .map(str::to_owned)
        .collect();
    assert!(declared.len() > 25, "the source was read: {declared:?}");
    assert_eq!(listed, declared);
}

// H28, H29, H30
#[test]
fn every_status_has_its_class_with_and_without_being_listed() {
    for code in 400..=599 {
        let transient = code == 429 || code >= 500;
        let unlisted = if transient { Transient } else { Permanent };
        assert_eq!(class_of_status(code, &[]), unlisted, "{code}");
        assert_eq!(class_of_status(code, &[code]), Transient, "{code} listed");
        assert_eq!(class(&status(code), &[]), unlisted);
        assert_eq!(class(&status(code), &[code]), Transient);
    }
    for code in [0, 100, 200, 206, 304, 399, 600, u16::MAX] {
        assert_eq!(class_of_status(code, &[]), Permanent);
        assert_eq!(class_of_status(code, &[code]), Permanent, "only a 4xx can be listed");
    }
}

#[test]
fn a_wait_is_asked_for_by_a_status_only() {
    let asked = Some(Duration::from_secs(7));
    let busy = Error::Status { status: 503, retry_after: asked };
    assert_eq!(busy.retry_after(), asked);
    assert_eq!(status(503).retry_after(), None);
    assert_eq!(Error::Lost.retry_after(), None);
}

#[test]
fn an_error_with_its_sources_is_one_line() {
    let source = std::io::Error::other("no route to host");
    let error = Error::network("connecting to peer.example:80", source);
    let line = regrip_core::error::chain(&error);
    assert_eq!(line, "connection failed: connecting to peer.example:80: no route to host");
}

#[test]
fn only_what_another_release_can_mend_is_the_releases_fault() {
    for (error, _, code) in table() {
        let expected = match &error {
            Error::Status { status, .. } => matches!(status, 404 | 410),
            _ => ["DigestMismatch", "DigestConflict", "Shrunk", "NameRefused"].contains(&code),
        };
        assert_eq!(is_of_the_release(&error), expected, "{code}: {error}");
    }
    let of_the_release: Vec<u16> = (400..=599).filter(|code| is_of_the_release(&status(*code))).collect();
    assert_eq!(of_the_release, [404, 410]);
}

#[test]
fn a_class_is_read_back_from_its_own_name() {
    assert_eq!([Transient, Permanent].map(|class| Class::named(class.name())), [Some(Transient), Some(Permanent)]);
    assert_eq!(Class::named("permanently"), None);
}

#[test]
fn a_disk_a_ledger_and_another_process_are_of_this_machine_and_a_connection_and_a_digest_are_not() {
    let path = || "/films/film.mkv.part".to_owned();
    let here = [
        Error::DiskFull { path: path(), source: None },
        Error::Ledger { what: "writing".to_owned(), source: None },
        Error::PartLocked { path: path(), pid: None, lock_file: None },
    ];
    assert!(here.iter().all(|error| is_of_this_machine(&error.code())));
    let elsewhere =
        [Error::Network { what: "connecting".to_owned(), source: None }, Error::Shrunk { bytes: 1, held: 2 }];
    assert!(!elsewhere.iter().any(|error| is_of_this_machine(&error.code())));
}
