//! Pausing the downloads of a server, and its hooks.

use crate::house::{House, wait_until};
use crate::peer::Peer;
use serde_json::json;
use std::fs::read_to_string;

fn id(house: &House) -> i64 {
    house.rows()[0]["id"].as_i64().expect("a number")
}

#[test]
fn a_paused_download_of_a_stub_stays_paused_over_a_kill_and_its_stub_stays_claimed() {
    let peer = Peer::new();
    let film = peer.film(1, 2_000_000);
    peer.rate(500_000);
    let house = House::with(&[&peer]);
    let served = house.start();
    house.drop_stub("Film.torrent", &peer, 1);
    wait_until("bytes come", || house.part_bytes("Film 1.mkv") > 0);
    let path = format!("/api/downloads/{}", id(&house));
    let (status, body) = served.ask("POST", &format!("{path}/pause"));
    assert!(status == 200 && body.contains(r#""status":"paused""#), "{status} {body}");
    let kept = house.part_bytes("Film 1.mkv");
    assert_eq!(served.ask("POST", &format!("{path}/pause")).0, 409);
    assert_eq!(served.ask("POST", &format!("{path}/retry")).0, 409);
    assert!(house.has_stub("Film.torrent"));
    served.kill();

    let asked = peer.asked().len();
    let served = house.start();
    // Another stub is taken meanwhile: the folder was looked at.
    let other = peer.film(2, 1000);
    house.drop_stub("Other.torrent", &peer, 2);
    house.wait_for_file("Film 2.mkv", other);
    house.wait_for_rows(&[("Film 1.mkv", "paused"), ("Film 2.mkv", "completed")]);
    assert!(house.has_stub("Film.torrent"));
    assert_eq!(house.part_bytes("Film 1.mkv"), kept);
    assert!(peer.asked()[asked..].iter().all(|path| !path.contains("/1")), "{:?}", peer.asked());

    peer.rate(50_000_000);
    assert_eq!(served.ask("POST", &format!("{path}/resume")).0, 200);
    house.wait_for_file("Film 1.mkv", film);
    wait_until("the stub is gone", || !house.has_stub("Film.torrent"));
    assert_eq!(served.ask("POST", &format!("{path}/resume")).0, 409);
    served.stop();
}

#[test]
fn a_paused_download_of_a_stub_that_is_cancelled_or_removed_gives_its_stub_up() {
    for (method, end) in [("POST", "/cancel"), ("DELETE", "")] {
        let peer = Peer::new();
        peer.film(1, 2_000_000);
        peer.rate(500_000);
        let house = House::with(&[&peer]);
        let served = house.start();
        house.drop_stub("Film.torrent", &peer, 1);
        wait_until("bytes come", || house.part_bytes("Film 1.mkv") > 0);
        let path = format!("/api/downloads/{}", id(&house));
        assert_eq!(served.ask("POST", &format!("{path}/pause")).0, 200);
        let (status, body) = served.ask(method, &format!("{path}{end}"));
        assert!(status == 200 || status == 204, "{status} {body}");
        wait_until("the stub is moved", || house.path("watch/failed/Film.torrent").exists());
        served.stop();
    }
}

#[test]
fn the_hooks_run_once_for_each_end_without_the_secrets_of_the_server_and_are_read_again() {
    let peer = Peer::new();
    peer.film(1, 1000);
    let mut house = House::with(&[&peer]);
    let note = |name: &str| {
        format!(
            r#"echo "{name} $REGRIP_STATUS $(basename "$REGRIP_PATH") $REGRIP_ID ${{PEER_KEY-unset}}" >> "{}"; echo done; exit 3"#,
            house.path("notes").display()
        )
    };
    let (first, second, fail) = (note("first"), note("second"), note("fail"));
    house.config["peers"][0]["apiKey"] = json!({ "env": "PEER_KEY" });
    house.config["hooks"] = json!({ "onComplete": first, "onFail": fail });
    house.write_config();
    let served = house.run(house.command().env("PEER_KEY", crate::peer::KEY));
    served.log.wait_for("watching for stubs");
    house.drop_stub("1.torrent", &peer, 1);
    served.log.wait_for("hooks.onComplete failed");
    assert!(served.log.text().contains("it ended with exit code 3"), "{}", served.log.text());
    assert_eq!(served.log.count(r#"output of hooks.onComplete"#), 1, "{}", served.log.text());

    house.config["hooks"]["onComplete"] = json!(second);
    house.write_config();
    served.signal("HUP");
    served.log.wait_for("configuration reloaded");
    peer.film(2, 1000);
    house.drop_stub("2.torrent", &peer, 2);
    wait_until("it ran", || served.log.count("hooks.onComplete failed") == 2);
    let gone = json!({ "url": format!("{}/nothing", peer.url()) });
    let (status, body) = served.post("/api/downloads", "", &gone.to_string());
    assert_eq!(status, 201, "{body}");
    served.log.wait_for("hooks.onFail failed");
    let notes = read_to_string(house.path("notes")).expect("they ran");
    let expected =
        "first completed Film 1.mkv 1 unset\nsecond completed Film 2.mkv 2 unset\nfail failed nothing 3 unset\n";
    assert_eq!(notes, expected);
    served.stop();
}

#[test]
fn a_hook_that_hangs_does_not_hold_up_the_end() {
    let peer = Peer::new();
    peer.film(1, 1000);
    let mut house = House::with(&[&peer]);
    house.config["hooks"] = json!({ "onComplete": "trap '' TERM; echo hangs; while true; do sleep 1; done" });
    let served = house.start();
    house.drop_stub("1.torrent", &peer, 1);
    served.log.wait_for("hangs");
    served.signal("TERM");
    let mut served = served;
    assert_eq!(served.ended().code(), Some(0), "{}", served.log.text());
    let log = served.log.text();
    assert!(log.contains("regrip is ending") && !log.contains("did not finish in time"), "{log}");
}
