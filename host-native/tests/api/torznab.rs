//! Torznab, as Radarr and Sonarr use it: their rules for a feed are in [`read`].

use crate::support::{Bench, How, KEY, Reply};
use crate::wire::{Answer, Server, hold, keep, ok};
use quick_xml::events::Event;
use quick_xml::reader::Reader;
use regrip::config;
use regrip_core::{DownloadsConfig, Stub};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::path::Path;
use url::Url;

/// An element: its name, attributes and text, and its children.
#[derive(Debug, Default)]
struct Element {
    name: String,
    attributes: HashMap<String, String>,
    text: String,
    children: Vec<Element>,
}

impl Element {
    fn all(&self, name: &str) -> Vec<&Element> {
        self.children.iter().filter(|child| child.name == name).collect()
    }

    fn one(&self, name: &str) -> &Element {
        let all = self.all(name);
        assert_eq!(all.len(), 1, "{name} in {self:?}");
        all[0]
    }

    fn attribute(&self, name: &str) -> &str {
        self.attributes.get(name).unwrap_or_else(|| panic!("{name} in {self:?}"))
    }
}

/// Reads a document strictly.
fn document(xml: &str) -> Element {
    assert!(
        xml.chars().all(|letter| !letter.is_control() && !matches!(letter, '\u{FFFE}' | '\u{FFFF}')),
        "XML cannot have this: {xml:?}"
    );
    let mut reader = Reader::from_str(xml);
    reader.config_mut().check_comments = true;
    let mut open = vec![Element::default()];
    loop {
        match reader.read_event().expect("well-formed") {
            event @ (Event::Start(_) | Event::Empty(_)) => {
                let is_empty = matches!(event, Event::Empty(_));
                let (Event::Start(tag) | Event::Empty(tag)) = event else { unreachable!() };
                let mut element = Element { name: tag.name().as_ref().to_owned(), ..Element::default() };
                for attribute in tag.attributes() {
                    let attribute = attribute.expect("a whole attribute, once");
                    let value = quick_xml::escape::unescape(&attribute.value).expect("known entities").into_owned();
                    element.attributes.insert(attribute.key.as_ref().to_owned(), value);
                }
                open.push(element);
                if is_empty {
                    close(&mut open);
                }
            }
            Event::End(_) => close(&mut open),
            Event::Text(text) => open.last_mut().unwrap().text.push_str(&text),
            Event::GeneralRef(name) => {
                let text = quick_xml::escape::unescape(&format!("&{};", &*name)).expect("known").into_owned();
                open.last_mut().unwrap().text.push_str(&text);
            }
            Event::Comment(_) | Event::Decl(_) => {}
            Event::Eof => break,
            other => panic!("not in a feed: {other:?}"),
        }
    }
    assert_eq!(open.len(), 1, "all is closed");
    let mut roots = open.remove(0).children;
    assert_eq!(roots.len(), 1, "one root");
    roots.remove(0)
}

fn close(open: &mut Vec<Element>) {
    let done = open.pop().unwrap();
    open.last_mut().expect("it was opened").children.push(done);
}

/// What Radarr and Sonarr take from an item.
#[derive(Debug, PartialEq, Eq)]
struct Item {
    title: String,
    guid: String,
    url: String,
    size: i64,
    attributes: HashMap<String, String>,
}

/// Reads a feed by the rules of Radarr's and Sonarr's parsers: an `error` anywhere ends it; `pubDate`, an enclosure of the right
/// type with URL and length, and numbers of 32 or 64 bits; no attribute twice, since old Sonarr takes the only one.
fn read(xml: &str) -> Result<Vec<Item>, (String, String)> {
    let root = document(xml);
    if root.name == "error" {
        return Err((root.attribute("code").to_owned(), root.attribute("description").to_owned()));
    }
    assert_eq!(root.name, "rss");
    assert_eq!(root.attribute("xmlns:torznab"), "http://torznab.com/schemas/2015/feed");
    let items = root.one("channel").all("item").into_iter().map(|item| {
        let date = &item.one("pubDate").text;
        httpdate::parse_http_date(date).expect("a date");
        let enclosure = item.one("enclosure");
        assert_eq!(enclosure.attribute("type"), "application/x-bittorrent");
        let url = enclosure.attribute("url").to_owned();
        assert!(Url::parse(&url).is_ok_and(|url| url.has_host()), "{url}");
        assert_eq!(item.one("link").text, url);
        let mut attributes = HashMap::new();
        for attribute in item.all("torznab:attr") {
            let (name, value) = (attribute.attribute("name"), attribute.attribute("value"));
            assert_eq!(attributes.insert(name.to_owned(), value.to_owned()), None, "{name} twice");
        }
        for name in ["imdb", "tmdbid", "tvdbid", "seeders", "peers", "season", "episode"] {
            assert!(attributes.get(name).is_none_or(|value| value.parse::<i32>().is_ok()), "{name}: {attributes:?}");
        }
        let size: i64 = attributes["size"].parse().expect("64 bits");
        assert_eq!(enclosure.attribute("length").parse(), Ok(size));
        assert!(!item.one("guid").text.is_empty());
        Item { title: item.one("title").text.clone(), guid: item.one("guid").text.clone(), url, size, attributes }
    });
    Ok(items.collect())
}

/// A server with these peers, by name and URL.
fn with_peers(how: How, peers: &[(&str, &Server)]) -> Bench {
    let bench = Bench::how(how);
    let peers: Vec<Value> = peers.iter().map(|(name, peer)| json!({ "name": name, "url": peer.url("") })).collect();
    let text = json!({ "peers": peers }).to_string();
    let parsed = config::parse(&text, Path::new("/"), &|_| None).unwrap();
    bench.control.configure_peers(&parsed.config.peers);
    bench
}

/// A peer with these items, each also under its own path.
fn peer(items: Vec<Value>) -> Server {
    Server::new(move |seen| {
        let target = seen.target();
        if target == "/handshake" {
            return ok(r#"{"version": "0.1.0"}"#);
        }
        if target.starts_with("/peer/search") {
            return ok(&json!({ "items": items }).to_string());
        }
        let id = target.strip_prefix("/peer/items/").unwrap_or_default();
        let id = percent_encoding::percent_decode_str(id).decode_utf8_lossy();
        match items.iter().find(|item| item["id"] == *id) {
            Some(item) => ok(&item.to_string()),
            None => keep("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"),
        }
    })
}

fn film(id: &str, title: &str, at: &str) -> Value {
    json!({
        "id": id, "title": title, "filename": format!("{title}.mkv"), "category": 2000, "size": 8_000_000_000_u64,
        "imdbId": "tt0133093", "tmdbId": 603, "publishDate": at,
    })
}

fn episode(id: &str, title: &str, season: u32, episode: u32) -> Value {
    json!({
        "id": id, "title": title, "filename": format!("{title}.mkv"), "category": 5000, "size": 7,
        "tvdbId": 81189, "season": season, "episode": episode,
    })
}

fn ask(bench: &Bench, query: &str) -> Reply {
    let headers = "Host: regrip.example:5225\r\n";
    bench.with("GET", &format!("/torznab/api?{query}&apikey={KEY}"), headers, "")
}

fn titles(bench: &Bench, query: &str) -> Vec<String> {
    let reply = ask(bench, query);
    assert_eq!(reply.status, 200, "{query}: {}", reply.text());
    let items = read(&reply.text()).unwrap_or_else(|error| panic!("{query}: {error:?}"));
    items.into_iter().map(|item| item.title).collect()
}

/// The targets of the searches that a peer got.
fn searches(peer: &Server) -> Vec<String> {
    let seen = peer.seen();
    let targets = seen.iter().filter_map(|seen| seen.target().strip_prefix("/peer/search"));
    targets.map(str::to_owned).collect()
}

#[test]
fn the_capabilities_are_those_that_radarr_and_sonarr_test_for() {
    let reply = ask(&Bench::new(), "t=caps");
    assert_eq!((reply.status, reply.header("content-type")), (200, Some("application/xml; charset=utf-8")));
    let caps = document(&reply.text());
    assert_eq!(caps.name, "caps");
    for (search, needed) in [
        ("search", &["q"][..]),
        ("tv-search", &["q", "tvdbid", "season", "ep"]),
        ("movie-search", &["q", "imdbid", "tmdbid"]),
    ] {
        let search = caps.one("searching").one(search);
        assert_eq!(search.attribute("available"), "yes");
        let parameters: Vec<&str> = search.attribute("supportedParams").split(',').collect();
        assert!(needed.iter().all(|needed| parameters.contains(needed)), "{parameters:?}");
    }
    let limits = caps.one("limits");
    assert!(limits.attribute("default").parse::<i32>().unwrap() <= limits.attribute("max").parse::<i32>().unwrap());
    let categories = caps.one("categories").all("category");
    assert_eq!(categories.iter().map(|kind| kind.attribute("id")).collect::<Vec<_>>(), ["2000", "5000"]);
    assert!(categories.iter().all(|kind| kind.all("subcat").iter().all(|part| !part.attribute("name").is_empty())));
}

#[test]
fn peers_are_asked_by_the_ids_of_the_request_in_their_own_form() {
    let peer = peer(vec![film("1", "Film", "2026-01-01T00:00:00Z"), episode("2", "Show S01E02", 1, 2)]);
    let bench = with_peers(How::default(), &[("anna", &peer)]);
    let table = [
        ("t=movie&imdbid=tt0133093", "?imdbId=tt0133093", &["Film"][..]),
        ("t=movie&imdbid=133093&tmdbid=603", "?imdbId=tt0133093&tmdbId=603", &["Film"]),
        ("t=movie&tmdbid=603&cat=2040,2045&extended=1", "?tmdbId=603", &["Film"]),
        ("t=movie&tmdbid=603&cat=5040", "?tmdbId=603", &[]),
        ("t=tvsearch&tvdbid=81189&imdbid=tt1&season=1&ep=2", "?tvdbId=81189&season=1&episode=2", &["Show S01E02"]),
        ("t=tvsearch&tvdbid=81189&season=S01&ep=E02", "?tvdbId=81189&season=1&episode=2", &["Show S01E02"]),
        ("t=tvsearch&tvdbid=81189&season=2", "?tvdbId=81189&season=2", &[]),
        ("t=tvsearch&tvdbid=81189&season=2026&ep=05/12", "?tvdbId=81189", &["Show S01E02"]),
        ("t=search&q=&imdbid=", "?", &["Film", "Show S01E02"]),
        ("t=search&cat=8000", "?", &[]),
        ("t=movie&imdbid=0&q=", "?", &["Film"]),
        ("T=search&q=show%20s01e02", "?", &["Show S01E02"]),
        ("t=tvsearch&q=show&season=1&ep=2", "?season=1&episode=2", &["Show S01E02"]),
        ("t=search&q=film%27s", "?", &[]),
    ];
    for (query, search, found) in table {
        let mut got = titles(&bench, query);
        got.sort();
        assert_eq!(got, found, "{query}");
        assert_eq!(searches(&peer).pop().as_deref(), Some(search), "{query}");
    }
}

#[test]
fn the_feed_is_newest_first_with_stable_dates_and_in_pages() {
    let mut items: Vec<Value> = (0..250)
        .map(|n| film(&n.to_string(), &format!("Film {n:03}"), &format!("2026-01-01T00:{:02}:{:02}Z", n / 60, n % 60)))
        .collect();
    let mut undated = film("new", "Undated", "");
    undated.as_object_mut().unwrap().remove("publishDate");
    items.push(undated);
    items.push(film("ahead", "Ahead", "2999-01-01T00:00:00Z"));
    let peer = peer(items);
    let bench = with_peers(How::default(), &[("anna", &peer)]);
    let first = titles(&bench, "t=search");
    assert_eq!(first.len(), 100);
    // Dates in the future count as now.
    assert_eq!(first[..3], ["Ahead", "Undated", "Film 249"]);
    let newest = document(&ask(&bench, "t=search&limit=1").text());
    let date = &newest.one("channel").one("item").one("pubDate").text;
    assert!(httpdate::parse_http_date(date).unwrap() <= std::time::SystemTime::now(), "{date}");
    assert_eq!(titles(&bench, "t=search&offset=250&limit=2"), ["Film 001", "Film 000"]);
    assert_eq!(titles(&bench, "t=search&limit=9999999").len(), 252);
    assert_eq!(titles(&bench, "t=search&offset=4294967295&limit=4294967295"), [""; 0]);
    assert_eq!(titles(&bench, "t=search&limit=0").len(), 100);
    let reply = ask(&bench, "t=search&limit=1");
    let root = document(&reply.text());
    assert_eq!(root.one("channel").one("torznab:response").attribute("total"), "252");
}

#[test]
fn an_item_has_what_radarr_and_sonarr_read() {
    let mut item = film("a/b:c d", "Film & Co <1999>", "2026-01-01T00:00:00Z");
    item["filename"] = json!("Film & Co.mkv");
    let peer = peer(vec![item, episode("2", "Show", 1, 2)]);
    let bench = with_peers(How::default(), &[("anna", &peer)]);
    let items = read(&ask(&bench, "t=search").text()).unwrap();
    let film = items.iter().find(|item| item.title == "Film & Co <1999>").expect("it is listed");
    let id = config::id_of(&peer.url(""));
    assert_eq!(film.guid, format!("{id}:a/b:c d"));
    assert_eq!(
        film.url,
        format!("http://regrip.example:5225/torznab/download/{id}:a%2Fb%3Ac%20d.torrent?apikey={KEY}")
    );
    assert_eq!(film.size, 8_000_000_000);
    for (name, value) in [
        ("category", "2000"),
        ("imdb", "133093"),
        ("imdbid", "tt0133093"),
        ("tmdbid", "603"),
        ("downloadvolumefactor", "0"),
        ("seeders", "1"),
    ] {
        assert_eq!(film.attributes[name], value, "{name}");
    }
    let show = items.iter().find(|item| item.title == "Show").expect("it is listed");
    assert_eq!(
        (&*show.attributes["tvdbid"], &*show.attributes["season"], &*show.attributes["episode"]),
        ("81189", "1", "2")
    );

    // The link needs no header, and its stub is the one that the feed described.
    let path = &film.url["http://regrip.example:5225".len()..];
    let reply = bench.with("GET", path, "", "");
    assert_eq!((reply.status, reply.header("content-type")), (200, Some("application/x-bittorrent")));
    let stub = Stub::read(&reply.body).expect("it is a stub");
    assert_eq!((stub.peer, stub.item.as_str()), (id, "a/b:c d"));
    assert_eq!((stub.name.as_str(), stub.length), ("Film & Co.mkv", 8_000_000_000));
    let info = Stub::read(&reply.body).unwrap().info();
    let hash = regrip_core::hasher::Hasher::of(regrip_core::Algorithm::Sha1, &info);
    assert_eq!(film.attributes["infohash"], hash.hex);
    assert!(reply.body.windows(info.len()).any(|some| some == info), "the hash is that of the file");
}

#[test]
fn behind_tls_or_with_the_key_in_a_header_links_work_as_well() {
    let peer = peer(vec![film("1", "Film", "2026-01-01T00:00:00Z")]);
    let bench = with_peers(How::default(), &[("anna", &peer)]);
    let headers = format!("Host: regrip.example\r\nX-Forwarded-Proto: https\r\nX-Api-Key: {KEY}\r\n");
    let reply = bench.with("GET", "/torznab/api?t=search", &headers, "");
    let url = read(&reply.text()).unwrap().remove(0).url;
    assert!(url.starts_with("https://regrip.example/torznab/download/"), "{url}");
    assert!(url.ends_with(&format!(".torrent?apikey={KEY}")), "{url}");
    let open = with_peers(How { key: None, ..How::default() }, &[("anna", &peer)]);
    let url = read(&open.get("/torznab/api?t=search").text()).unwrap().remove(0).url;
    assert!(url.ends_with(".torrent"), "{url}");
    assert_eq!(open.get(url.strip_prefix("http://localhost").unwrap()).status, 200);
}

#[test]
fn a_peer_that_does_not_answer_costs_the_others_nothing_and_its_error_is_shown() {
    let silent = Server::new(|_| hold(""));
    let old = Server::new(|_| ok(r#"{"version": "0.0.1"}"#));
    // Its answer begins in time and does not end.
    let slow = Server::new(|_| hold("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"));
    let good = peer(vec![film("1", "Film", "2026-01-01T00:00:00Z")]);
    let limits = DownloadsConfig { headers_timeout_ms: 1000, ..DownloadsConfig::default() };
    let bench = with_peers(
        How { config: limits, ..How::default() },
        &[("old -- ]]>--", &old), ("good", &good), ("silent", &silent), ("slow", &slow)],
    );
    // On a busy machine the good one may be late, too.
    let reply = crate::support::until(|| {
        let reply = ask(&bench, "t=search").text();
        (read(&reply).unwrap().len() == 1).then_some(reply)
    });
    assert!(reply.contains("<!-- peer silent: "), "{reply}");
    assert!(reply.contains("<!-- peer slow: no answer within 1 s -->"), "{reply}");
    assert!(reply.contains("the peer speaks version 0.0.1"), "{reply}");
    let peers = bench.json("/api/peers");
    let searched = |at: usize| peers["peers"][at]["last_search"].clone();
    assert!(searched(0)["error"].as_str().unwrap().contains("version 0.0.1"), "{peers}");
    assert_eq!((&searched(1)["releases"], &searched(1)["error"]), (&json!(1), &Value::Null));
    assert!(searched(2)["error"].is_string() && searched(2)["at"].is_string(), "{peers}");
    assert!(searched(2)["releases"].is_null());
    // Its failures open the breaker; from then on it is not asked before the next probe is due.
    crate::support::until(|| {
        ask(&bench, "t=search");
        bench.json("/api/peers")["peers"][2]["next_probe_at"].is_string().then_some(())
    });
    let before = silent.seen().len();
    let reply = ask(&bench, "t=search").text();
    let comment =
        reply.split("<!-- peer silent: ").nth(1).and_then(|rest| rest.split(" -->").next()).unwrap_or_default();
    assert!(!comment.is_empty() && !comment.contains("no answer within"), "{reply}");
    assert_eq!(silent.seen().len(), before);
}

#[test]
fn what_a_hostile_peer_says_is_escaped_or_left_out() {
    let with = |name: &str, value: Value| {
        let mut item = film("1", "Film", "2026-01-01T00:00:00Z");
        item[name] = value;
        item
    };
    let left_out = [
        with("size", json!(-1)),
        with("size", json!(1.5)),
        with("size", json!(1e300)),
        with("size", json!(u64::MAX)),
        with("size", json!("7")),
        with("size", Value::Null),
        with("filename", json!("../film.mkv")),
        with("filename", json!("")),
        with("id", json!("")),
        with("id", json!("a\nb")),
        with("id", json!("a\u{FFFE}")),
        with("id", json!("x".repeat(2000))),
        with("category", json!(-2000)),
        json!(null),
        json!([[[]]]),
    ];
    for item in left_out {
        let peer = peer(vec![item.clone(), film("2", "Good", "2026-01-01T00:00:00Z")]);
        let bench = with_peers(How::default(), &[("anna", &peer)]);
        assert_eq!(titles(&bench, "t=search"), ["Good"], "{item}");
    }
    let escaped = [
        (with("title", json!("a]]>b<!--c--><item/>&amp;\"'")), "a]]>b<!--c--><item/>&amp;\"'".to_owned()),
        (with("title", json!("a\u{0}\u{8}\u{1b}\n\u{202E}\u{FFFE}\u{FFFF}b")), "a???????b".to_owned()),
        (with("title", json!("x".repeat(100_000))), format!("{}…", "x".repeat(511))),
        (with("title", json!(" ")), "Film.mkv".to_owned()),
        (with("imdbId", json!("tt99999999999999999999")), "Film".to_owned()),
        (with("imdbId", json!("\"><error code=\"100\" description=\"x\"/>")), "Film".to_owned()),
        (with("tmdbId", json!(u64::MAX)), "Film".to_owned()),
        (with("tvdbId", json!("<x>")), "Film".to_owned()),
        (with("publishDate", json!("yesterday")), "Film".to_owned()),
        (with("publishDate", json!("0000-00-00T99:99:99Z")), "Film".to_owned()),
        (with("category", json!(2999)), "Film".to_owned()),
    ];
    for (item, title) in escaped {
        let peer = peer(vec![item.clone()]);
        let bench = with_peers(How::default(), &[("anna", &peer)]);
        assert_eq!(titles(&bench, "t=movie"), [title], "{item}");
    }
    let broken: [fn() -> Answer; 4] = [
        || ok(r#"{"items": [{"size": 1e999}]}"#),
        || ok("<rss/>"),
        || ok(r#"{"items": {}}"#),
        || keep("HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n"),
    ];
    for answer in broken {
        let bad = Server::new(move |seen| match seen.target() {
            "/handshake" => ok(r#"{"version": "0.1.0"}"#),
            _ => answer(),
        });
        let bench = with_peers(How::default(), &[("bad", &bad)]);
        let reply = ask(&bench, "t=search").text();
        assert_eq!(read(&reply).unwrap(), []);
        assert!(reply.contains("<!-- peer bad: "), "{reply}");
    }
}

#[test]
fn errors_have_the_codes_of_the_protocol_and_are_read_by_its_clients() {
    let bench = Bench::new();
    let get = |path: &str, headers: &str| bench.with("GET", path, headers, "");
    let code = |reply: Reply| {
        assert_eq!(reply.status, 200, "{}", reply.text());
        let (code, description) = read(&reply.text()).expect_err("it is refused");
        assert!(!description.is_empty() && description != "Missing parameter");
        code
    };
    let header = format!("X-Api-Key: {KEY}\r\n");
    for (path, headers) in [
        ("/torznab/api?t=caps", ""),
        ("/torznab/api?t=caps&apikey=", ""),
        ("/torznab/api?t=caps&apikey=wrong", ""),
        ("/torznab/api?t=caps&APIKEY=wrong", ""),
        ("/torznab/api?t=caps&apikey=%00%ff", ""),
        ("/torznab/api", "X-Api-Key: wrong\r\n"),
        (&format!("/torznab/api?t=caps&apikey={KEY}"), "X-Api-Key: wrong\r\n"),
        (&format!("/torznab/api?t=caps&apikey={KEY}"), "Sec-Fetch-Site: cross-site\r\n"),
    ] {
        assert_eq!(code(get(path, headers)), "100", "{path} {headers}");
    }
    for (query, wanted) in [
        ("", "200"),
        ("t=", "200"),
        ("q=x", "200"),
        ("t=details", "202"),
        ("t=%3Cerror%3E", "202"),
        ("t=movie&imdbid=nm1", "201"),
        ("t=movie&tmdbid=-1", "201"),
        ("t=movie&tmdbid=%2B1", "201"),
        ("t=movie&tmdbid=99999999999", "201"),
        ("t=tvsearch&season=one", "201"),
        ("t=search&cat=films", "201"),
        ("t=search&limit=x", "201"),
        ("t=search&offset=1e3", "201"),
    ] {
        assert_eq!(code(get(&format!("/torznab/api?{query}"), &header)), wanted, "{query}");
    }
    assert_eq!(get(&format!("/torznab/api?t=caps&apikey={KEY}"), "").status, 200);
    assert_eq!(get("/torznab/api?t=caps", &header).status, 200);
    let without = bench.with("POST", "/torznab/api?t=caps", &header, "");
    assert_eq!(without.status, 405);

    // Guesses are slowed, in XML too; the right key goes on working.
    let slowed = crate::support::until(|| {
        let reply = get("/torznab/api?t=caps&apikey=guess", "");
        (reply.status == 429).then_some(reply)
    });
    assert!(slowed.header("retry-after").is_some());
    assert_eq!(read(&slowed.text()).expect_err("it is refused").0, "500");
    assert_eq!(get(&format!("/torznab/api?t=caps&apikey={KEY}"), "").status, 200);
}

#[test]
fn a_stub_that_cannot_be_made_is_an_error_with_a_status() {
    let away = Server::new(|_| hold(""));
    let good = peer(vec![film("1", "Film", "2026-01-01T00:00:00Z")]);
    let limits = DownloadsConfig { headers_timeout_ms: 300, ..DownloadsConfig::default() };
    let impatient = with_peers(How { config: limits, ..How::default() }, &[("away", &away)]);
    let away = config::id_of(&away.url(""));
    let late = impatient.with("GET", &format!("/torznab/download/{away}:1.torrent?apikey={KEY}"), "", "");
    assert_eq!((late.status, late.header("retry-after")), (503, Some("10")));
    assert!(read(&late.text()).is_err());
    let bench = with_peers(How::default(), &[("good", &good)]);
    let good = config::id_of(&good.url(""));
    for (name, status) in [
        (format!("{good}:1.torrent"), 200),
        (format!("{good}%3A1.torrent"), 200),
        (format!("{good}:2.torrent"), 404),
        (format!("{good}:.torrent"), 404),
        (format!("{good}:...torrent"), 404),
        (format!("{good}:1"), 404),
        ("00000000:1.torrent".to_owned(), 404),
        ("..%2F..%2Fetc:1.torrent".to_owned(), 404),
        (format!("{away}:1.torrent"), 404),
    ] {
        let reply = bench.with("GET", &format!("/torznab/download/{name}?apikey={KEY}"), "", "");
        assert_eq!(reply.status, status, "{name}: {}", reply.text());
        if status != 200 {
            assert!(read(&reply.text()).is_err());
        }
    }
    let wrong = bench.with("GET", &format!("/torznab/download/{good}:1.torrent?apikey=wrong"), "", "");
    assert_eq!(read(&wrong.text()).expect_err("it is refused").0, "100");
}

#[test]
fn a_regrip_that_shares_is_found_and_its_item_has_a_stub() {
    let sharing = Bench::how(How { shared_with: Some("peer-key"), ..How::default() });
    std::fs::write(sharing.file("Film (1999) {imdb-tt0133093}.mkv"), [7; 1000]).unwrap();
    let bench = Bench::new();
    let url = format!("http://{}", sharing.address);
    let text = json!({ "peers": [{ "name": "anna", "url": url, "apiKey": "peer-key" }] }).to_string();
    let peers = config::parse(&text, Path::new("/"), &|_| None).unwrap().config.peers;
    let transport = &bench.control.engine().host().transport;
    transport.reconfigure(&DownloadsConfig::default(), peers.iter().map(|peer| peer.credentials()).collect());
    bench.control.configure_peers(&peers);
    // The folder is looked through again some time after a search.
    sharing.share.as_ref().expect("it shares").look_again();
    let found = crate::support::until(|| read(&ask(&bench, "t=movie&imdbid=133093").text()).unwrap().pop());
    assert_eq!((found.title.as_str(), found.size), ("Film (1999) {imdb-tt0133093}", 1000));
    let path = found.url.strip_prefix("http://regrip.example:5225").unwrap();
    let stub = Stub::read(&bench.with("GET", path, "", "").body).expect("it is a stub");
    assert_eq!((stub.name.as_str(), stub.length), ("Film (1999) {imdb-tt0133093}.mkv", 1000));
}
