//! The download client's API on a running server: stubs as files and by URL, categories as folders, peers that are gone.

use crate::house::{House, Served, stub, wait_until};
use crate::peer::Peer;
use regrip::peers::id_of;
use serde_json::Value;
use std::io::{Read, Write};
use std::net::TcpListener;

impl Served {
    /// Status and body of a form that is sent to a method of `torrents`.
    fn torrents(&self, method: &str, form: &[(&str, &str)]) -> (u16, String) {
        let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        let kind = [("Content-Type", "application/x-www-form-urlencoded")];
        self.exchange_body("POST", &format!("/api/v2/torrents/{method}"), &kind, &body)
    }

    /// Adds a stub as a file, in a category.
    pub(crate) fn add_stub(&self, stub: &[u8], category: &str) {
        let stub = std::str::from_utf8(stub).expect("these are");
        let body = format!(
            "--b\r\nContent-Disposition: form-data; name=\"category\"\r\n\r\n{category}\r\n--b\r\nContent-Disposition: \
             form-data; name=\"torrents\"; filename=\"a.torrent\"\r\n\r\n{stub}\r\n--b--\r\n"
        );
        let kind = [("Content-Type", "multipart/form-data; boundary=b")];
        let added = self.exchange_body("POST", "/api/v2/torrents/add", &kind, &body);
        assert_eq!(added, (200, "Ok.".to_owned()));
    }

    fn torrent(&self) -> Value {
        self.get("/api/v2/torrents/info")[0].clone()
    }

    fn wait_for_state(&self, state: &str, says: &str) {
        wait_until(&format!("{state}, {says}: {}", self.torrent()), || {
            let torrent = self.torrent();
            torrent["state"] == state && torrent["comment"].as_str().is_some_and(|comment| comment.contains(says))
        });
    }
}

#[test]
fn the_stub_of_a_peer_that_is_configured_no_longer_is_stalled_and_says_so() {
    let peer = Peer::new();
    peer.film(1, 1000);
    peer.away(true);
    let mut house = House::with(&[&peer]);
    let served = house.start();
    served.add_stub(&stub(&peer, 1), "");
    served.stop();
    let peers = house.config["peers"].take();
    house.config["peers"] = serde_json::json!([]);
    let served = house.start();
    served.wait_for_state("stalledDL", &format!("no peer {} is configured", id_of(&peer.url())));
    served.stop();
    peer.away(false);
    house.config["peers"] = peers;
    let served = house.start();
    served.wait_for_state("stoppedUP", "");
    served.stop();
}

#[test]
fn the_folder_of_a_category_is_never_a_link_that_leads_elsewhere() {
    let peer = Peer::new();
    let film = peer.film(1, 1000);
    let house = House::with(&[&peer]);
    let outside = house.path("outside");
    std::fs::create_dir(&outside).expect("a folder");
    std::os::unix::fs::symlink(&outside, house.path("completed/films")).expect("a link");
    let served = house.start();
    served.add_stub(&stub(&peer, 1), "films/new");
    served.wait_for_state("stalledDL", "not a link");
    assert_eq!(house.names("outside"), [""; 0]);
    std::fs::remove_file(house.path("completed/films")).expect("removed");
    house.wait_for_file("films/new/Film 1.mkv", film);
    assert_eq!(house.names("outside"), [""; 0]);
    served.stop();
}

#[test]
fn a_link_of_torznab_leads_to_the_internal_url_and_is_grabbed_by_it() {
    let peer = Peer::new().described();
    let film = peer.film(1_234_567, 1000);
    let mut house = House::with(&[&peer]);
    let link_of = |served: &Served| {
        let feed = served.get("/torznab/api?t=movie&imdbid=1234567").to_string();
        let link = feed.split("<link>").nth(2).and_then(|rest| rest.split("</link>").next());
        link.unwrap_or_else(|| panic!("{feed}")).to_owned()
    };
    let path = format!("/torznab/download/{}:1234567.torrent", id_of(&peer.url()));
    for internal in ["http://regrip:5225/base/", "http://regrip:5225/base", "https://regrip"] {
        house.config["regrip"]["internalUrl"] = internal.into();
        let served = house.start();
        let link = link_of(&served);
        assert_eq!(link, format!("{}{path}", internal.trim_end_matches('/')));
        assert_eq!(served.torrents("add", &[("urls", &link), ("category", "films")]), (200, "Ok.".to_owned()));
        served.stop();
    }
    house.config["regrip"].as_object_mut().expect("a block").remove("internalUrl");
    let served = house.start();
    assert_eq!(link_of(&served), format!("http://{}{path}", served.address()));
    house.wait_for_file("films/Film 1234567.mkv", film);
    served.stop();
}

#[test]
fn a_url_is_fetched_if_it_is_that_of_a_stub_and_refused_if_not() {
    let peer = Peer::new();
    let (first, second) = (peer.film(1, 1000), peer.film(2, 2000));
    let house = House::with(&[&peer]);
    let served = house.start();
    let elsewhere = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let at = elsewhere.local_addr().expect("an address");
    let second_stub = stub(&peer, 2);
    std::thread::spawn(move || {
        for mut stream in elsewhere.incoming().flatten() {
            let mut head = [0; 2048];
            let read = stream.read(&mut head).unwrap_or(0);
            let large = vec![b'd'; 70_000];
            let (status, body) = match &head[..read] {
                head if head.starts_with(b"GET /good") => ("200 OK", &second_stub[..]),
                head if head.starts_with(b"GET /large") => ("200 OK", &large[..]),
                _ => ("404 Not Found", &b"none"[..]),
            };
            let answer = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
            let _ = stream.write_all(answer.as_bytes()).and_then(|()| stream.write_all(body));
        }
    });
    for (url, says) in [
        ("magnet:?xt=urn:btih:aaaa", "magnet links"),
        ("ftp://host/a.torrent", "expected the http or https URL"),
        ("nothing", "expected the http or https URL"),
        ("http://169.254.169.254/a.torrent?key=secret", "the address was refused"),
        (&format!("http://{at}/large"), "larger than 65536 bytes"),
        (&format!("http://{at}/gone?key=secret"), "the server answered 404"),
        (&format!("http://{}/torznab/download/{}:9.torrent", served.address(), id_of(&peer.url())), "answered 404"),
        (&format!("http://{}/torznab/download/00000000:1.torrent", served.address()), "no peer 00000000"),
    ] {
        let (status, text) = served.torrents("add", &[("urls", url)]);
        assert_eq!(status, 409, "{url}: {text}");
        assert!(text.contains(says) && !text.contains("secret"), "{url}: {text}");
    }
    assert_eq!(served.get("/api/v2/torrents/info"), serde_json::json!([]));
    // One of this server's own, which need not be served for that, and one of another server.
    let own = format!("http://{}/torznab/download/{}%3A1.torrent?apikey=a", served.address(), id_of(&peer.url()));
    let urls = format!("{own}\nhttp://{at}/good\n");
    assert_eq!(served.torrents("add", &[("urls", &urls)]), (200, "Ok.".to_owned()));
    house.wait_for_file("Film 1.mkv", first);
    house.wait_for_file("Film 2.mkv", second);
    // Named as Torznab names it, by the file: else the item would have two info hashes.
    let torrents = served.get("/api/v2/torrents/info");
    let names: Vec<_> = torrents.as_array().unwrap().iter().map(|torrent| &torrent["name"]).collect();
    assert!(names.contains(&&serde_json::json!("Film 1.mkv")), "{names:?}");
    served.stop();
}
