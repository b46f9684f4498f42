//! What workers share while all goes well.

use crate::house::wait_until;
use crate::support::{Fleet, Worker};
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
