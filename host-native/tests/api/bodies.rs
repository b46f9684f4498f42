//! What a request may bring, and what of it is refused.

use crate::support::{Bench, How};

#[test]
fn what_is_no_wish_for_a_download_is_refused_and_says_why() {
    let bench = Bench::new();
    let long = format!(r#"{{"url":"http://host/a","filename":"{}"}}"#, "x".repeat(300));
    let table = [
        ("", 400, "BadRequest", None),
        ("{", 400, "BadRequest", None),
        ("[]", 400, "BadRequest", None),
        ("{}", 400, "BadRequest", None),
        (r#"{"url":1}"#, 400, "BadRequest", None),
        (r#"{"url":"http://host/a","more":1}"#, 400, "BadRequest", None),
        (r#"{"url":"http://host/a","url":"http://host/b"}"#, 400, "BadRequest", None),
        (r#"{"url":"host/a"}"#, 400, "BadUrl", Some("url")),
        (r#"{"url":"file:///etc/passwd"}"#, 400, "BadUrl", Some("url")),
        (r#"{"url":"ftp://host/a"}"#, 400, "BadUrl", Some("url")),
        (r#"{"url":"http://"}"#, 400, "BadUrl", Some("url")),
        (r#"{"url":"http://me:secret@host/a"}"#, 400, "CredentialsRefused", Some("url")),
        (r#"{"url":"http://host/"}"#, 400, "NameRefused", Some("filename")),
        (r#"{"url":"http://host/%2e%2e%2fx"}"#, 400, "NameRefused", Some("filename")),
        (r#"{"url":"http://host/a","filename":"../a"}"#, 400, "NameRefused", Some("filename")),
        (r#"{"url":"http://host/a","filename":"/etc/passwd"}"#, 400, "NameRefused", Some("filename")),
        (r#"{"url":"http://host/a","filename":"a\u0000b"}"#, 400, "NameRefused", Some("filename")),
        (r#"{"url":"http://host/a","filename":"CON"}"#, 400, "NameRefused", Some("filename")),
        (r#"{"url":"http://host/a","filename":"a.part"}"#, 400, "NameRefused", Some("filename")),
        (r#"{"url":"http://host/a","filename":""}"#, 400, "NameRefused", Some("filename")),
        (long.as_str(), 400, "NameRefused", Some("filename")),
        (r#"{"url":"http://host/a","sha256":"12"}"#, 400, "BadDigest", Some("sha256")),
        (r#"{"url":"http://host/a","checksum":"md5:12"}"#, 400, "BadDigest", Some("checksum")),
        (r#"{"url":"http://host/a","digests":["crc32:00112233"]}"#, 400, "BadDigest", Some("checksum")),
    ];
    for (body, status, code, field) in table {
        let reply = bench.post("/api/downloads", body);
        assert_eq!((reply.status, reply.code().as_str()), (status, code), "{body}");
        let json = reply.json();
        assert_eq!(json["error"]["field"].as_str(), field, "{body}");
        assert!(!reply.text().contains("secret"), "{}", reply.text());
    }
    let list = bench.json("/api/downloads");
    assert_eq!(list["downloads"].as_array().unwrap().len(), 0);
    assert_eq!(std::fs::read_dir(bench.file("")).unwrap().count(), 0);
}

#[test]
fn a_body_beyond_the_limit_is_not_read() {
    let bench = Bench::new();
    let body = format!(r#"{{"url":"http://host/{}"}}"#, "x".repeat(70_000));
    let reply = bench.post("/api/downloads", &body);
    assert_eq!((reply.status, reply.code().as_str()), (413, "TooLarge"));

    // The connection goes on after one that is only a little too long.
    let mut client = bench.connect();
    let headers = format!("{}Content-Type: application/json\r\n", bench.credentials());
    let long = " ".repeat(900_000);
    let reply = client.ask("POST", "/api/downloads", &headers, &long);
    assert_eq!((reply.status, reply.code().as_str()), (413, "TooLarge"));
    assert_eq!(client.ask("GET", "/api/peers", &headers, "").status, 200);

    // One that says nothing of its length, and has no end.
    let mut client = bench.connect();
    let credentials = bench.credentials();
    client.write(&format!(
        "POST /api/downloads HTTP/1.1\r\nHost: localhost\r\n{credentials}\
         Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    ));
    // Just more than is skipped: what is sent after the answer would take the answer away.
    for _ in 0..65 {
        client.write(&format!("4000\r\n{}\r\n", " ".repeat(0x4000)));
    }
    let reply = client.whole_reply(false);
    assert_eq!((reply.status, reply.code().as_str()), (413, "TooLarge"));

    // One that is only announced.
    let mut client = bench.connect();
    let headers = format!("{credentials}Content-Type: application/json\r\nContent-Length: 99999999999\r\n");
    let reply = client.ask("POST", "/api/session", &headers, "");
    assert_eq!(reply.status, 413);
    assert!(client.is_closed());
}

#[test]
fn json_may_say_its_charset() {
    let bench = Bench::new();
    let headers = format!("{}Content-Type: Application/JSON; charset=utf-8\r\n", bench.credentials());
    assert_eq!(bench.with("POST", "/api/downloads", &headers, "{}").status, 400);
}

#[test]
fn a_server_without_a_downloads_block_adds_and_retries_nothing() {
    let bench = Bench::how(How { downloads: false, ..How::default() });
    let reply = bench.post("/api/downloads", r#"{"url":"http://host/a"}"#);
    assert_eq!((reply.status, reply.code().as_str()), (409, "NoDownloads"));
    assert_eq!(bench.json("/api/downloads")["next"], serde_json::Value::Null);
}
