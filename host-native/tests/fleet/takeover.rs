//! A worker is killed, stopped, cut off from the database or ends: another one goes on with what it had, and every file is
//! delivered once.

use crate::house::wait_until;
use crate::support::{Fleet, KEY, Proxy, SIZE, Worker, eventually};
use regrip_faultd::faults::Status;
use regrip_faultd::{FileScript, Script, Server, Version};
use serde_json::{Value, json};
use std::time::Duration;

/// Who has the download, and until it is nobody's.
fn owner(fleet: &Fleet) -> String {
    fleet.schema.execute("SELECT coalesce(owner, '') FROM downloads")
}

/// A worker drives a slow download and has bytes of it; the other one has nothing to do.
fn two(fleet: &Fleet, first: Worker) -> (Worker, Worker) {
    first.add(fleet, 0);
    wait_until("bytes are there", || fleet.part_bytes("0.mkv") > 300_000);
    assert_eq!(owner(fleet), first.id());
    (first, fleet.worker())
}

/// The file was fetched in several requests, each of which went on from bytes of those before. On a loaded machine a worker may be
/// late with its lease, so there may be more than two.
fn assert_resumed(fleet: &Fleet) {
    fleet.wait_for(0);
    let ranges = fleet.ranges(0);
    let from = |range: &Option<String>| range.as_deref()?.strip_prefix("bytes=")?.trim_end_matches('-').parse().ok();
    let goes_on = |range: &Option<String>| from(range).is_some_and(|from: u64| (300_000..SIZE).contains(&from));
    assert!(ranges.len() > 1 && ranges[1..].iter().all(goes_on), "{ranges:?}");
    assert_eq!(fleet.schema.execute("SELECT count(*) FROM downloads"), "1");
}

#[test]
fn another_worker_goes_on_after_a_kill() {
    let fleet = Fleet::new(1, 1_000_000);
    let (first, second) = two(&fleet, fleet.worker());
    let lost = first.id();
    first.served.kill();
    wait_until("the other one has it", || owner(&fleet) == second.id());
    let workers = second.get("/api/workers");
    let state = |id: &str| {
        let workers = workers["workers"].as_array().unwrap();
        workers.iter().find(|worker| worker["id"] == id).unwrap()["state"].clone()
    };
    assert_eq!((state(&lost), state(&second.id())), ("lost".into(), "working".into()));
    assert_resumed(&fleet);
    fleet.assert_clean();
}

#[test]
fn a_worker_that_was_stopped_for_longer_than_its_lease_writes_nothing_more() {
    let fleet = Fleet::new(1, 700_000);
    let (first, second) = two(&fleet, fleet.worker());
    first.served.signal("STOP");
    wait_until("the other one has it", || owner(&fleet) == second.id());
    let before = fleet.schema.execute("SELECT token FROM downloads");
    // The stopped one has the part locked. It goes on while the other one is in the middle of the file.
    let bytes = fleet.part_bytes("0.mkv");
    wait_until("the other one writes", || fleet.part_bytes("0.mkv") > bytes + 300_000);
    first.served.signal("CONT");
    first.served.log.wait_for("its lease is lost");
    assert_resumed(&fleet);
    // Nothing failed.
    let metrics = first.get("/metrics");
    let failed = r#"regrip_downloads_ended_total{class="permanent"} 0"#;
    assert!(metrics.as_str().is_some_and(|text| text.contains(failed)), "{metrics}");
    assert_eq!(first.served.log.count(" failed "), 0, "{}", first.served.log.text());
    let outcomes = "SELECT string_agg(coalesce(line->>'outcome', 'open') || ':' || coalesce(line->>'error', ''), ',' ORDER BY attempt)
        FROM attempts";
    let outcomes = fleet.schema.execute(outcomes);
    assert!(outcomes.starts_with("lost:") && outcomes.ends_with("completed:"), "{outcomes}");
    assert_eq!(outcomes.matches("completed").count(), 1, "{outcomes}");
    assert_ne!(fleet.schema.execute("SELECT token FROM downloads"), before, "the end of a claim takes a token");
    // It is a worker like any other again.
    first.get("/api/workers");
    fleet.assert_clean();
}

#[test]
fn a_worker_that_is_cut_off_from_the_database_stops_before_its_lease_ends() {
    let fleet = Fleet::new(1, 500_000);
    let (proxy, through) = Proxy::of(&fleet.schema.url());
    let (first, second) = two(&fleet, Worker::start(fleet.house(&through)));
    proxy.cut(true);
    wait_until("the other one has it", || owner(&fleet) == second.id());
    // The origin sends to one of them only.
    let log = fleet.origin.log();
    assert!(log[0].peer_closed, "{log:?}");
    eventually("it is not ready", || match first.served.ask("GET", "/ready") {
        (503, _) => Ok(()),
        other => Err(format!("{other:?}")),
    });
    proxy.cut(false);
    assert_resumed(&fleet);
    eventually("it is back", || match first.served.ask_with("/api/workers", &[("X-Api-Key", "hush")]) {
        (200, _) => Ok(()),
        other => Err(format!("{other:?}")),
    });
    fleet.assert_clean();
}

#[test]
fn a_worker_that_ends_gives_its_downloads_back_at_once() {
    // Far longer than any test waits.
    let fleet = Fleet { lease: Duration::from_secs(3600), ..Fleet::new(1, 1_000_000) };
    let (first, second) = two(&fleet, fleet.worker());
    first.served.stop();
    assert_resumed(&fleet);
    let workers = second.get("/api/workers");
    assert_eq!(workers["workers"].as_array().map(Vec::len), Some(1), "{workers}");
    fleet.assert_clean();
}

#[test]
fn a_cancel_at_one_worker_ends_the_download_of_another_one() {
    let fleet = Fleet::new(1, 200_000);
    let (first, second) = two(&fleet, fleet.worker());
    let shown = second.get("/api/downloads/1");
    assert_eq!(shown["worker"], first.id());
    let (status, body) = second.post("/api/downloads/1/cancel", &serde_json::json!({}));
    assert!((200..300).contains(&status), "{status}: {body}");
    wait_until("the connection is closed", || fleet.origin.log()[0].peer_closed);
    assert_eq!(second.get("/api/downloads/1")["status"], "cancelled");
    let (status, body) = first.post("/api/downloads/1/retry", &serde_json::json!({}));
    assert!((200..300).contains(&status), "{status}: {body}");
    wait_until("it is driven again", || !owner(&fleet).is_empty());
}

#[test]
fn a_removal_at_one_worker_waits_for_the_worker_that_drives_the_download() {
    let fleet = Fleet { lease: Duration::from_secs(60), ..Fleet::new(1, 200_000) };
    let (first, second) = two(&fleet, fleet.worker());
    first.served.signal("STOP");
    let (status, body) = std::thread::scope(|scope| {
        let key = [("X-Api-Key", KEY)];
        let removal = scope.spawn(move || second.served.exchange_body("DELETE", "/api/downloads/1", &key, ""));
        wait_until("it is to end", || fleet.schema.execute("SELECT status FROM downloads") == "cancelled");
        first.served.signal("CONT");
        removal.join().expect("it is answered")
    });
    assert_eq!(status, 204, "{body}");
    assert_eq!(fleet.schema.execute("SELECT count(*) FROM downloads"), "0");
    wait_until("the connection is closed", || fleet.origin.log()[0].peer_closed);
    fleet.assert_clean();
}

/// Kills and pauses of random workers, by a seed. `REGRIP_FLEET_FAULTS=100 REGRIP_FLEET_FILES=200` for many of them.
#[test]
fn whatever_happens_to_workers_each_file_is_delivered_once() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let files = number("REGRIP_FLEET_FILES").unwrap_or(20);
    let faults = number("REGRIP_FLEET_FAULTS").unwrap_or(8);
    let seed = number("REGRIP_FLEET_SEED").unwrap_or_else(|| u64::from(std::process::id()));
    println!("REGRIP_FLEET_SEED={seed}");
    // So slow that there is something left to do until the last fault, a few seconds after the one before.
    let fleet = Fleet::new(files, SIZE * files / (20 * faults.max(1)));
    let mut workers = [fleet.worker(), fleet.worker(), fleet.worker()];
    let urls = (0..files).map(|number| json!({ "url": fleet.origin.url(&format!("/{number}.mkv")) }));
    let (status, added) = workers[0].post("/api/batch", &json!({ "downloads": urls.collect::<Vec<_>>() }));
    assert_eq!((status, added["added"].as_u64()), (200, Some(files)), "{added}");
    let mut state = seed;
    // A linear congruential generator; its high bits are random enough.
    let mut draw = |below: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    for _ in 0..faults {
        std::thread::sleep(Duration::from_millis(draw(700))); // the moment of a fault is what is drawn
        let victim = draw(3) as usize;
        if draw(2) == 0 {
            let killed = std::mem::replace(&mut workers[victim], fleet.worker());
            killed.served.kill();
        } else {
            workers[victim].served.signal("STOP");
            std::thread::sleep(Duration::from_millis(draw(2 * fleet.lease.as_millis() as u64)));
            workers[victim].served.signal("CONT");
        }
    }
    wait_until("all are complete", || {
        fleet.schema.execute("SELECT count(*) FROM downloads WHERE status <> 'completed'") == "0"
    });
    (0..files).for_each(|number| fleet.assert_is(number));
    let twice = "SELECT string_agg(download_id::text, ',') FROM (SELECT download_id FROM attempts
        WHERE line->>'outcome' = 'completed' GROUP BY download_id HAVING count(*) > 1) twice";
    assert_eq!(fleet.schema.execute(twice), "");
    workers.into_iter().for_each(|worker| worker.served.stop());
    fleet.assert_clean();
}

#[test]
fn a_worker_whose_folder_is_gone_for_a_while_fails_nothing_and_says_what_it_waits_for() {
    let fleet = Fleet::new(1, 1_000_000);
    let worker = fleet.worker();
    worker.add(&fleet, 0);
    wait_until("bytes are there", || fleet.part_bytes("0.mkv") > 300_000);
    let (folder, elsewhere) = (fleet.folder.path(), fleet.folder.path().with_extension("unmounted"));
    std::fs::rename(folder, &elsewhere).unwrap();
    eventually("it is not ready", || match worker.served.ask("GET", "/ready") {
        (503, text) if text.contains("storage") => Ok(()),
        other => Err(format!("{other:?}")),
    });
    eventually("it is given back", || match owner(&fleet).as_str() {
        "" => Ok(()),
        other => Err(other.to_owned()),
    });
    assert_eq!(fleet.schema.execute("SELECT status FROM downloads"), "queued");
    eventually("it is listed as waiting", || {
        let listed = &worker.get("/api/workers")["workers"][0];
        match (&listed["state"], listed["trouble"].as_str()) {
            (state, Some(trouble)) if state == "waiting" && trouble.contains("completed folder") => Ok(()),
            _ => Err(listed.to_string()),
        }
    });
    std::fs::rename(&elsewhere, folder).unwrap();
    fleet.wait_for(0);
    assert_eq!(worker.get("/ready")["status"], "ready");
    fleet.assert_clean();
}

#[test]
fn a_download_whose_part_another_program_has_locked_is_not_claimed_again_and_again() {
    let fleet = Fleet::new(1, 0);
    let part = std::fs::File::create(fleet.path("0.mkv.part")).unwrap();
    part.lock().unwrap();
    let mut house = fleet.house(&fleet.schema.url());
    house.config["downloads"]["retryBaseDelayMs"] = 2000.into();
    house.config["downloads"]["retryMaxDelayMs"] = 4000.into();
    let worker = Worker::start(house);
    worker.add(&fleet, 0);
    let token = || fleet.schema.execute("SELECT token FROM downloads").parse::<u64>().unwrap();
    wait_until("it was claimed and given back", || token() > 1);
    std::thread::sleep(Duration::from_secs(3)); // how often it is claimed in this time is the question
    let tokens = token();
    assert!(tokens < 20, "{tokens} tokens in a few seconds");
    assert_eq!(fleet.schema.execute("SELECT status FROM downloads"), "queued");
    std::fs::remove_file(fleet.path("0.mkv.part")).unwrap();
    part.unlock().unwrap();
    fleet.wait_for(0);
    drop(worker);
}

/// Whoever failed it may be gone.
#[test]
fn a_download_that_failed_because_of_a_workers_machine_is_retried_by_the_next_one() {
    let fleet = Fleet::new(1, 0);
    fleet.worker().served.stop();
    let worker = fleet.worker();
    let (status, added) = worker.post("/api/downloads", &json!({ "url": fleet.origin.url("/0.mkv"), "paused": true }));
    assert_eq!(status, 201, "{added}");
    worker.served.stop();
    let failure = r#"{"class":"permanent","code":"Disk","text":"cannot write to it"}"#;
    fleet.schema.execute(&format!(
        "UPDATE downloads SET status = 'failed', record = jsonb_set(jsonb_set(record::jsonb, '{{status}}', '\"failed\"'),
            '{{failure}}', '{failure}')::json"
    ));
    let _worker = fleet.worker();
    fleet.wait_for(0);
}

#[test]
fn a_worker_that_ends_says_so_until_its_downloads_have_ended() {
    let fleet = Fleet::new(1, 500_000);
    let url = fleet.schema.url();
    let (proxy, through) = Proxy::of(&url);
    let worker = Worker::start(fleet.house(&through));
    worker.add(&fleet, 0);
    wait_until("bytes are there", || fleet.part_bytes("0.mkv") > 300_000);
    // The database does not take the end of the download.
    proxy.cut(true);
    worker.served.signal("TERM");
    eventually("it says that it ends", || match worker.served.ask("GET", "/ready") {
        (503, text) if text.contains("draining") => Ok(()),
        other => Err(format!("{other:?}")),
    });
}

#[test]
fn a_database_host_that_swallows_everything_is_passed() {
    let fleet = Fleet::new(1, 0);
    let url = fleet.schema.url();
    let (proxy, through) = Proxy::of(&url);
    let real = url.split(['@', '/']).nth(3).unwrap();
    let worker = Worker::start(fleet.house(&through.replace("/regrip?", &format!(",{real}/regrip?"))));
    proxy.cut(true);
    let state = |wanted: u16| {
        eventually(&format!("/ready answers {wanted}"), || match worker.served.ask("GET", "/ready") {
            (status, _) if status == wanted => Ok(()),
            other => Err(format!("{other:?}")),
        });
    };
    state(503);
    state(200);
    // The first who uses the connection for what is shown finds that it is dead.
    let download = json!({ "url": fleet.origin.url("/0.mkv") });
    wait_until("it is added", || matches!(worker.post("/api/downloads", &download).0, 200 | 201));
    fleet.wait_for(0);
}

#[test]
fn clocks_that_are_ten_minutes_off_end_no_lease_and_keep_none() {
    let check = |(first, second): (&str, &str), killed: bool| {
        let fleet = Fleet::new(1, 600_000);
        let first = fleet.worker_at(first);
        first.add(&fleet, 0);
        wait_until("bytes are there", || fleet.part_bytes("0.mkv") > 300_000);
        let own = first.id();
        let second = fleet.worker_at(second);
        if killed {
            first.served.kill();
            wait_until("the other one has it", || owner(&fleet) == second.id());
            return assert_resumed(&fleet);
        }
        // For longer than a lease.
        wait_until("it is complete", || {
            let owner = owner(&fleet);
            assert!(owner.is_empty() || owner == own, "{owner} has it");
            fleet.schema.execute("SELECT status FROM downloads") == "completed"
        });
        fleet.wait_for(0);
        assert_eq!(fleet.ranges(0).len(), 1);
        // It is known by the other one, whose clock says that it was completed in the past or in the future.
        second.add(&fleet, 0);
        assert_eq!(fleet.schema.execute("SELECT count(*) FROM downloads"), "1");
        fleet.assert_clean();
    };
    let offsets = ["+10m", "-10m"];
    std::thread::scope(|scope| {
        for pair in [(offsets[0], offsets[1]), (offsets[1], offsets[0])] {
            scope.spawn(move || check(pair, false));
            scope.spawn(move || check(pair, true));
        }
    });
}

#[test]
fn a_new_signature_of_a_url_goes_on_with_the_bytes_at_whichever_worker() {
    // The old signature has expired when it is asked for the rest, and then for the whole.
    let file = FileScript::honest(Version::new(0, SIZE).etag("\"0\"")).honest_answer();
    let file = file.answer([Status::code(403)]).answer([Status::code(403)]);
    let script = Script::one("/0.mkv", file).bytes_per_second(500_000);
    // No lease ends by itself, however slow this machine is.
    let lease = Duration::from_secs(60);
    let fleet = Fleet { origin: Server::start(script).unwrap(), lease, ..Fleet::new(0, 0) };
    let (first, second) = (fleet.worker(), fleet.worker());
    let add = |worker: &Worker, signature: u32| {
        let url = fleet.origin.url(&format!("/0.mkv?signature={signature}"));
        worker.post("/api/downloads", &json!({ "url": url }))
    };
    assert_eq!(add(&first, 1).0, 201);
    wait_until("bytes are there", || fleet.part_bytes("0.mkv") > 300_000);
    for worker in [&first, &second] {
        let (status, body) = add(worker, 2);
        assert_eq!(status, 409, "one of them drives it: {body}");
    }
    assert_eq!(first.post("/api/downloads/1/pause", &json!({})).0, 200);
    wait_until("it is nobody's", || owner(&fleet).is_empty());
    let mut added = (409, Value::Null);
    wait_until("its drive has ended", || {
        added = add(&second, 2);
        added.0 != 409
    });
    assert_eq!((added.0, &added.1["id"]), (200, &json!(1)), "{}", added.1);
    fleet.wait_for(0);
    let ranges = fleet.ranges(0);
    assert_eq!(ranges.len(), 4, "{ranges:?}");
    assert!(ranges[3] == ranges[1] && ranges[3] != ranges[0], "{ranges:?}");
}
