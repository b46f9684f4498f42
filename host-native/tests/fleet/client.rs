//! The download client's API: what is done at one worker is seen and goes on at every one.

use crate::house::{House, stub, wait_until};
use crate::peer::Peer;
use crate::support::{Fleet, KEY, Worker, eventually};
use serde_json::Value;

impl Worker {
    /// Adds a stub as a file, in a category.
    fn add_stub(&self, stub: &[u8], category: &str) {
        let stub = std::str::from_utf8(stub).expect("these are");
        let body = format!(
            "--b\r\nContent-Disposition: form-data; name=\"category\"\r\n\r\n{category}\r\n--b\r\nContent-Disposition: \
             form-data; name=\"torrents\"; filename=\"a.torrent\"\r\n\r\n{stub}\r\n--b--\r\n"
        );
        let headers = [("Content-Type", "multipart/form-data; boundary=b"), ("X-Api-Key", KEY)];
        let added = self.served.exchange_body("POST", "/api/v2/torrents/add", &headers, &body);
        assert_eq!(added, (200, "Ok.".to_owned()));
    }

    /// Sends a form about all torrents.
    fn torrents(&self, method: &str, more: &str) {
        let headers = [("Content-Type", "application/x-www-form-urlencoded"), ("X-Api-Key", KEY)];
        let target = format!("/api/v2/torrents/{method}");
        let done = self.served.exchange_body("POST", &target, &headers, &format!("hashes=all{more}"));
        assert_eq!(done, (200, "Ok.".to_owned()));
    }

    fn torrent(&self) -> Value {
        self.get("/api/v2/torrents/info")[0].clone()
    }

    fn stubs(&self) -> Vec<String> {
        let names = self.house.names("data/client");
        names.into_iter().filter(|name| name.ends_with(".torrent")).collect()
    }
}

/// Two workers, of which the first is the home of a stub.
fn two(fleet: &Fleet, peer: &Peer) -> (Worker, Worker) {
    let house = || {
        let mut house: House = fleet.house(&fleet.schema.url());
        house.config["peers"] = House::with(&[peer]).config["peers"].take();
        house
    };
    (Worker::start(house()), Worker::start(house()))
}

fn wait_for_state(workers: &[&Worker], states: &[&str], says: &str) {
    for worker in workers {
        eventually(&format!("{states:?}, {says:?}"), || {
            let torrent = worker.torrent();
            let (state, comment) = (torrent["state"].as_str(), torrent["comment"].as_str());
            let is_so = states.iter().any(|wanted| state == Some(wanted));
            match is_so && comment.is_some_and(|comment| comment.contains(says)) {
                true => Ok(()),
                false => Err(torrent.to_string()),
            }
        });
    }
}

#[test]
fn a_torrent_is_shown_paused_and_deleted_at_any_worker() {
    let (fleet, peer) = (Fleet::new(0, 0), Peer::new().honest());
    peer.film(1, 4_000_000);
    peer.rate(300_000);
    let (first, second) = two(&fleet, &peer);
    first.add_stub(&stub(&peer, 1), "films");
    let hash = second.torrent()["hash"].as_str().expect("it is shown at once").to_owned();
    assert_eq!(second.get("/api/v2/torrents/categories")["films"]["name"], "films");
    second.get(&format!("/api/v2/torrents/properties?hash={hash}"));
    wait_for_state(&[&first, &second], &["downloading"], "");
    wait_until("bytes are there", || fleet.part_bytes("films/Film 1.mkv") > 300_000);
    second.torrents("pause", "");
    wait_for_state(&[&first, &second], &["stoppedDL"], "");
    first.torrents("resume", "");
    wait_for_state(&[&first, &second], &["downloading"], "");
    second.torrents("setCategory", "&category=");
    assert_eq!(first.torrent()["category"], "");
    second.torrents("delete", "&deleteFiles=true");
    assert_eq!((first.torrent(), second.torrent()), (Value::Null, Value::Null));
    assert_eq!(fleet.schema.execute("SELECT count(*) FROM downloads"), "0");
    assert_eq!(fleet.schema.execute("SELECT count(*) FROM client_records WHERE kind = 'torrent'"), "0");
    wait_until("the stub is gone", || first.stubs().is_empty());
    wait_until("the part is gone", || {
        let folder = std::fs::read_dir(fleet.path("films")).map(Iterator::count);
        folder.unwrap_or(0) == 0
    });
    first.served.stop();
    second.served.stop();
}

#[test]
fn a_stub_whose_peer_is_away_is_stopped_started_and_deleted_at_any_worker() {
    let (fleet, peer) = (Fleet::new(0, 0), Peer::new().honest());
    peer.film(1, 1000);
    peer.away(true);
    let (first, second) = two(&fleet, &peer);
    first.add_stub(&stub(&peer, 1), "");
    wait_for_state(&[&first, &second], &["queuedDL", "stalledDL"], "");
    second.torrents("stop", "");
    wait_for_state(&[&first, &second], &["stoppedDL"], "");
    wait_until("the first one has stopped", || first.stubs().is_empty());
    second.torrents("delete", "");
    assert_eq!((first.torrent(), second.torrent()), (Value::Null, Value::Null));
    wait_until("nothing is left of it", || first.house.names("data/client").is_empty());
    first.add_stub(&stub(&peer, 1), "");
    second.torrents("stop", "");
    wait_until("the first one has stopped", || first.stubs().is_empty());
    peer.away(false);
    second.torrents("start", "");
    wait_for_state(&[&first, &second], &["stoppedUP"], "");
}

#[test]
fn a_stub_that_failed_says_why_at_every_worker() {
    let (fleet, peer) = (Fleet::new(0, 0), Peer::new());
    let (first, second) = two(&fleet, &peer);
    first.add_stub(&stub(&peer, 7), "");
    wait_for_state(&[&first, &second], &["error"], "404");
    peer.film(7, 1000);
    second.torrents("start", "");
    wait_for_state(&[&first, &second], &["stoppedUP"], "");
}

#[test]
fn the_stub_of_a_worker_that_is_lost_is_taken_up_by_another_one() {
    let (fleet, peer) = (Fleet::new(0, 0), Peer::new().honest());
    let film = peer.film(1, 1000);
    peer.away(true);
    let (first, second) = two(&fleet, &peer);
    first.add_stub(&stub(&peer, 1), "films");
    wait_for_state(&[&first, &second], &["queuedDL", "stalledDL"], "");
    first.served.kill();
    peer.away(false);
    wait_for_state(&[&second], &["stoppedUP"], "");
    let bytes = std::fs::read(fleet.path("films/Film 1.mkv")).expect("it is there");
    assert!(bytes == film.bytes(0..1000));
    assert_eq!(fleet.schema.execute("SELECT count(*) FROM downloads"), "1");
}
