//! A secret in the wrong place of the configuration is neither logged nor answered nor kept.

use crate::house::{House, Served, wait_until};
use crate::peer::Peer;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Whoever sees this text, whatever the case of its letters, has seen a secret.
const MARKER: &str = "hunter2marker";

fn assert_hidden(text: &str, about: &str) {
    assert!(!text.to_ascii_lowercase().contains(MARKER), "{about}: {text}");
}

#[test]
fn a_configuration_that_is_read_again_shows_no_secret() {
    let peer = Peer::new();
    let mut house = House::with(&[&peer]);
    let served = house.start();
    let good = house.config.clone();
    let places = [
        ("/peers/0/url", json!(format!("me:{MARKER}@nas"))),
        ("/peers/0/url", json!(format!("//me:{MARKER}@nas"))),
        ("/peers/0/url", json!(format!("http://me:{MARKER}@nas"))),
        ("/peers/0/apiKey", json!({ "env": MARKER })),
        ("/peers/0/apiKey", json!({ "file": format!("/{MARKER}") })),
        ("/peers/0/apiKey", json!([MARKER])),
        ("/regrip/listen", json!(MARKER)),
        ("/downloads/retryBaseDelayMs", json!(MARKER)),
    ];
    for (place, value) in places {
        house.config = good.clone();
        *house.config.pointer_mut(place).expect("it is there") = value;
        house.write_config();
        let before = served.log.text().len();
        served.signal("HUP");
        wait_until("it is logged", || served.log.text()[before..].contains("stays in force"));
        let troubles = served.get("/api/troubles").to_string();
        assert!(troubles.contains("found "), "{troubles}");
        assert_hidden(&troubles, place);
    }
    assert_hidden(&served.log.text(), "the log");
    served.stop();
}

/// An origin that gives its file to requests with two headers, and how many asked without them.
fn guarded() -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("http://{}/film.mkv", listener.local_addr().expect("an address"));
    let refused = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&refused);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let lines = BufReader::new(&stream).lines().map_while(Result::ok).take_while(|line| !line.is_empty());
            let head = lines.map(|line| line + "\n").collect::<String>().to_ascii_lowercase();
            let is_let_in = head.contains(&format!("authorization: bearer {MARKER}"))
                && head.contains(&format!("x-token: {MARKER}-of-a-file\n"));
            let (status, body) = match is_let_in {
                true => ("200 OK", "the film"),
                false => ("401 Unauthorized", ""),
            };
            counted.fetch_add(usize::from(!is_let_in), Ordering::Relaxed);
            let length = body.len();
            let answer = format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}");
            let _ = (&stream).write_all(answer.as_bytes());
        }
    });
    (url, refused)
}

#[test]
fn headers_of_a_download_are_sent_and_never_stored() {
    let (url, refused) = guarded();
    let mut house = House::with(&[]);
    house.config["regrip"]["apiKey"] = json!("right");
    std::fs::write(house.path("token"), format!("{MARKER}-of-a-file\n")).expect("written");
    let start = || {
        house.write_config();
        let served = house.run(house.command().env("FILM_TOKEN", format!("Bearer {MARKER}")));
        served.log.wait_for("watching for stubs");
        served
    };
    let served = start();
    let add = |served: &Served, more: Value| {
        let mut body = json!({
            "url": url, "filename": "film.mkv",
            "headers": { "Authorization": { "env": "FILM_TOKEN" }, "X-Token": { "file": house.path("token") } },
        });
        body.as_object_mut().expect("it is one").extend(more.as_object().expect("it is one").clone());
        let (status, answer) = served.post("/api/downloads", "right", &body.to_string());
        assert_hidden(&answer, "an answer");
        (status, serde_json::from_str::<Value>(&answer).expect("JSON"))
    };
    for headers in [
        json!({ "X-Token": { "env": MARKER } }),
        json!({ "X-Token": { "file": format!("/{MARKER}") } }),
        json!({ "X-Token": { "file": "token" } }),
        json!({ "X-Token": {} }),
        json!({ "X-Token": { "env": "FILM_TOKEN", "file": "/token" } }),
        json!({ "X-Token": [MARKER] }),
        json!({ "X-Token": MARKER, "x-token": "twice" }),
        json!({ "Range": MARKER }),
        json!({ MARKER: "a\nb" }),
        json!([MARKER]),
    ] {
        assert_eq!(add(&served, json!({ "headers": headers })).0, 400, "{headers}");
    }
    let (status, added) = add(&served, json!({ "paused": true }));
    assert_eq!((status, &added["header_names"]), (201, &json!(["authorization", "x-token"])));
    served.stop();

    // The next process has the names only.
    let served = start();
    let id = &added["id"];
    let (status, answer) = served.post(&format!("/api/downloads/{id}/resume"), "right", "");
    assert!(status == 409 && answer.contains("CredentialsMissing"), "{status}: {answer}");
    let (status, again) = add(&served, json!({}));
    assert_eq!((status, &again["id"]), (200, id));
    house.wait_for_rows(&[("film.mkv", "completed")]);
    assert_eq!(std::fs::read(house.path("completed/film.mkv")).expect("it is there"), b"the film");
    // Another file of the same URL does not get them once that is complete.
    let (status, _) = add(&served, json!({ "filename": "other.mkv", "headers": {} }));
    assert_eq!(status, 201);
    house.wait_for_rows(&[("film.mkv", "completed"), ("other.mkv", "failed")]);
    assert_eq!(refused.load(Ordering::Relaxed), 1);
    served.stop();
    for name in house.names("data") {
        if let Ok(bytes) = std::fs::read(house.path("data").join(&name)) {
            assert_hidden(&String::from_utf8_lossy(&bytes), &name);
        }
    }
}

#[test]
fn what_a_request_brings_in_the_wrong_place_is_not_repeated() {
    let mut house = House::with(&[]);
    house.config["regrip"]["apiKey"] = json!("right");
    let served = house.start();
    let bodies: [(&str, Value); 14] = [
        ("downloads", json!({ "url": MARKER })),
        ("downloads", json!({ "url": format!("me:{MARKER}@nas") })),
        ("downloads", json!({ "url": format!("//me:{MARKER}@nas/film") })),
        ("downloads", json!({ "url": format!("http://me:{MARKER}@nas/film") })),
        ("downloads", json!({ "url": format!("http://nas/?key={MARKER}") })),
        ("downloads", json!({ "url": [MARKER] })),
        ("downloads", json!({ "url": "http://nas/film", MARKER: 1 })),
        ("downloads", json!({ "url": "http://nas/film", "sha256": MARKER })),
        ("downloads", json!({ "url": "http://nas/film", "filename": format!("{MARKER}/") })),
        ("downloads", json!({ "url": "http://nas/film", "filename": { MARKER: MARKER } })),
        ("downloads", json!([MARKER])),
        ("downloads", json!(MARKER)),
        ("session", json!({ "key": MARKER })),
        ("session", json!({ MARKER: MARKER })),
    ];
    for (path, body) in &bodies {
        let (status, answer) = served.post(&format!("/api/{path}"), "right", &body.to_string());
        assert!([400, 401].contains(&status), "{body}: {status}");
        assert_hidden(&answer, &body.to_string());
    }
    for target in [
        format!("/api/downloads?status={MARKER}"),
        format!("/api/downloads?limit={MARKER}&after={MARKER}"),
        format!("/api/downloads/{MARKER}"),
        format!("/{MARKER}"),
    ] {
        let (_, answer) = served.ask_with(&target, &[("X-Api-Key", "right")]);
        assert_hidden(&answer, &target);
        let (_, answer) = served.ask_with(&target, &[("X-Api-Key", MARKER)]);
        assert_hidden(&answer, &target);
    }
    for path in ["/api/downloads", "/api/troubles", "/api/peers", "/metrics"] {
        assert_hidden(&served.ask_with(path, &[("X-Api-Key", "right")]).1, path);
    }
    let log = served.log.text();
    assert_hidden(&log, "the log");
    served.stop();
    for name in house.names("data").into_iter().filter(|name| house.path("data").join(name).is_file()) {
        let kept = std::fs::read(house.path("data").join(&name)).expect("read");
        assert_hidden(&String::from_utf8_lossy(&kept), &name);
    }
}
