//! What workers share while all goes well.

use crate::house::wait_until;
use crate::support::{Fleet, Worker};
use serde_json::json;
use std::collections::HashSet;
use std::sync::Barrier;

#[test]
fn two_workers_share_the_work_and_deliver_each_file_once() {
    let fleet = Fleet::new(12, 20_000_000);
    let workers = [fleet.worker(), fleet.worker()];
    for number in 0..12 {
        workers[0].add(&fleet, number);
        workers[1].add(&fleet, number); // the same download
    }
    (0..12).for_each(|number| fleet.wait_for(number));
    let counts = (0..12).map(|number| fleet.ranges(number).len()).collect::<Vec<_>>();
    assert_eq!(counts, [1; 12]);
    let listed = workers[1].get("/api/downloads?status=completed");
    assert_eq!(listed["downloads"].as_array().map(Vec::len), Some(12));
    fleet.assert_clean();
}

#[test]
fn the_limit_of_an_origin_holds_for_all_workers_together() {
    let fleet = Fleet::new(4, 4_000_000);
    let worker = || {
        let mut house = fleet.house(&fleet.schema.url());
        house.config["downloads"]["maxConcurrentPerPeer"] = 1.into();
        Worker::start(house)
    };
    let workers = [worker(), worker()];
    (0..4).for_each(|number| workers[0].add(&fleet, number));
    let claimed = "SELECT count(*) FROM downloads WHERE owner IS NOT NULL";
    let (mut owners, mut most) = (HashSet::new(), 0);
    wait_until("all are complete", || {
        most = most.max(fleet.schema.execute(claimed).parse().unwrap());
        owners.insert(fleet.schema.execute("SELECT owner FROM origin_leases"));
        fleet.schema.execute("SELECT count(*) FROM downloads WHERE status = 'completed'") == "4"
    });
    assert_eq!(most, 1);
    (0..4).for_each(|number| fleet.assert_is(number));
    assert_eq!(fleet.schema.execute("SELECT count(*) FROM origin_leases"), "0");
}

#[test]
fn a_batch_is_added_once_even_if_two_workers_get_it_at_the_same_time() {
    let fleet = Fleet::new(0, 0);
    let paused = |worker: Worker| {
        let downloads = (0..3000).map(|number| json!({ "url": fleet.origin.url(&format!("/{number}.mkv")) }));
        let downloads: Vec<_> = downloads.collect();
        let (status, result) = worker.post("/api/batch", &json!({ "downloads": downloads }));
        assert_eq!(status, 200, "{result}");
        assert_eq!(result["refused"], 0, "{result}");
        (result["added"].as_u64().unwrap(), result["known"].as_u64().unwrap())
    };
    let workers = [fleet.worker(), fleet.worker()];
    let results: Vec<_> = std::thread::scope(|scope| {
        let added = workers.map(|worker| scope.spawn(|| paused(worker)));
        added.map(|added| added.join().unwrap()).into()
    });
    let added: u64 = results.iter().map(|(added, _)| added).sum();
    let known: u64 = results.iter().map(|(_, known)| known).sum();
    assert_eq!((added, known), (3000, 3000), "{results:?}");
    assert_eq!(fleet.schema.execute("SELECT count(*) FROM downloads"), "3000");
}

#[test]
fn a_worker_says_how_the_database_answers_and_whether_it_is_ready() {
    let fleet = Fleet::new(1, 0);
    let worker = fleet.worker();
    worker.add(&fleet, 0);
    fleet.wait_for(0);
    let metrics = worker.get("/metrics");
    let metrics = metrics.as_str().unwrap();
    let count = metrics.lines().find_map(|line| line.strip_prefix("regrip_ledger_request_seconds_count "));
    assert!(count.is_some_and(|count| count.parse::<u64>().unwrap() > 5), "{metrics}");
    assert!(metrics.contains(&format!("regrip_worker_info{{worker=\"{}\"}} 1", worker.id())), "{metrics}");
    assert_eq!(worker.get("/ready")["status"], "ready");
}

#[test]
fn two_workers_that_add_one_destination_at_the_same_moment_make_one_row() {
    let fleet = Fleet::new(0, 0);
    let (workers, barrier) = ([fleet.worker(), fleet.worker()], Barrier::new(2));
    std::thread::scope(|scope| {
        for worker in &workers {
            scope.spawn(|| {
                for number in 0..100 {
                    let download = json!({ "url": fleet.origin.url(&format!("/{number}.mkv")), "paused": true });
                    barrier.wait();
                    let (status, body) = worker.post("/api/downloads", &download);
                    assert!(matches!(status, 200 | 201), "{status}: {body}");
                }
            });
        }
    });
    assert_eq!(fleet.schema.execute("SELECT count(*) FROM downloads"), "100");
    // One that failed is not taken up beside another one of its destination.
    fleet.schema.execute(
        "UPDATE downloads SET status = 'paused' WHERE id = (SELECT min(id) FROM downloads);
        INSERT INTO downloads (record, status, dest_path, url, origin, created_at, updated_at, revision, nonce)
        SELECT jsonb_set(record::jsonb, '{status}', '\"failed\"')::json, 'failed', dest_path, url, origin, now(), now(), 0, 0
        FROM downloads WHERE id = (SELECT min(id) FROM downloads)",
    );
    let newest = fleet.schema.execute("SELECT max(id) FROM downloads");
    let (status, refused) = workers[0].post(&format!("/api/downloads/{newest}/retry"), &json!({}));
    assert_eq!((status, &refused["error"]["code"]), (409, &json!("DestinationBusy")), "{refused}");
}

/// How often a worker asked the database so far.
fn asked(worker: &Worker) -> u64 {
    let metrics = worker.get("/metrics");
    let lines = metrics.as_str().unwrap().lines();
    let count = lines.filter_map(|line| line.strip_prefix("regrip_ledger_request_seconds_count ")).next();
    count.unwrap().parse().unwrap()
}

#[test]
fn what_others_add_and_change_does_not_have_a_worker_read_what_it_drives() {
    let fleet = Fleet::new(3, 100_000);
    let busy = fleet.worker();
    (0..3).for_each(|number| busy.add(&fleet, number));
    wait_until("it drives them", || {
        fleet.schema.execute("SELECT count(*) FROM downloads WHERE owner IS NOT NULL") == "3"
    });
    let other = fleet.worker();
    let (before, begun) = (asked(&busy), std::time::Instant::now());
    for number in 10..110 {
        let url = fleet.origin.url(&format!("/{number}.mkv"));
        other.post("/api/downloads", &json!({ "url": url, "paused": true }));
    }
    let (asked, seconds) = (asked(&busy) - before, begun.elapsed().as_secs());
    // Leases, checkpoints, reports and looks are a few a second.
    assert!(asked < 50 + 10 * seconds, "{asked} requests in {seconds} s");
}

#[test]
fn an_origin_gets_as_many_downloads_as_one_server_would_drive_unless_more_are_configured() {
    let most_of = |limit: Option<u32>| {
        let fleet = Fleet::new(8, 500_000);
        let worker = || {
            let mut house = fleet.house(&fleet.schema.url());
            house.config["downloads"]["maxConcurrentPerPeer"] = json!(limit);
            if limit.is_none() {
                house.config["downloads"].as_object_mut().unwrap().remove("maxConcurrentPerPeer");
            }
            Worker::start(house)
        };
        let workers = [worker(), worker()];
        // One by one: what is claimed first holds slots that the next claim must leave free.
        (0..8).for_each(|number| workers[number as usize % 2].add(&fleet, number));
        let claimed = "SELECT count(*) FROM downloads WHERE owner IS NOT NULL";
        let mut most = 0;
        wait_until("four are complete", || {
            most = most.max(fleet.schema.execute(claimed).parse::<u32>().unwrap());
            let complete = fleet.schema.execute("SELECT count(*) FROM downloads WHERE status = 'completed'");
            complete.parse::<u32>().unwrap() >= 4
        });
        most
    };
    assert_eq!([None, Some(6)].map(most_of), [2, 6]);
}

#[test]
fn what_another_worker_commits_cannot_be_removed() {
    let fleet = Fleet::new(1, 0);
    let worker = fleet.worker();
    let download = json!({ "url": fleet.origin.url("/0.mkv"), "paused": true });
    assert_eq!(worker.post("/api/downloads", &download).0, 201);
    std::fs::write(fleet.path("0.mkv.part"), "its bytes").expect("written");
    fleet.schema.execute(
        "UPDATE downloads SET status = 'committing', owner = 'another', lease_until = now() + interval '1 hour',
        record = jsonb_set(record::jsonb, '{status}', '\"committing\"')::json",
    );
    let key = [("X-Api-Key", crate::support::KEY)];
    let (status, body) = worker.served.exchange_body("DELETE", "/api/downloads/1", &key, "");
    assert_eq!(status, 409, "{body}");
    assert!(body.contains("WrongState") && body.contains("committing"), "{body}");
    assert_eq!(worker.get("/api/downloads/1")["status"], "committing");
    assert_eq!(fleet.part_bytes("0.mkv"), 9);
}
