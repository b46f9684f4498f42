//! Keys and sessions under pressure: guesses, logins without end, another key.

use crate::support::{Bench, How, KEY, Reply};
use regrip::server::Keys;

fn log_in(bench: &Bench, key: &str, program: &str) -> Reply {
    let headers = format!("Content-Type: application/json\r\nUser-Agent: {program}\r\n");
    let body = serde_json::json!({ "key": key }).to_string();
    bench.with("POST", "/api/session", &headers, &body)
}

/// The header with the cookie of a session.
fn session(reply: &Reply) -> String {
    assert_eq!(reply.status, 204, "{}", reply.head);
    let cookie = reply.header("set-cookie").unwrap();
    format!("Cookie: {}\r\n", cookie.split(';').next().unwrap())
}

fn status(bench: &Bench, headers: &str) -> u16 {
    bench.with("GET", "/api/downloads", headers, "").status
}

#[test]
fn guesses_are_limited_and_a_right_key_from_the_same_address_is_served() {
    let bench = Bench::new();
    let mut client = bench.connect();
    let mut ask = |key: &str| client.ask("GET", "/api/downloads", &format!("X-Api-Key: {key}\r\n"), "");
    let replies: Vec<_> = (0..200).map(|number| ask(&format!("guess-{number}"))).collect();
    assert_eq!(replies[0].status, 401);
    let refused: Vec<_> = replies.iter().filter(|reply| reply.status == 429).collect();
    assert!(refused.len() > 100, "{}", refused.len());
    assert_eq!(refused[0].code(), "TooManyWrongKeys");
    let wait: u64 = refused[0].header("retry-after").unwrap().parse().unwrap();
    assert!(wait > 0);
    assert_eq!(ask(KEY).status, 200);
    session(&log_in(&bench, KEY, "browser"));
    // Whoever brings no key guesses nothing.
    assert_eq!(bench.with("GET", "/api/downloads", "", "").status, 401);
}

#[test]
fn guesses_at_the_login_are_limited_and_a_session_goes_on() {
    let bench = Bench::new();
    let person = session(&log_in(&bench, KEY, "browser"));
    let replies: Vec<_> = (0..100).map(|number| log_in(&bench, &format!("guess-{number}"), "script")).collect();
    assert_eq!(replies[0].status, 401);
    let last = replies.last().unwrap();
    assert_eq!((last.status, last.code().as_str()), (429, "TooManyWrongKeys"));
    assert!(last.header("retry-after").is_some());
    assert_eq!(status(&bench, &person), 200);
    session(&log_in(&bench, KEY, "browser"));
}

#[test]
fn guesses_at_shared_folders_are_limited() {
    let bench = Bench::how(How { shared_with: Some("the-key-of-a-friend"), ..How::default() });
    let ask = |key: &str| bench.with("GET", "/handshake", &format!("X-Api-Key: {key}\r\n"), "");
    let replies: Vec<_> = (0..100).map(|number| ask(&format!("guess-{number}"))).collect();
    assert_eq!((replies[0].status, replies[99].status), (401, 429));
    assert_eq!(ask("the-key-of-a-friend").status, 200);
}

#[test]
fn many_logins_of_a_script_do_not_end_a_persons_session() {
    let bench = Bench::new();
    let person = session(&log_in(&bench, KEY, "browser"));
    assert_eq!(status(&bench, &person), 200);
    for _ in 0..150 {
        let script = session(&log_in(&bench, KEY, "script"));
        assert_eq!(status(&bench, &script), 200);
    }
    assert_eq!(status(&bench, &person), 200);
}

#[test]
fn another_key_ends_the_sessions_and_event_streams_of_the_one_before() {
    let bench = Bench::new();
    let before = session(&log_in(&bench, KEY, "browser"));
    let mut events = bench.connect();
    events.write(&format!("GET /api/events HTTP/1.1\r\nHost: localhost\r\n{before}\r\n"));
    events.through(": regrip\n\n").unwrap();
    bench.keys.replace(Some(Keys::new(["another-key"]).unwrap()));
    assert_eq!(status(&bench, &before), 401);
    assert_eq!(status(&bench, &bench.credentials()), 401);
    // The stream ends at once, whether anything happens or not.
    let rest = events.through("0\r\n\r\n").unwrap();
    assert!(!rest.contains(':'), "{rest}");
    let after = session(&log_in(&bench, "another-key", "browser"));
    assert_eq!(status(&bench, &after), 200);
    // The first key is in force again, its sessions are not.
    bench.keys.replace(Some(Keys::new([KEY]).unwrap()));
    assert_eq!(status(&bench, &before), 401);
}

#[test]
fn without_a_key_what_a_proxy_forwarded_is_refused_and_says_what_to_do() {
    let bench = Bench::how(How { key: None, ..How::default() });
    for field in [
        "X-Forwarded-For: 192.0.2.1",
        "X-Forwarded-Host: localhost",
        "X-Real-IP: 192.0.2.1",
        "Forwarded: for=192.0.2.1",
        "Via: 1.1 proxy",
    ] {
        for path in ["/api/downloads", "/"] {
            let headers = format!("Host: localhost\r\n{field}\r\n");
            let reply = bench.with("GET", path, &headers, "");
            assert_eq!((reply.status, reply.code().as_str()), (403, "Forbidden"));
            assert!(reply.text().contains("configure a key"), "{}", reply.text());
        }
    }
    assert_eq!(status(&bench, ""), 200);
}
