//! A server that is a source: what it has files for is shared.

use crate::house::{House, Served, wait_until};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};

/// Answers GETs by their target with a key, as Radarr and Sonarr do; or all of them with a status.
struct Library {
    address: SocketAddr,
    answers: Arc<Mutex<HashMap<String, Value>>>,
    status: Arc<AtomicU16>,
}

impl Library {
    fn new(answers: &[(&str, Value)]) -> Library {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let answers = answers.iter().map(|(target, answer)| ((*target).to_owned(), answer.clone())).collect();
        let library =
            Library { address, answers: Arc::new(Mutex::new(answers)), status: Arc::new(AtomicU16::new(200)) };
        let (answers, status) = (Arc::clone(&library.answers), Arc::clone(&library.status));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let mut lines = BufReader::new(&stream).lines().map_while(Result::ok);
                let target = lines.next().unwrap_or_default().split(' ').nth(1).unwrap_or_default().to_owned();
                let has_key = lines
                    .take_while(|line| !line.is_empty())
                    .any(|line| line.eq_ignore_ascii_case("x-api-key: library-key"));
                let answer = answers.lock().unwrap().get(&target).cloned();
                let status = match (status.load(Ordering::SeqCst), &answer, has_key) {
                    (200, _, false) => 401,
                    (200, None, true) => 404,
                    (status, _, _) => status,
                };
                let body = answer.unwrap_or_default().to_string();
                let length = body.len();
                let head = format!("HTTP/1.1 {status} X\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n");
                let _ = (&stream).write_all(format!("{head}{body}").as_bytes());
            }
        });
        library
    }

    fn config(&self, kind: &str, mapping: &Value) -> Value {
        let url = format!("http://{}/base/", self.address);
        json!({ "type": kind, "url": url, "apiKey": "library-key", "source": true, "pathMapping": mapping })
    }
}

fn film(id: u64, name: &str) -> Value {
    json!({
        "id": id, "title": name, "hasFile": true, "path": format!("/movies/{name}"),
        "imdbId": format!("tt000000{id}"), "tmdbId": id * 10, "movieFile": {
            "id": id, "path": format!("/movies/{name}/{name}.mkv"), "relativePath": format!("{name}.mkv"), "size": 1,
            "sceneName": format!("{name}.1080p-GROUP"),
            "quality": { "quality": { "name": "Bluray-1080p", "source": "bluray", "resolution": 1080 } },
        },
    })
}

/// The titles that a search finds.
fn titles(served: &Served, query: &str) -> Vec<String> {
    let found = served.get(&format!("/peer/search{query}"));
    let items = found["items"].as_array().unwrap().iter();
    let mut titles: Vec<_> = items.map(|item| item["title"].as_str().unwrap().to_owned()).collect();
    titles.sort();
    titles
}

fn put(house: &House, path: &str, bytes: &str) {
    let path = house.path(path);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, bytes).unwrap();
}

#[test]
fn what_radarr_and_sonarr_have_files_for_is_found_and_fetched_beside_shared_folders() {
    let mut house = House::with(&[]);
    for name in ["One", "Two"] {
        put(&house, &format!("media/films/{name}/{name}.mkv"), name);
    }
    put(&house, "media/films/Three/Three.mkv.part", "unfinished");
    put(&house, "secret/Four/Four.mkv", "not shared");
    std::os::unix::fs::symlink(house.path("secret/Four"), house.path("media/films/Four")).unwrap();
    put(&house, "media/tv/Show/Season 1/Show S01E01E02.mkv", "double");
    put(&house, "media/tv/Show/Season 1/third.mkv", "third");
    put(&house, "other/Folder (2001) {tmdb-77}.mkv", "a folder's");
    let mut three = film(3, "Three");
    three["movieFile"]["path"] = "/movies/Three/Three.mkv.part".into();
    let mut escaped = film(6, "Six");
    escaped["movieFile"]["path"] = "/movies/../secret/Four/Four.mkv".into();
    let films = json!([
        film(1, "One"), film(2, "Two"), three, film(4, "Four"), film(5, "Vanished"), escaped,
        { "id": 7, "title": "Wanted", "hasFile": false }, { "id": "odd" }, 8,
    ]);
    let radarr = Library::new(&[("/base/api/v3/movie", films)]);
    let path = |name: &str| format!("/tv/Show/Season 1/{name}");
    let sonarr = Library::new(&[
        (
            "/base/api/v3/series",
            json!([
                { "id": 1, "title": "Show", "path": "/tv/Show", "tvdbId": 55, "imdbId": "tt0000055",
                  "statistics": { "episodeFileCount": 2 } },
                { "id": 2, "title": "None yet", "path": "/tv/None", "statistics": { "episodeFileCount": 0 } },
            ]),
        ),
        (
            "/base/api/v3/episodefile?seriesId=1",
            json!([
                { "id": 10, "path": path("Show S01E01E02.mkv"), "size": 1 },
                { "id": 11, "path": path("third.mkv"), "size": 1 },
            ]),
        ),
        (
            "/base/api/v3/episode?seriesId=1",
            json!([
                { "id": 101, "seasonNumber": 1, "episodeNumber": 1, "episodeFileId": 10, "hasFile": true },
                { "id": 102, "seasonNumber": 1, "episodeNumber": 2, "episodeFileId": 10, "hasFile": true },
                { "id": 103, "seasonNumber": 1, "episodeNumber": 3, "episodeFileId": 11, "hasFile": true },
                { "id": 104, "seasonNumber": 1, "episodeNumber": 4, "episodeFileId": 0, "hasFile": false },
            ]),
        ),
    ]);
    let media = |name: &str| house.path("media").join(name).display().to_string();
    house.config["servers"] = json!([
        radarr.config("radarr", &json!({ "/movies": media("films") })),
        sonarr.config("sonarr", &json!({ "/tv": media("tv") })),
    ]);
    house.config["share"] = json!(["other"]);
    let served = house.start();
    wait_until("both libraries are read", || titles(&served, "").len() == 5);
    let all = ["Folder (2001) {tmdb-77}", "One.1080p-GROUP", "Show S01E01E02", "Two.1080p-GROUP", "third"];
    assert_eq!(titles(&served, ""), all);
    let table: [(&str, &[&str]); 9] = [
        ("?imdbId=tt0000001", &["One.1080p-GROUP"]),
        ("?imdbId=0000002", &["Two.1080p-GROUP"]),
        ("?tmdbId=10", &["One.1080p-GROUP"]),
        ("?tmdbId=77", &["Folder (2001) {tmdb-77}"]),
        ("?tmdbId=999", &[]),
        ("?tvdbId=55", &["Show S01E01E02", "third"]),
        ("?tvdbId=55&season=1&episode=2", &["Show S01E01E02"]),
        ("?tvdbId=55&season=1&episode=3", &["third"]),
        ("?tvdbId=55&season=2", &[]),
    ];
    for (query, wanted) in table {
        assert_eq!(titles(&served, query), wanted, "{query}");
    }
    let one = served.get("/peer/search?tmdbId=10")["items"][0].clone();
    let server = regrip::peers::id_of(&format!("http://{}/base/", radarr.address));
    assert_eq!(one["id"], format!("{server}:movie:1"));
    assert_eq!((&one["filename"], &one["category"], &one["size"]), (&json!("One.mkv"), &json!(2000), &json!(3)));
    assert_eq!(one["quality"], json!({ "name": "Bluray-1080p", "source": "bluray", "resolution": 1080 }));
    let sonarr_id = regrip::peers::id_of(&format!("http://{}/base/", sonarr.address));
    for number in [101, 102] {
        let item = served.get(&format!("/peer/items/{sonarr_id}:episode:{number}"));
        assert_eq!((&item["category"], &item["season"], &item["episode"]), (&json!(5000), &json!(1), &json!(1)));
    }
    wait_until("the file is old enough to be sent", || served.ask("GET", &file(&server)).0 == 200);
    assert_eq!(served.ask("GET", &file(&server)).1, "One");
    // A file that vanishes is not offered, nor is its item.
    std::fs::remove_file(house.path("media/films/One/One.mkv")).unwrap();
    assert_eq!(served.ask("GET", &file(&server)).0, 404);
    served.stop();
}

fn file(server: &regrip_core::PeerId) -> String {
    format!("/peer/items/{server}:movie:1/file")
}

#[test]
fn while_a_server_is_away_its_last_list_is_shared_and_the_error_is_shown() {
    let mut house = House::with(&[]);
    for name in ["One", "Two"] {
        put(&house, &format!("films/{name}/{name}.mkv"), name);
    }
    let radarr = Library::new(&[("/base/api/v3/movie", json!([film(1, "One")]))]);
    radarr.status.store(503, Ordering::SeqCst);
    let films = house.path("films").display().to_string();
    house.config["servers"] = json!([radarr.config("radarr", &json!({ "/movies": films }))]);
    let served = house.start();
    let trouble = |what: &str| served.get("/api/troubles").to_string().contains(what);
    wait_until("the error is shown", || trouble("radarr: HTTP status 503") || trouble("503"));
    radarr.status.store(200, Ordering::SeqCst);
    served.signal("HUP");
    wait_until("it is read", || titles(&served, "").len() == 1);
    wait_until("the error is over", || !trouble("library"));
    for (status, answer) in [(500, json!([])), (302, json!([])), (200, json!({ "error": "login" }))] {
        radarr.answers.lock().unwrap().insert("/base/api/v3/movie".to_owned(), answer);
        radarr.status.store(status, Ordering::SeqCst);
        served.signal("HUP");
        wait_until("the error is shown", || trouble("a library cannot be read, and what was last read"));
        assert_eq!(titles(&served, ""), ["One.1080p-GROUP"], "{status}");
    }
    let both = json!([film(1, "One"), film(2, "Two")]);
    radarr.answers.lock().unwrap().insert("/base/api/v3/movie".to_owned(), both);
    served.signal("HUP");
    wait_until("the new film is there", || titles(&served, "").len() == 2);
    house.config["servers"][0]["source"] = false.into();
    house.write_config();
    served.signal("HUP");
    wait_until("it is a source no more", || titles(&served, "").is_empty());
    served.stop();
}
