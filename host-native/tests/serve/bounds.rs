//! G7: what the server has of downloads that ended, and of those that wait. `REGRIP_DOWNLOADS=20000` has more of them.

use crate::house::{House, Served, wait_until};
use regrip_faultd::faults::{Cut, NoReply, Pause};
use regrip_faultd::{FileScript, Script, Server, Version};
use serde_json::json;

fn downloads() -> u64 {
    std::env::var("REGRIP_DOWNLOADS").map_or(300, |text| text.parse().expect("a number"))
}

/// Descriptors, threads, and KiB of resident memory.
fn used(served: &Served) -> (usize, u64, u64) {
    let process = format!("/proc/{}", served.pid());
    let descriptors = std::fs::read_dir(format!("{process}/fd")).expect("it runs").count();
    let status = std::fs::read_to_string(format!("{process}/status")).expect("it runs");
    let number = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).expect(name);
        line.trim().trim_end_matches(" kB").parse().expect("a number")
    };
    (descriptors, number("Threads:"), number("VmRSS:"))
}

fn add(served: &Served, origin: &Server, numbers: std::ops::Range<u64>) {
    let urls = numbers.map(|number| json!({ "url": origin.url(&format!("/{number}")) }));
    let (status, body) = served.post("/api/batch", "", &json!({ "downloads": urls.collect::<Vec<_>>() }).to_string());
    assert_eq!(status, 200, "{body}");
}

fn count(served: &Served, status: &str) -> u64 {
    served.get("/api/downloads?limit=1")["counts"][status].as_u64().unwrap_or_default()
}

#[test]
fn of_the_downloads_that_wait_the_one_with_the_highest_priority_is_next() {
    const LIKE_MOST: usize = 80;
    let mut priorities = vec![0; LIKE_MOST];
    priorities.extend([-5, 5, 100, 5, -5]);
    let path = |number: usize| format!("/{number}");
    let script = (0..priorities.len()).fold(Script::new(), |script, number| {
        let file = FileScript::honest(Version::new(1, 1000).etag("\"v1\""));
        script.file(&path(number), if number == 0 { file.answer([Pause::after(10, 600_000)]) } else { file })
    });
    let origin = Server::start(script).expect("a free port");
    let mut house = House::with(&[]);
    house.config["downloads"]["maxConcurrentDownloads"] = json!(1);
    house.config["downloads"]["maxConcurrentPerPeer"] = json!(1000);
    let served = house.start();
    let add = |number: usize, priority: i64| {
        let download = json!({ "url": origin.url(&path(number)), "priority": priority }).to_string();
        served.post("/api/downloads", "", &download)
    };
    for (number, priority) in priorities.iter().enumerate() {
        assert_eq!(add(number, *priority).0, 201);
        if number == 0 {
            wait_until("the first one is under way", || !origin.log().is_empty());
        }
    }
    for priority in [101, -101, 1_000_000] {
        let (status, body) = add(1, priority);
        assert!(status == 400 && body.contains("from -100 to 100"), "{status}: {body}");
    }
    // Of one priority 64 are under way, the first download included.
    let waiting = |metrics: String| {
        let line = metrics.lines().find_map(|line| line.strip_prefix("regrip_permits_waiting ")?.parse().ok());
        line.unwrap_or(0)
    };
    wait_until("they wait", || waiting(served.ask("GET", "/metrics").1) == 63 + 5);
    origin.site().go_on();
    wait_until("all are complete", || count(&served, "completed") == priorities.len() as u64);
    let log = origin.log();
    let asked = log.iter().filter_map(|entry| entry.path.trim_start_matches('/').parse().ok());
    let asked: Vec<i64> = asked.map(|number: usize| priorities[number]).collect();
    assert_eq!(asked[..5], [0, 100, 5, 5, 0], "{asked:?}");
    assert_eq!(asked.len(), priorities.len());
    let first_low = asked.iter().position(|priority| *priority < 0);
    // Those that are let in at the end may be on their way to the queue.
    assert!(first_low.is_some_and(|place| place > 64), "{asked:?}");
    served.stop();
}

#[test]
fn after_many_downloads_the_server_has_the_files_and_threads_that_it_had_after_a_few() {
    const FEW: u64 = 100;
    /// Allocators keep some of what was freed.
    const MOST_GROWTH_KIB: u64 = 16 << 10;
    let all = FEW + downloads();
    let script = (0..all).fold(Script::new(), |script, number| {
        let file = FileScript::honest(Version::new(number, 3_000).etag("\"v1\""));
        script.file(&format!("/{number}"), if number % 5 == 0 { file.answer([Cut::after(1_000)]) } else { file })
    });
    let origin = Server::start(script).expect("a free port");
    let house = House::with(&[]);
    let served = house.start();
    add(&served, &origin, 0..FEW);
    wait_until("a few are complete", || count(&served, "completed") == FEW);
    let (descriptors, threads, memory) = used(&served);
    for first in (FEW..all).step_by(1000) {
        let last = all.min(first + 1000);
        add(&served, &origin, first..last);
        wait_until("they are complete", || count(&served, "completed") == last);
    }
    // Idle connections to the origin are closed after a while.
    wait_until("it is as before", || used(&served).0 <= descriptors && used(&served).1 <= threads);
    let now = used(&served).2;
    println!("after {FEW} downloads {memory} KiB, after {all} {now} KiB");
    assert!(now <= memory + MOST_GROWTH_KIB, "{memory} KiB after {FEW} downloads, {now} after {all}");
    served.stop();
}

// K08
#[test]
fn downloads_that_wait_have_no_descriptor_and_a_bounded_amount_of_memory() {
    const MOST_KIB_EACH: u64 = 16;
    let script = (0..=downloads()).fold(Script::new(), |script, number| {
        let file = FileScript::honest(Version::new(number, 3_000)).then([NoReply::ever()]);
        script.file(&format!("/{number}"), file)
    });
    let origin = Server::start(script).expect("a free port");
    let house = House::with(&[]);
    let served = house.start();
    add(&served, &origin, 0..1);
    wait_until("it is asked for", || !origin.log().is_empty());
    let (descriptors, threads, memory) = used(&served);
    add(&served, &origin, 1..downloads() + 1);
    wait_until("others are asked for", || origin.log().len() > 1);
    let (more_descriptors, more_threads, more_memory) = used(&served);
    println!("{} downloads that wait: {memory} KiB before, {more_memory} KiB now", downloads());
    // Two for each of the few that have a permit.
    assert!(more_descriptors <= descriptors + 8 && more_threads <= threads + 8, "{more_descriptors} {more_threads}");
    assert!(more_memory <= memory + (8 << 10) + downloads() * MOST_KIB_EACH, "{memory} KiB before, {more_memory} now");
    served.kill();
}

// K09
#[test]
fn an_origin_that_never_answers_leaves_a_permit_to_the_others() {
    let script = |answers: bool| {
        (0..10).fold(Script::new(), |script, number| {
            let file = FileScript::honest(Version::new(number, 3_000));
            let file = if answers { file } else { file.then([NoReply::ever()]) };
            script.file(&format!("/{}{number}", if answers { "good" } else { "" }), file)
        })
    };
    let [dead, good] = [false, true].map(|answers| Server::start(script(answers)).expect("a free port"));
    let house = House::with(&[]);
    let served = house.start();
    add(&served, &dead, 0..10);
    wait_until("two of the three permits are used", || dead.log().len() == 2);
    let urls = (0..10).map(|number| json!({ "url": good.url(&format!("/good{number}")) }));
    let (status, body) = served.post("/api/batch", "", &json!({ "downloads": urls.collect::<Vec<_>>() }).to_string());
    assert_eq!(status, 200, "{body}");
    wait_until("those of the other one are complete", || count(&served, "completed") == 10);
    assert_eq!(dead.log().len(), 2);
    served.kill();
}
