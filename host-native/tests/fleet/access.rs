//! Sessions: one that was begun at one worker opens every one, as behind a load balancer.

use crate::house::Served;
use crate::support::{Fleet, KEY, Worker};
use std::io::{Read, Write};
use std::net::TcpStream;

/// The cookie that a login sets.
fn log_in(served: &Served, target: &str, kind: &str, body: &str) -> String {
    let address = served.address();
    let mut stream = TcpStream::connect(&address).expect("it listens");
    let length = body.len();
    let request = format!(
        "POST {target} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Type: {kind}\r\n\
         Content-Length: {length}\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes()).expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("answered");
    let lines = answer
        .lines()
        .find_map(|line| line.split_once(": ").filter(|(name, _)| name.eq_ignore_ascii_case("set-cookie")));
    let (_, cookie) = lines.unwrap_or_else(|| panic!("{answer}"));
    cookie.split(';').next().unwrap_or_default().to_owned()
}

fn status(worker: &Worker, method: &str, target: &str, cookie: &str) -> u16 {
    worker.served.exchange_body(method, target, &[("Cookie", cookie)], "").0
}

#[test]
fn a_session_of_one_worker_opens_every_one() {
    let fleet = Fleet::new(0, 0);
    let (first, second) = (fleet.worker(), fleet.worker());
    let mut house = fleet.house(&fleet.schema.url());
    house.config["regrip"]["apiKey"] = "another".into();
    let stranger = Worker::start(house);
    let json = format!(r#"{{"key":"{KEY}"}}"#);
    let form = format!("username=radarr&password={KEY}");
    let of_page = log_in(&first.served, "/api/session", "application/json", &json);
    let of_client = log_in(&first.served, "/api/v2/auth/login", "application/x-www-form-urlencoded", &form);
    for (cookie, target, refused) in [(&of_page, "/api/downloads", 401), (&of_client, "/api/v2/app/version", 403)] {
        assert_eq!(status(&first, "GET", target, cookie), 200, "{target}");
        assert_eq!(status(&second, "GET", target, cookie), 200, "{target}");
        assert_eq!(status(&stranger, "GET", target, cookie), refused, "{target}");
        let (start, end) = cookie.split_at(cookie.len() / 2);
        let forged = format!("{start}{}{}", if end.starts_with('0') { '1' } else { '0' }, &end[1..]);
        assert_eq!(status(&second, "GET", target, &forged), refused, "{target}");
    }
    assert_eq!(status(&second, "DELETE", "/api/session", &of_page), 204);
    assert_eq!(status(&second, "GET", "/api/downloads", &of_page), 401);
    assert_eq!(status(&second, "POST", "/api/v2/auth/logout", &of_client), 200);
    assert_eq!(status(&second, "GET", "/api/v2/app/version", &of_client), 403);
}
