//! Downloads by the API: added, watched, cancelled, taken up again, removed.

use crate::support::{Bench, KEY, until};
use regrip_core::Algorithm;
use regrip_core::hasher::Hasher;
use regrip_core::host::Host;
use regrip_core::ledger::Ledger;
use regrip_core::record::{Change, Failure, NewDownload};
use regrip_core::time::Clock;
use regrip_core::{OnExists, Source};
use regrip_faultd::faults::{Cut, Stall, Status};
use regrip_faultd::{Content, FileScript, Script, Server, Version};
use serde_json::json;

const SIZE: u64 = 300_000;

fn film() -> Version {
    Version::new(1, SIZE).etag("\"v1\"")
}

fn serving(script: FileScript) -> Server {
    Server::start(Script::one("/film.mkv", script)).unwrap()
}

fn until_it_stalls(bench: &Bench, id: i64) {
    until(|| {
        let download = bench.json(&format!("/api/downloads/{id}"));
        (download["downloaded_bytes"] == 100_000).then_some(())
    });
}

fn assert_whole(bench: &Bench, name: &str) {
    let bytes = std::fs::read(bench.file(name)).unwrap();
    assert!(bytes == Content::new(1, SIZE).bytes(0..SIZE), "{name}");
}

#[test]
fn a_folder_is_below_the_completed_one_and_never_a_link() {
    let bench = Bench::new();
    let source = serving(FileScript::honest(film()));
    let outside = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(outside.path(), bench.file("link")).unwrap();
    std::fs::write(bench.file("file"), "a file").unwrap();
    let add = |folder: &str| {
        bench.post("/api/downloads", &json!({ "url": source.url("/film.mkv"), "folder": folder }).to_string())
    };
    let too_deep = ["a"; 100].join("/");
    for folder in
        ["", "..", ".", "/etc", "../up", "a/../../b", "a/", "a//b", "a\u{0}", "link", "link/below", "file", &too_deep]
    {
        let reply = add(folder);
        assert_eq!((reply.status, reply.code().as_str()), (400, "FolderRefused"), "{folder:?}");
        assert_eq!(reply.json()["error"]["field"], "folder", "{folder:?}");
    }
    assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 0);
    assert_eq!(bench.json("/api/downloads")["downloads"], json!([]));
    let reply = add("films/4k");
    assert_eq!(reply.status, 201, "{}", reply.text());
    bench.until(reply.json()["id"].as_i64().unwrap(), "completed");
    assert_whole(&bench, "films/4k/film.mkv");
    let batch = json!({ "downloads": [{ "url": source.url("/film.mkv"), "folder": "batch" }] }).to_string();
    assert_eq!(bench.post("/api/batch", &batch).json()["added"], 1);
    until(|| bench.file("batch/film.mkv").exists().then_some(()));
}

#[test]
fn a_url_becomes_a_file_in_the_completed_folder_with_its_timeline() {
    let bench = Bench::new();
    let source = serving(FileScript::honest(film()).answer([Cut::after(100_000)]));
    let bytes = Content::new(1, SIZE).bytes(0..SIZE);
    let sha512 = Hasher::of(Algorithm::Sha512, &bytes);
    let body = json!({
        "url": source.url("/film.mkv?token=secret"),
        "sha256": Content::new(1, SIZE).sha256(),
        "checksum": [sha512.to_string()],
    })
    .to_string();
    let reply = bench.post("/api/downloads", &body);
    assert_eq!(reply.status, 201, "{}", reply.text());
    let added = reply.json();
    let id = added["id"].as_i64().unwrap();
    assert_eq!(reply.header("location"), Some(format!("/api/downloads/{id}").as_str()));
    assert_eq!((&added["kind"], &added["filename"]), (&json!("url"), &json!("film.mkv")));
    let done = bench.until(id, "completed");
    assert_whole(&bench, "film.mkv");
    assert_eq!(done["sha256_got"], Content::new(1, SIZE).sha256());
    assert_eq!(
        done["digests"][1],
        json!({ "algorithm": "sha512", "source": "caller", "wanted": sha512.hex, "got": sha512.hex })
    );
    assert_eq!((&done["attempts"], &done["downloaded_bytes"]), (&json!(2), &json!(SIZE)));

    let timeline = bench.json(&format!("/api/downloads/{id}/timeline"));
    let attempts = timeline["attempts"].as_array().unwrap();
    assert_eq!(attempts.len(), 2);
    assert_eq!((&attempts[0]["outcome"], &attempts[0]["class"]), (&json!("failed"), &json!("transient")));
    assert_eq!((&attempts[1]["outcome"], &attempts[1]["offset_from"]), (&json!("completed"), &json!(100_000)));

    for path in ["/api/downloads", &format!("/api/downloads/{id}"), "/metrics", "/api/peers"] {
        let text = bench.get(path).text();
        assert!(!text.contains("secret") && !text.contains(KEY), "{path}: {text}");
    }
}

#[test]
fn the_same_url_again_is_the_same_download_and_another_one_for_its_file_is_refused() {
    let bench = Bench::new();
    let source = Server::start(
        Script::one("/film.mkv", FileScript::honest(film()).answer([Stall::after(100_000)]))
            .file("/other/film.mkv", FileScript::honest(film())),
    )
    .unwrap();
    let id = bench.add(&source.url("/film.mkv"));
    let body = json!({ "url": source.url("/film.mkv") }).to_string();
    let again = bench.post("/api/downloads", &body);
    assert_eq!((again.status, again.json()["id"].as_i64()), (200, Some(id)));
    let body = json!({ "url": source.url("/other/film.mkv") }).to_string();
    let busy = bench.post("/api/downloads", &body);
    assert_eq!((busy.status, busy.code().as_str()), (409, "DestinationBusy"));
    // Under another name it is welcome.
    let body = json!({ "url": source.url("/other/film.mkv"), "filename": "other.mkv" }).to_string();
    let other = bench.post("/api/downloads", &body);
    assert_eq!(other.status, 201);
    bench.until(other.json()["id"].as_i64().unwrap(), "completed");
    assert_whole(&bench, "other.mkv");
}

#[test]
fn a_finished_download_that_is_added_again_is_not_fetched_again() {
    let bench = Bench::new();
    let source = serving(FileScript::honest(film()));
    let id = bench.add(&source.url("/film.mkv"));
    bench.until(id, "completed");
    smol::block_on(bench.control.ended(id));
    let body = json!({ "url": source.url("/film.mkv") }).to_string();
    let again = bench.post("/api/downloads", &body);
    assert_eq!((again.status, again.json()["id"].as_i64()), (200, Some(id)));
    assert_eq!(source.log().len(), 1);
    std::fs::remove_file(bench.file("film.mkv")).unwrap();
    let anew = bench.post("/api/downloads", &body);
    assert_eq!(anew.status, 201);
}

#[test]
fn a_download_is_called_off_with_its_bytes_kept_and_taken_up_from_them() {
    let bench = Bench::new();
    let source = serving(FileScript::honest(film()).answer([Stall::after(100_000)]));
    let id = bench.add(&source.url("/film.mkv"));
    until_it_stalls(&bench, id);
    let path = |what: &str| format!("/api/downloads/{id}/{what}");
    let refused = bench.ask("POST", &path("retry"));
    assert_eq!((refused.status, refused.code().as_str()), (409, "WrongState"));
    let cancelled = bench.post(&path("cancel"), "{}");
    assert_eq!((cancelled.status, &cancelled.json()["status"]), (200, &json!("cancelled")));
    assert_eq!(cancelled.json()["downloaded_bytes"], 100_000);
    assert!(bench.file("film.mkv.part").exists());
    let again = bench.ask("POST", &path("cancel"));
    assert_eq!((again.status, again.code().as_str()), (409, "WrongState"));
    let retried = bench.ask("POST", &path("retry"));
    assert_eq!(retried.status, 200, "{}", retried.text());
    bench.until(id, "completed");
    assert_whole(&bench, "film.mkv");
    let ranges: Vec<_> = source.log().into_iter().map(|entry| entry.range).collect();
    assert_eq!(ranges, [None, Some("bytes=100000-".to_owned())]);
    assert_eq!(bench.ask("POST", &path("retry")).status, 409);
}

#[test]
fn a_download_is_paused_with_its_bytes_kept_and_resumed_from_them() {
    let bench = Bench::new();
    let source = serving(FileScript::honest(film()).answer([Stall::after(100_000)]));
    let id = bench.add(&source.url("/film.mkv"));
    until_it_stalls(&bench, id);
    let path = |what: &str| format!("/api/downloads/{id}/{what}");
    let conflicts = |what: &str| {
        let refused = bench.ask("POST", &path(what));
        assert_eq!((refused.status, refused.code().as_str()), (409, "WrongState"), "{what}");
    };
    conflicts("resume");
    let paused = bench.post(&path("pause"), "{}");
    assert_eq!((paused.status, &paused.json()["status"]), (200, &json!("paused")), "{}", paused.text());
    assert_eq!((&paused.json()["downloaded_bytes"], bench.control.drives_count()), (&json!(100_000), 0));
    conflicts("pause");
    conflicts("retry");
    assert_eq!(bench.json("/api/downloads?status=paused")["downloads"][0]["id"], id);
    assert!(bench.get("/metrics").text().contains("regrip_downloads{status=\"paused\"} 1"));
    let resumed = bench.ask("POST", &path("resume"));
    assert_eq!(resumed.status, 200, "{}", resumed.text());
    bench.until(id, "completed");
    assert_whole(&bench, "film.mkv");
    let ranges: Vec<_> = source.log().into_iter().map(|entry| entry.range).collect();
    assert_eq!(ranges, [None, Some("bytes=100000-".to_owned())]);
    let attempts = bench.json(&path("timeline"));
    assert_eq!(
        (&attempts["attempts"][0]["outcome"], &attempts["attempts"][0]["code"]),
        (&json!("interrupted"), &json!(null))
    );
    conflicts("pause");
    conflicts("resume");
    for what in ["pause", "resume"] {
        assert_eq!(bench.ask("POST", &format!("/api/downloads/99/{what}")).status, 404);
    }
}

#[test]
fn a_download_that_is_added_paused_waits_for_its_resume() {
    let bench = Bench::new();
    let source = serving(FileScript::honest(film()));
    let add =
        |paused| bench.post("/api/downloads", &json!({ "url": source.url("/film.mkv"), "paused": paused }).to_string());
    let added = add(json!(true));
    assert_eq!((added.status, &added.json()["status"]), (201, &json!("paused")), "{}", added.text());
    let known = add(json!(true));
    assert_eq!((known.status, &known.json()["status"]), (200, &json!("paused")), "{}", known.text());
    assert_eq!(source.log().len(), 0);
    let wrong = add(json!("yes"));
    assert_eq!(wrong.status, 400, "{}", wrong.text());
    // Asking for it again without `paused` resumes it.
    assert_eq!(add(json!(null)).status, 200);
    bench.until(added.json()["id"].as_i64().unwrap(), "completed");
    assert_whole(&bench, "film.mkv");
    assert_eq!(add(json!(true)).json()["status"], "completed");
}

#[test]
fn removing_a_running_download_calls_it_off_and_takes_its_part_along() {
    let bench = Bench::new();
    let source = serving(FileScript::honest(film()).answer([Stall::after(100_000)]));
    let id = bench.add(&source.url("/film.mkv"));
    until_it_stalls(&bench, id);
    let path = format!("/api/downloads/{id}");
    let removed = bench.ask("DELETE", &path);
    assert_eq!((removed.status, removed.body.len()), (204, 0));
    assert!(!bench.file("film.mkv.part").exists());
    for (method, path) in [
        ("DELETE", path.clone()),
        ("GET", path.clone()),
        ("GET", format!("{path}/timeline")),
        ("POST", format!("{path}/retry")),
        ("POST", format!("{path}/cancel")),
    ] {
        let reply = bench.ask(method, &path);
        assert_eq!((reply.status, reply.code().as_str()), (404, "NoSuchDownload"));
    }
    // Its destination is free again.
    let anew = bench.add(&source.url("/film.mkv"));
    assert_ne!(anew, id);
    bench.until(anew, "completed");
    assert_eq!(bench.ask("DELETE", &format!("/api/downloads/{anew}")).status, 204);
    assert_whole(&bench, "film.mkv");
}

#[test]
fn a_mirror_takes_over_and_what_is_no_url_is_refused() {
    let bench = Bench::new();
    let script = Script::one("/film.mkv", FileScript::honest(film()).then([Status::code(404)]));
    let source = Server::start(script.file("/mirror", FileScript::honest(film()))).unwrap();
    let [url, mirror] = ["/film.mkv", "/mirror"].map(|path| source.url(path));
    let add = |mirrors: serde_json::Value| {
        bench.post("/api/downloads", &json!({ "url": url, "mirrors": mirrors }).to_string())
    };
    let with_login = mirror.replace("http://", "http://me:hunter2@");
    for (mirrors, why) in [
        (json!(["ftp://host/a"]), "ftp://host/a"),
        (json!(["hunter2"]), "a string of 7 characters"),
        (json!([with_login]), ""),
        (json!("http://host/a"), "expected a sequence"),
        (json!([1]), "expected a string"),
    ] {
        let reply = add(mirrors);
        assert_eq!(reply.status, 400, "{}", reply.text());
        assert!(reply.text().contains(why) && !reply.text().contains("hunter2"), "{}", reply.text());
    }
    let reply = add(json!([format!("{mirror}?token=secret")]));
    assert_eq!((reply.status, &reply.json()["mirrors"]), (201, &json!([mirror])), "{}", reply.text());
    let done = bench.until(reply.json()["id"].as_i64().unwrap(), "completed");
    assert_whole(&bench, "film.mkv");
    assert_eq!((&done["url"], &done["mirrors"]), (&json!(mirror), &json!([])), "the first one is gone");
}

#[test]
fn ids_that_are_none_name_no_download() {
    let bench = Bench::new();
    for id in ["0", "-1", "01", "x", "1.0", "99999999999999999999", "%31%00"] {
        let reply = bench.get(&format!("/api/downloads/{id}"));
        assert_eq!((reply.status, reply.code().as_str()), (404, "NoSuchDownload"), "{id}");
    }
}

/// A row whose requests need a header that nobody here has.
fn needing_a_header(bench: &Bench) -> i64 {
    let part = bench.file("secret.mkv.part").display().to_string();
    let new = NewDownload {
        source: Source::Url { url: "http://127.0.0.1:9/secret.mkv".to_owned() },
        mirrors: Vec::new(),
        header_names: vec!["authorization".to_owned(), "x-token".to_owned()],
        destination: bench.file("secret.mkv").display().to_string(),
        part,
        on_exists: OnExists::Overwrite,
        release_size: None,
        digests: Vec::new(),
        adopt: false,
    };
    let ledger = bench.control.ledger();
    let at = bench.control.engine().host().clock().wall();
    smol::block_on(ledger.insert(&new, at)).unwrap()
}

#[test]
fn a_download_whose_headers_are_not_known_is_neither_retried_nor_driven() {
    let bench = Bench::new();
    let id = needing_a_header(&bench);
    let failure = Failure {
        class: regrip_core::Class::Permanent,
        code: regrip_core::ErrorCode::Status,
        text: "the server answered 401".to_owned(),
    };
    let at = bench.control.engine().host().clock().wall();
    smol::block_on(bench.control.ledger().record(id, &Change::Failed(failure), at)).unwrap();
    let reply = bench.ask("POST", &format!("/api/downloads/{id}/retry"));
    assert_eq!((reply.status, reply.code().as_str()), (409, "CredentialsMissing"));
    assert!(reply.text().contains("authorization, x-token"));

    let other = needing_a_header(&bench);
    bench.control.drive(other);
    let failed = bench.until(other, "failed");
    assert_eq!((&failed["error_code"], &failed["attempts"]), (&json!("CredentialsMissing"), &json!(0)));
}
