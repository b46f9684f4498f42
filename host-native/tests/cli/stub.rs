//! `regrip stub create` and `inspect`.

use crate::support::Ran;
use std::path::Path;
use std::process::Command;

fn stub(folder: &Path, arguments: &[&str]) -> Ran {
    let mut command = Command::new(env!("CARGO_BIN_EXE_regrip"));
    command.current_dir(folder).arg("stub").args(arguments);
    Ran::of(command.output().expect("regrip runs"))
}

const FILM: [&str; 9] = [
    "create",
    "--peer",
    "http://peer.example:5225",
    "--item",
    "tmdb:603",
    "--name",
    "Film (1999)",
    "--length",
    "60000000000",
];

#[test]
fn what_is_created_can_be_inspected() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let ran = stub(folder.path(), &FILM);
    assert_eq!((ran.code, ran.out.as_str()), (Some(0), "Film (1999).torrent\n"), "{ran:?}");
    let ran = stub(folder.path(), &["inspect", "Film (1999).torrent"]);
    let expected = "peer    6a7d8929\nitem    tmdb:603\nname    Film (1999)\nlength  60000000000\n";
    assert_eq!((ran.code, ran.out.as_str()), (Some(0), expected), "{ran:?}");
}

#[test]
fn a_file_that_is_there_is_not_touched() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("mine.torrent");
    std::fs::write(&file, "mine").expect("a file");
    let ran = stub(folder.path(), &[&FILM[..], &["-o", "mine.torrent"]].concat());
    assert_eq!(ran.code, Some(3), "{ran:?}");
    assert!(ran.err.contains("cannot write mine.torrent"), "{}", ran.err);
    assert_eq!(std::fs::read(file).expect("there"), b"mine");
}

#[test]
fn what_cannot_be_a_stub_is_exit_2_and_writes_nothing() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let table = [
        (2, "peer.example", "not an http or https URL"),
        (2, "ftp://me:secret@peer.example/?key=secret", "--peer ftp://peer.example/ is not"),
        (4, "", "item id is empty"),
        (4, "4\r\n2", "item id has control characters"),
        (6, "a/b", "it has a path in it; name it by -o FILE"),
        (8, "9223372036854775808", "the length is too large"),
        (8, "-1", "--length"),
    ];
    for (at, value, message) in table {
        let mut arguments = FILM;
        arguments[at] = value;
        let ran = stub(folder.path(), &arguments);
        assert_eq!(ran.code, Some(2), "{value}: {ran:?}");
        assert!(ran.err.contains(message), "{value}: {}", ran.err);
        assert!(!ran.err.contains("secret"), "{}", ran.err);
    }
    let mut left = std::fs::read_dir(folder.path()).expect("the folder is there");
    assert!(left.next().is_none(), "something was written");
}

#[test]
fn a_file_that_is_no_stub_is_exit_1() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    std::fs::write(folder.path().join("large"), vec![b'd'; 100_000]).expect("a file");
    std::fs::write(folder.path().join("text"), "hello").expect("a file");
    for (file, code, message) in
        [("large", 1, "larger than 65536 bytes"), ("text", 1, "no bencode"), ("missing", 2, "cannot read missing")]
    {
        let ran = stub(folder.path(), &["inspect", file]);
        assert_eq!(ran.code, Some(code), "{file}: {ran:?}");
        assert!(ran.err.contains(message), "{file}: {}", ran.err);
    }
}
