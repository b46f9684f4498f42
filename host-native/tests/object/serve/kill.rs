//! Two workers on one database and one bucket, killed at random moments.

use super::{House, PART};
use crate::postgres::Schema;
use regrip_faultd::{Content, FileScript, Script, Version};
use std::time::Duration;

#[test]
fn killed_at_random_moments_two_workers_upload_every_file_once() {
    if std::env::var_os("REGRIP_TEST_POSTGRES").is_none() {
        eprintln!("SKIPPED: no database; run `tests/fleet/run tests/fleet/s3`");
        return;
    }
    let rounds = std::env::var("REGRIP_KILL_ROUNDS").map_or(1, |text| text.parse().expect("a number"));
    (0..rounds).for_each(|_: u32| files_of_two_workers_that_are_killed_again_and_again());
}

fn files_of_two_workers_that_are_killed_again_and_again() {
    const FILES: u64 = 12;
    const KILLS: u32 = 10;
    let size = |number: u64| 2 * PART + number;
    let files = (0..FILES).fold(Script::new(), |script, number| {
        let version = Version::new(number, size(number)).etag(&format!("\"{number}\""));
        script.file(&format!("/{number}"), FileScript::honest(version))
    });
    // So slow that there is something left to do until the last kill.
    let house = House { schema: Some(Schema::new()), ..House::serving(files.bytes_per_second(2_000_000)) };
    let names = ["one", "two"];
    let mut workers = names.map(|name| house.start_as(name));
    for number in 0..FILES {
        let (status, added) = workers[0].add(&house.source.url(&format!("/{number}")), &format!("{number}.bin"));
        assert_eq!(status, 201, "{added}");
    }
    for _ in 0..KILLS {
        std::thread::sleep(Duration::from_millis(fastrand::u64(20..900))); // the moment of a kill is what is drawn
        let victim = fastrand::usize(..names.len());
        workers[victim].child.kill().expect("killed");
        workers[victim].child.wait().expect("ended");
        workers[victim] = house.start_as(names[victim]);
    }
    (0..FILES).for_each(|number| drop(workers[0].wait(number + 1, "completed")));
    for number in 0..FILES {
        house.object(&format!("{number}.bin"), Content::new(number, size(number)));
    }
    let schema = house.schema.as_ref().expect("a database");
    assert_eq!(schema.execute("SELECT count(*) FROM downloads"), FILES.to_string());
    let twice = "SELECT string_agg(download_id::text, ',') FROM (SELECT download_id FROM attempts
        WHERE line->>'outcome' = 'completed' GROUP BY download_id HAVING count(*) > 1) twice";
    assert_eq!(schema.execute(twice), "");
    assert_eq!(schema.execute("SELECT count(*) FROM uploads"), "0");
    assert_eq!(house.storage.uploads(), 0, "an upload is left");
}
