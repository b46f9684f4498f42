//! The serialised form of a row, for ledgers that keep it as a whole.

use regrip_core::bounds::Bounds;
use regrip_core::record::{
    Behaviour, DigestRow, DigestSource, Failure, KnownSize, SizeSource, Source, Validators, Waiting,
};
use regrip_core::store::{Committing, DigestState, PartToken};
use regrip_core::testing::new_download;
use regrip_core::{Algorithm, Class, ErrorCode, Row, Status};
use std::time::{Duration, SystemTime};

#[test]
fn a_row_is_read_back_from_json_as_it_was_written() {
    let text = |text: &str| Some(text.to_owned());
    let mut new = new_download("http://h/film.mkv", "/films/film.mkv");
    new.source = Source::Peer {
        peer_id: "0123abcd".to_owned(),
        peer_name: "Anna".to_owned(),
        item_id: "7".to_owned(),
        url: "http://peer.example/7".to_owned(),
    };
    new.release_size = Some(u64::MAX);
    let full = Row {
        claimed: true,
        status: Status::Waiting,
        waiting: Some(Waiting {
            until: SystemTime::UNIX_EPOCH + Duration::new(1_800_000_000, 123_456_789),
            why: "the peer cannot be reached".to_owned(),
        }),
        validators: Validators {
            etag: text("\"v1\""),
            last_modified: text("Mon, 23 Nov 2026 15:00:00 GMT"),
            last_modified_strong: true,
            content_type: text("video/mp4"),
        },
        behaviour: Behaviour { ignores_if_range: true, refuses_ranges: true, shrunk: text("7 a b") },
        size: Some(KnownSize {
            bytes: 9_007_199_254_740_993, // more than a double holds
            source: SizeSource::ContentRange,
        }),
        mismatch: true,
        downloaded: 3,
        durable: 2,
        epoch: text("a boot"),
        responses: 4,
        digests: vec![
            DigestRow {
                state: Some(DigestState { offset: 2, state: vec![0, 255] }),
                got: text("aa"),
                ..DigestRow::asked(Algorithm::Md5)
            },
            DigestRow { source: DigestSource::ReprDigest, wanted: text("00ff"), ..DigestRow::asked(Algorithm::Sha512) },
        ],
        digest_restarted: true,
        attempts: 5,
        restarts: 6,
        bounds: Bounds { in_a_row: 7, in_all: 8, restarts: 9, furthest: 10 },
        committing: Some(Committing { token: PartToken("1:2".to_owned()), size: 11 }),
        failure: Some(Failure {
            class: Class::Permanent,
            code: ErrorCode::Other("FromTheFuture".into()),
            text: "a reason".to_owned(),
        }),
        ..Row::new(1, new)
    };
    for row in [full, Row::new(2, new_download("http://h/other.mkv", "/films/other.mkv"))] {
        let json = serde_json::to_string(&row).unwrap();
        assert_eq!(serde_json::from_str::<Row>(&json).unwrap(), row, "{json}");
    }
}

// L07
#[test]
fn every_error_code_is_read_back_from_json_as_itself() {
    for code in ErrorCode::ALL {
        let json = serde_json::to_string(code).unwrap();
        assert_eq!(json, format!("\"{code}\""));
        assert_eq!(serde_json::from_str::<ErrorCode>(&json).unwrap(), *code);
        // Text with an escape in it cannot be borrowed from the input.
        let escaped = json.replacen('e', "\\u0065", 1);
        assert_eq!(serde_json::from_str::<ErrorCode>(&escaped).unwrap(), *code);
    }
}
