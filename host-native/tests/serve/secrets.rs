//! A secret in the wrong place of the configuration is neither logged nor answered nor kept.

use crate::house::{House, wait_until};
use crate::peer::Peer;
use serde_json::{Value, json};

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
