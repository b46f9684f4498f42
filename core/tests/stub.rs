//! Stubs: what is read, what is refused (X01, X09), and that nothing makes the reader panic.

use regrip_core::stub::{LARGEST_BYTES, StubRefused};
use regrip_core::{PeerId, Stub};

const HEAD: &str = "d7:comment21:jack:1a2b3c4d:film:42";

fn read(text: &str) -> Result<Stub, StubRefused> {
    Stub::read(text.as_bytes())
}

fn why(bytes: &[u8]) -> String {
    match Stub::read(bytes) {
        Ok(stub) => panic!("{stub:?} was read"),
        Err(refused) => refused.to_string(),
    }
}

/// A stub with this comment and this `info`.
fn with(comment: &str, info: &str) -> String {
    format!("d7:comment{}:{comment}4:info{info}e", comment.len())
}

const INFO: &str = "d6:lengthi5e4:name4:Filme";

// S40
#[test]
fn a_comment_names_peer_and_item_and_only_its_first_colons_separate() {
    let table = [
        ("jack:1a2b3c4d:42", "1a2b3c4d", "42"),
        ("regrip:1a2b3c4d:42", "1a2b3c4d", "42"),
        ("jack:1A2B3C4D:42", "1a2b3c4d", "42"),
        ("jack:00000000:tmdb:603:4k", "00000000", "tmdb:603:4k"),
        ("jack:1a2b3c4d::", "1a2b3c4d", ":"),
        ("jack:1a2b3c4d:../../x?y#z", "1a2b3c4d", "../../x?y#z"),
        ("jack:1a2b3c4d:é ", "1a2b3c4d", "é "),
    ];
    for (comment, peer, item) in table {
        let stub = read(&with(comment, INFO)).expect(comment);
        assert_eq!((stub.peer.as_str(), stub.item.as_str()), (peer, item));
        assert_eq!((stub.name.as_str(), stub.length), ("Film", 5));
    }
}

#[test]
fn what_a_torrent_has_besides_is_passed_over() {
    let torrent = "d8:announce9:http://a/13:announce-listll9:http://a/ee7:comment17:jack:1a2b3c4d:4:x\
        4:infod6:lengthi9223372036854775807e4:name1:n12:piece lengthi16384e6:pieces4:\u{0}\u{1}\u{2}\u{3}\
        7:privatei-1eee";
    let stub = read(torrent).expect("it is one");
    assert_eq!((stub.item.as_str(), stub.length), ("4:x", i64::MAX as u64));
    let unsorted = format!("d4:info{INFO}7:comment16:jack:1a2b3c4d:42e");
    assert_eq!(read(&unsorted).expect("it is one").item, "42");
}

// X09
#[test]
fn a_foreign_torrent_is_told_from_a_stub() {
    let long = "x".repeat(1025);
    let table = [
        ("de".to_owned(), "no comment"),
        (format!("d4:info{INFO}e"), "no comment"),
        ("d7:commenti5ee".to_owned(), "no comment"),
        ("le".to_owned(), "no comment"),
        ("i5e".to_owned(), "no comment"),
        ("0:".to_owned(), "no comment"),
        (with("made by hand", INFO), "is not jack:"),
        (with("jack:1a2b3c4d", INFO), "is not jack:"),
        (with("jack:1a2b3c:42", INFO), "is not jack:"),
        (with("jack:1a2b3c4g:42", INFO), "is not jack:"),
        (with("jack:1a2b3c4d5:42", INFO), "is not jack:"),
        (with("jill:1a2b3c4d:42", INFO), "is not jack:"),
        (with(" jack:1a2b3c4d:42", INFO), "is not jack:"),
        (with("jack:1a2b3c4d:", INFO), "item id is empty"),
        (with(&format!("jack:1a2b3c4d:{long}"), INFO), "item id is longer"),
        (with("jack:1a2b3c4d:4\r\nX-Api-Key: 2", INFO), "item id has control characters"),
        (with("jack:1a2b3c4d:\u{0}", INFO), "item id has control characters"),
        (format!("{HEAD}e"), "no info"),
        (with("jack:1a2b3c4d:42", "le"), "no name"),
        (with("jack:1a2b3c4d:42", "d6:lengthi5ee"), "no name"),
        (with("jack:1a2b3c4d:42", "d4:namei5ee"), "no name"),
        (with("jack:1a2b3c4d:42", "d4:name1:xe"), "no length"),
        (with("jack:1a2b3c4d:42", "d6:length1:54:name1:xe"), "no length"),
        (with("jack:1a2b3c4d:42", "d6:lengthi-5e4:name1:xe"), "no length"),
        (with("jack:1a2b3c4d:42", "d6:lengthi5e4:name0:e"), "name is empty"),
        (with("jack:1a2b3c4d:42", "d6:lengthi5e4:name1:\u{1b}e"), "name has control"),
    ];
    for (text, expected) in table {
        let refused = read(&text).expect_err(&text);
        assert!(matches!(refused, StubRefused::Foreign(_)), "{text}");
        assert!(refused.to_string().contains(expected), "{text}: {refused}");
    }
}

// X01
#[test]
fn what_is_no_bencode_is_refused_where_it_goes_wrong() {
    let deep_lists = [b"l".repeat(40_000), b"e".repeat(20_000)].concat();
    let deep_keys = b"d1:a".repeat(16_000);
    let table: [(&[u8], &str); 27] = [
        (b"", "the end where a value was due, at byte 0"),
        (b"\xff\xfe", "no value begins like this, at byte 0"),
        (b"hello", "no value begins like this, at byte 0"),
        (b"d", "no digit where one was due, at byte 1"),
        (b"l", "the end where a value was due, at byte 1"),
        (b"d7:comment21:jack:1a", "a string longer than its file"),
        (b"d7:commente", "no value begins like this, at byte 10"),
        (b"di5ei5ee", "no digit where one was due, at byte 1"),
        (b"d1:ai1e1:ai2ee", "a key that came before, at byte 7"),
        (b"dede", "bytes after the end, at byte 2"),
        (b"de\n", "bytes after the end, at byte 2"),
        (b"i5", "no end after a number, at byte 2"),
        (b"ie", "no digit where one was due, at byte 1"),
        (b"i-e", "no digit where one was due, at byte 2"),
        (b"i-0e", "a minus before nothing, at byte 2"),
        (b"i05e", "a leading zero, at byte 1"),
        (b"i 5e", "no digit where one was due, at byte 1"),
        (b"i+5e", "no digit where one was due, at byte 1"),
        (b"i9223372036854775808e", "a number too large"),
        (b"i99999999999999999999999e", "a number too large"),
        (b"05:hello", "a leading zero, at byte 0"),
        (b"5hello", "no colon after a length, at byte 1"),
        (b"-5:hello", "no value begins like this, at byte 0"),
        (b"18446744073709551615:x", "a string longer than its file"),
        (b"99999999999999999999:x", "a number too large"),
        (&deep_lists, "nested too deep, at byte 16"),
        (&deep_keys, "nested too deep, at byte 64"),
    ];
    for (bytes, expected) in table {
        let told = why(bytes);
        let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(40)]);
        assert!(told.contains("no bencode"), "{shown}: {told}");
        assert!(told.contains(expected), "{shown}: {told}");
    }
}

// X01
#[test]
fn text_that_is_not_utf8_is_no_text() {
    let comment = b"d7:comment4:\xff\xff\xff\xffe";
    assert!(why(comment).contains("no comment"));
    let name = b"d7:comment16:jack:1a2b3c4d:424:infod6:lengthi5e4:name2:\xc3\x28ee";
    assert!(why(name).contains("no name"));
}

// X01
#[test]
fn a_stub_is_at_most_64_kib() {
    let padded = |length: usize| {
        let around = with("jack:1a2b3c4d:42", INFO).len() + "4:xxxx00000:".len();
        let padding = "x".repeat(length - around);
        let text = format!("d7:comment16:jack:1a2b3c4d:424:info{INFO}4:xxxx{:05}:{padding}e", padding.len());
        assert_eq!(text.len(), length);
        text
    };
    assert_eq!(read(&padded(LARGEST_BYTES)).map(|stub| stub.length), Ok(5));
    let above = read(&padded(LARGEST_BYTES + 1));
    assert_eq!(above, Err(StubRefused::TooLarge));
}

#[test]
fn what_is_written_is_read_back() {
    let peer = PeerId::new("1A2b3c4D").expect("eight digits");
    for (item, name, length) in
        [("42", "Film", 0), ("a:b::c", "Film (1999) é.mkv", u64::MAX / 2), ("/../%2f", &"n".repeat(1024), 1)]
    {
        let stub = Stub::new(peer.clone(), item, name, length).expect("it can be one");
        assert_eq!(Stub::read(&stub.write()), Ok(stub));
    }
    assert!(Stub::new(peer.clone(), "42", "Film", u64::MAX).is_err());
    assert!(Stub::new(peer, "", "Film", 1).is_err());
}

#[test]
fn a_stub_is_a_torrent_whose_info_differs_with_the_item() {
    let peer = PeerId::new("1a2b3c4d").expect("eight digits");
    for (length, piece, pieces) in [
        (0, 16 << 10, 1),
        (1, 16 << 10, 1),
        ((16 << 10) + 1, 16 << 10, 2),
        (60_000_000_000, 1 << 30, 56),
        (i64::MAX as u64, 1 << 30, 2048),
    ] {
        let stub = Stub::new(peer.clone(), "42", "Film.mkv", length).expect("it can be one");
        let hashes = "\0".repeat(20 * pieces);
        let info = format!(
            "d6:lengthi{length}e4:name8:Film.mkv12:piece lengthi{piece}e6:pieces{}:{hashes}6:source18:regrip:1a2b3c4d:42e",
            hashes.len()
        );
        assert_eq!(String::from_utf8(stub.info()), Ok(info.clone()), "{length}");
        assert!(stub.write().ends_with(format!("4:info{info}e").as_bytes()) && stub.write().len() < LARGEST_BYTES);
        let other = Stub::new(peer.clone(), "43", "Film.mkv", length).expect("it can be one");
        assert_ne!(stub.info(), other.info());
    }
}

#[test]
fn no_bytes_make_the_reader_panic() {
    let mut random = fastrand::Rng::with_seed(40);
    let stub = with("jack:1a2b3c4d:film:42", INFO).into_bytes();
    for _ in 0..200_000 {
        // Bytes that bencode is made of, and now and then any other.
        let length = random.usize(..64);
        let noise: Vec<u8> = (0..length)
            .map(|_| match random.u8(..8) {
                0 => random.u8(..),
                _ => *random.choice(b"dlie0123456789:-").expect("it is not empty"),
            })
            .collect();
        let _ = Stub::read(&noise);
        // A good stub with a few bytes changed, cut or doubled.
        let mut bent = stub.clone();
        for _ in 0..random.usize(1..4) {
            let at = random.usize(..bent.len());
            match random.u8(..3) {
                0 => bent[at] = random.u8(..),
                1 => bent.truncate(at.max(1)),
                _ => bent.insert(at, random.u8(..)),
            }
        }
        if let Ok(read) = Stub::read(&bent) {
            assert_eq!(Stub::read(&read.write()), Ok(read));
        }
    }
}

#[test]
fn the_info_of_a_stub_is_found_as_its_bytes_are() {
    let stub = with("jack:1a2b3c4d:42", INFO);
    assert_eq!(Stub::info_of(stub.as_bytes()), Some(INFO.as_bytes()));
    for without in ["de", "d4:infe", "d3:fooi1ee", "l4:infoi1ee", "4:info", "", "d4:infoi1"] {
        assert_eq!(Stub::info_of(without.as_bytes()), None, "{without:?}");
    }
    assert_eq!(Stub::info_of(b"d1:ai5e4:infoi1ee"), Some(b"i1e".as_slice()));
}
