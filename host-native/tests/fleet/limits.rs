//! What workers share while all goes well.

use crate::house::wait_until;
use crate::support::{Fleet, Worker};
use serde_json::json;
use std::collections::HashSet;

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
