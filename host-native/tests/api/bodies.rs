//! What a request may bring, and what of it is refused.

use crate::support::{Bench, Client, How, KEY, until};
use serde_json::Value;

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
    for body in [r#"["http://host/a",[],"name",null,null,false]"#, "[]", "1", "null", r#""http://host/a""#] {
        let reply = bench.post("/api/downloads", body);
        let message = reply.json()["error"]["message"].as_str().unwrap_or_default().to_owned();
        assert!(message.starts_with("the body is not as expected: expected a JSON object"), "{body}: {message}");
        let line = bench.post("/api/batch", &format!(r#"{{"downloads":[{body}]}}"#));
        assert_eq!((line.status, line.code().as_str()), (400, "BadRequest"), "{body}");
    }
    let list = bench.json("/api/downloads");
    assert_eq!(list["downloads"].as_array().unwrap().len(), 0);
    assert_eq!(bench.post("/api/session", &format!("[\"{KEY}\"]")).status, 400);
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

#[test]
fn a_batch_of_lines_is_added_as_it_is_received() {
    let bench = Bench::new();
    let mut client = bench.connect();
    let credentials = bench.credentials();
    let begin = |client: &mut Client, first: u32| {
        client.write(&format!(
            "POST /api/batch HTTP/1.1\r\nHost: localhost\r\n{credentials}\
             Content-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n"
        ));
        // More than are added at once, in chunks that end where lines do not.
        let lines: String =
            (first..first + 1100).map(|n| format!("{{\"url\":\"http://127.0.0.1:9/{n}\"}}\n")).collect();
        for chunk in lines.as_bytes().chunks(1000) {
            client.write(&format!("{:x}\r\n{}\r\n", chunk.len(), String::from_utf8_lossy(chunk)));
        }
    };
    let reach = |wanted: u64| {
        until(|| {
            let list = bench.json("/api/downloads?limit=1");
            let counts = list["counts"].as_object().unwrap().values().filter_map(Value::as_u64);
            (counts.sum::<u64>() >= wanted).then_some(())
        });
    };

    begin(&mut client, 0);
    reach(1000); // before the end was sent
    let rest = "\n{\"url\":\"http://127.0.0.1:9/1\"}\nno JSON\n{\"url\":\"ftp://host/a\"}";
    client.write(&format!("{:x}\r\n{rest}\r\n0\r\n\r\n", rest.len()));
    let reply = client.whole_reply(false);
    assert_eq!(reply.status, 200, "{}", reply.text());
    let result = reply.json();
    assert_eq!(
        (&result["added"], &result["known"], &result["refused"]),
        (&1100.into(), &1.into(), &2.into()),
        "{result}"
    );
    assert_eq!(
        (&result["errors"][0]["index"], &result["errors"][1]["index"]),
        (&1102.into(), &1103.into()),
        "{result}"
    );
    assert_eq!(result["errors"][1]["code"], "BadUrl");

    // One that breaks off: sending it again adds what is missing.
    begin(&mut client, 1100);
    reach(2100);
    drop(client);
    let mut client = bench.connect();
    begin(&mut client, 1100);
    client.write("0\r\n\r\n");
    let result = client.whole_reply(false).json();
    assert_eq!((&result["added"], &result["known"]), (&100.into(), &1000.into()), "{result}");
}
