//! What a request gets of a file.

use crate::support::{Bench, How, age_to, bytes, edit, put, put_aged, until};
use std::fs;
use std::time::Duration;

const SIZE: usize = 300_000;

fn film() -> Bench {
    Bench::film(&bytes(1, SIZE))
}

#[test]
fn a_file_is_sent_whole_with_all_that_a_resume_needs() {
    let bench = film();
    let reply = bench.get(&bench.file("film.mkv"), "");
    assert_eq!(reply.status, 200);
    assert!(reply.body == bytes(1, SIZE));
    assert_eq!(reply.header("accept-ranges"), Some("bytes"));
    assert_eq!(reply.header("content-range"), None);
    let etag = reply.header("etag").unwrap();
    assert!(etag.starts_with('"') && etag.len() > 10, "{etag}");
    assert!(reply.header("last-modified").is_some() && reply.header("date").is_some());
}

#[test]
fn a_range_is_sent_and_nothing_else() {
    let bench = film();
    let path = bench.file("film.mkv");
    let all = bytes(1, SIZE);
    let table = [
        ("bytes=0-", 206, 0..SIZE, "bytes 0-299999/300000"),
        ("bytes=5-9", 206, 5..10, "bytes 5-9/300000"),
        ("bytes=299999-", 206, SIZE - 1..SIZE, "bytes 299999-299999/300000"),
        ("bytes=-7", 206, SIZE - 7..SIZE, "bytes 299993-299999/300000"),
        ("bytes=-999999", 206, 0..SIZE, "bytes 0-299999/300000"),
        ("bytes=300000-", 416, 0..0, "bytes */300000"),
        ("bytes=-0", 416, 0..0, "bytes */300000"),
        ("bytes=0-1,5-6", 200, 0..SIZE, ""),
        ("bytes=9-5", 200, 0..SIZE, ""),
        ("lines=1-2", 200, 0..SIZE, ""),
    ];
    let mut client = bench.connect();
    for (range, status, part, content_range) in table {
        let reply = client.ask("GET", &path, &format!("Range: {range}\r\n"));
        assert_eq!(reply.status, status, "{range}");
        assert!(reply.body == all[part], "{range}");
        assert_eq!(reply.header("content-range").unwrap_or_default(), content_range, "{range}");
    }
    let twice = client.ask("GET", &path, "Range: bytes=0-1\r\nRange: bytes=2-3\r\n");
    assert_eq!((twice.status, twice.body.len()), (200, SIZE));
}

#[test]
fn if_range_gives_the_rest_of_the_version_it_names_and_else_the_whole() {
    let bench = film();
    let path = bench.file("film.mkv");
    let first = bench.get(&path, "");
    let etag = first.header("etag").unwrap();
    let date = first.header("last-modified").unwrap();
    let table = [
        (etag.to_owned(), 206),
        // The time was set back, so that it proves nothing.
        (date.to_owned(), 200),
        (format!("W/{etag}"), 200),
        (etag.trim_matches('"').to_owned(), 200),
        ("\"another\"".to_owned(), 200),
        ("Thu, 01 Jan 2015 00:00:00 GMT".to_owned(), 200),
        ("*".to_owned(), 200),
    ];
    for (if_range, status) in table {
        let headers = format!("Range: bytes=10-\r\nIf-Range: {if_range}\r\n");
        assert_eq!(bench.get(&path, &headers).status, status, "{if_range}");
    }
    // A range past the end of a version that is gone is no 416.
    let past = "Range: bytes=999999-\r\nIf-Range: \"another\"\r\n";
    assert_eq!(bench.get(&path, past).status, 200);
    assert_eq!(bench.get(&path, &format!("If-Range: {etag}\r\n")).status, 200);
}

#[test]
fn a_replaced_file_has_another_etag_and_no_range_of_the_old_one() {
    let bench = film();
    let path = bench.file("film.mkv");
    let etag = bench.get(&path, "").header("etag").unwrap().to_owned();
    // As large and as old: only the inode differs.
    put(&bench.path("new"), &bytes(2, SIZE));
    let old = fs::metadata(bench.path("film.mkv")).unwrap().modified().unwrap();
    let new = fs::File::options().write(true).open(bench.path("new")).unwrap();
    new.set_modified(old).unwrap();
    fs::rename(bench.path("new"), bench.path("film.mkv")).unwrap();
    bench.settled(&path, "");
    let reply = bench.get(&path, &format!("Range: bytes=10-\r\nIf-Range: {etag}\r\n"));
    assert_eq!(reply.status, 200);
    assert_ne!(reply.header("etag"), Some(etag.as_str()));
    assert!(reply.body == bytes(2, SIZE));
}

#[test]
fn a_file_that_has_just_changed_is_asked_for_again_two_seconds_later() {
    let bench = film();
    let path = bench.file("film.mkv");
    type Change = fn(&Bench);
    let changes: [Change; 4] = [
        |bench| put_aged(&bench.path("film.mkv"), b"0123456789", Duration::ZERO),
        // The times of these are an hour old, but for ctime.
        |bench| put(&bench.path("film.mkv"), b"0123456789"),
        |bench| edit(&bench.path("film.mkv"), b"9876543210"),
        |bench| fs::hard_link(bench.path("film.mkv"), bench.path("link.mkv")).unwrap(),
    ];
    for change in changes {
        bench.settled(&path, "");
        // On a loaded machine the second may be over before it is asked for.
        for (method, headers) in [("GET", ""), ("HEAD", ""), ("GET", "Range: bytes=1-2\r\n")] {
            let _ = fs::remove_file(bench.path("link.mkv"));
            let reply = until(|| {
                let _ = fs::remove_file(bench.path("link.mkv"));
                change(&bench);
                let reply = bench.connect().ask(method, &path, headers);
                (reply.status == 503).then_some(reply)
            });
            assert_eq!(reply.header("retry-after"), Some("2"));
            assert_eq!(reply.header("etag"), None);
        }
    }
}

#[test]
fn head_answers_as_get_would_without_a_body_and_without_a_range() {
    let bench = film();
    let path = bench.file("film.mkv");
    let mut client = bench.connect();
    let got = client.ask("GET", &path, "");
    for headers in ["", "Range: bytes=5-\r\n"] {
        let head = client.ask("HEAD", &path, headers);
        assert_eq!((head.status, head.header("content-length")), (200, Some("300000")));
        assert_eq!(head.header("etag"), got.header("etag"));
        assert_eq!(head.header("content-range"), None);
    }
    assert_eq!(client.ask("HEAD", "/handshake", "").header("content-length"), Some("19"));
    // The connection is still in step.
    assert_eq!(client.ask("GET", "/handshake", "").body, br#"{"version":"0.1.0"}"#);
}

#[test]
fn pipelined_requests_are_answered_in_order_and_the_placeholder_never_reaches_the_wire() {
    // Every byte of these files is set; what hyper is shown instead of them is zeroes.
    let content = |seed: u8| vec![seed; SIZE];
    let bench = Bench::of(|films| {
        for seed in 1..=4 {
            put(&films.join(format!("{seed}.mkv")), &content(seed));
        }
    });
    let paths: Vec<String> = (1..=4).map(|seed| bench.file(&format!("{seed}.mkv"))).collect();
    let mut client = bench.connect();
    for path in &paths {
        client.send("GET", path, "");
        client.send("HEAD", path, "");
        client.send("GET", path, "Range: bytes=-3\r\n");
        client.send("GET", "/handshake", "");
    }
    for seed in 1..=4 {
        assert!(client.reply(false).unwrap().body == content(seed));
        assert_eq!(client.reply(true).unwrap().status, 200);
        assert_eq!(client.reply(false).unwrap().body, [seed; 3]);
        assert_eq!(client.reply(false).unwrap().body, br#"{"version":"0.1.0"}"#);
    }
}

#[test]
fn an_empty_file_is_sent_and_has_no_ranges() {
    let bench = Bench::film(b"");
    let path = bench.file("film.mkv");
    let whole = bench.get(&path, "");
    assert_eq!((whole.status, whole.header("content-length")), (200, Some("0")));
    let ranged = bench.get(&path, "Range: bytes=0-\r\n");
    assert_eq!((ranged.status, ranged.header("content-range")), (416, Some("bytes */0")));
}

#[test]
fn a_file_cut_or_changed_while_it_is_sent_closes_the_connection() {
    // Far more than the buffers of both sockets hold.
    const LARGE: u64 = 64 << 20;
    type Change = fn(&fs::File);
    let changes: [Change; 2] = [
        |file| file.set_len(1000).unwrap(),
        |file| std::os::unix::fs::FileExt::write_all_at(file, b"x", LARGE - 1).unwrap(),
    ];
    for change in changes {
        let bench = Bench::of(|films| {
            put(&films.join("film.mkv"), b"");
            let film = fs::File::options().write(true).open(films.join("film.mkv")).unwrap();
            film.set_len(LARGE).unwrap();
            age_to(&films.join("film.mkv"), Duration::from_secs(3600));
        });
        let path = bench.file("film.mkv");
        let mut client = bench.connect();
        client.send("GET", &path, "");
        client.head().unwrap();
        client.take(1000);
        change(&fs::File::options().write(true).open(bench.path("film.mkv")).unwrap());
        assert!((client.take(usize::MAX).len() as u64) < LARGE - 1000);
    }
}

#[test]
fn a_file_that_is_gone_is_404_and_a_folder_that_is_away_is_503() {
    let bench = film();
    let path = bench.file("film.mkv");
    let films = bench.path("");
    let away = bench.folder.path().join("away");
    fs::rename(&films, &away).unwrap();
    let reply = bench.get(&path, "");
    assert_eq!((reply.status, reply.code().as_str()), (503, "Unavailable"));
    // However often the folder is looked for meanwhile.
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(bench.get(&path, "").status, 503);
    fs::rename(&away, &films).unwrap();
    assert_eq!(bench.get(&path, "").status, 200);
    fs::remove_file(bench.path("film.mkv")).unwrap();
    assert_eq!(bench.get(&path, "").status, 404);
}

#[test]
fn a_file_swapped_for_a_link_or_a_pipe_is_not_opened() {
    let bench = Bench::of(|films| put(&films.join("a/film.mkv"), b"film"));
    let path = bench.file("film.mkv");
    let secret = bench.folder.path().join("secret");
    put(&secret.join("film.mkv"), b"secret");
    let is_gone = |what: &str| {
        let reply = bench.get(&path, "");
        assert_eq!((reply.status, reply.code().as_str()), (404, "NotFound"), "{what}");
    };
    fs::remove_file(bench.path("a/film.mkv")).unwrap();
    std::os::unix::fs::symlink(secret.join("film.mkv"), bench.path("a/film.mkv")).unwrap();
    is_gone("a link to the file");
    fs::remove_dir_all(bench.path("a")).unwrap();
    std::os::unix::fs::symlink(&secret, bench.path("a")).unwrap();
    is_gone("a link on the way");
    fs::remove_file(bench.path("a")).unwrap();
    fs::create_dir(bench.path("a")).unwrap();
    let made = std::process::Command::new("mkfifo").arg(bench.path("a/film.mkv")).status();
    assert!(made.unwrap().success());
    is_gone("a pipe");
}

#[test]
fn no_id_is_a_path() {
    let bench = film();
    put(&bench.folder.path().join("secret.mkv"), b"secret");
    let ids = [
        "film.mkv",
        "..",
        ".",
        "%2e%2e",
        "..%2fsecret.mkv",
        "..%2Fsecret.mkv",
        "%2Fetc%2Fpasswd",
        "film.mkv%00",
        "..%5csecret.mkv",
        "%252e%252e%252fsecret.mkv",
        "%ff",
    ];
    for id in ids {
        for path in [format!("/peer/items/{id}/file"), format!("/peer/items/{id}")] {
            let reply = bench.get(&path, "");
            assert_eq!((reply.status, reply.code().as_str()), (404, "NotFound"), "{path}");
        }
    }
    for path in ["/peer/items/../../secret.mkv", "//peer/items", "/films/film.mkv", "/"] {
        assert_eq!(bench.get(path, "").status, 404, "{path}");
    }
}

#[test]
fn an_item_is_found_by_what_its_names_tell_and_new_ones_appear() {
    let bench = Bench::of(|films| put(&films.join("Film (2020) {imdb-tt0000042} {tmdb-7}/Film.mkv"), b"film"));
    let found = bench.search("imdbId=tt0000042");
    assert_eq!(found[0]["category"], 2000);
    assert_eq!(found[0]["imdbId"], "tt0000042");
    let id = found[0]["id"].as_str().unwrap();
    let item = bench.get(&format!("/peer/items/{id}"), "");
    assert_eq!(serde_json::from_slice::<serde_json::Value>(&item.body).unwrap()["title"], "Film");
    assert!(bench.search("tvdbId=9").is_empty());
    let bad = bench.get("/peer/search?season=x", "");
    assert_eq!((bad.status, bad.code().as_str()), (400, "BadRequest"));
    put(&bench.path("Show {tvdb-9}/Show S02E03.mkv"), b"show");
    let found = until(|| bench.search("tvdbId=9&season=2&episode=3").pop());
    assert_eq!(found["category"], 5000);
}

#[test]
fn a_search_and_an_unknown_id_have_the_folders_looked_through() {
    let mut bench = Bench::film(b"film");
    put(&bench.path("new.mkv"), b"new");
    let id = until(|| bench.search("").into_iter().find(|item| item["filename"] == "new.mkv"));
    let id = id["id"].as_str().unwrap().to_owned();
    std::fs::remove_file(bench.path("new.mkv")).unwrap();
    bench.stop();
    bench.start(How { looks_by_itself: false, ..How::default() });
    assert_eq!(bench.get(&format!("/peer/items/{id}"), "").status, 404);
    put(&bench.path("new.mkv"), b"new");
    until(|| (bench.get(&format!("/peer/items/{id}"), "").status == 200).then_some(()));
    put(&bench.path("newer.mkv"), b"newer");
    until(|| (bench.search("").len() == 3).then_some(()));
}
