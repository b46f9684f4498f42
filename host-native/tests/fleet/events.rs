//! `/api/events`: what one worker does is heard at every one, once.

use crate::house::wait_until;
use crate::support::{Fleet, KEY, Worker, eventually};
use serde_json::Value;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::sync::{Arc, Mutex};

/// The events of a worker from now on.
struct Heard(Arc<Mutex<Vec<Value>>>);

impl Heard {
    fn at(worker: &Worker) -> Heard {
        let address = worker.served.address();
        let mut stream = TcpStream::connect(&address).expect("it listens");
        let request = format!("GET /api/events HTTP/1.1\r\nHost: {address}\r\nX-Api-Key: {KEY}\r\n\r\n");
        stream.write_all(request.as_bytes()).expect("sent");
        let mut lines = BufReader::new(stream.try_clone().expect("a handle")).lines().map_while(Result::ok);
        lines.find(|line| line.contains(": regrip")).expect("it begins");
        let heard = Heard(Arc::default());
        let events = Arc::clone(&heard.0);
        std::thread::spawn(move || {
            let _open = stream;
            for line in lines {
                let event = line.strip_prefix("data: ").and_then(|json| serde_json::from_str(json).ok());
                events.lock().unwrap().extend(event);
            }
        });
        heard
    }

    fn count(&self, event: &str, id: u64) -> usize {
        let events = self.0.lock().unwrap();
        events.iter().filter(|one| one["event"] == event && one["id"] == id).count()
    }

    fn wait_for(&self, event: &str, id: u64) {
        eventually(&format!("{event} of {id}"), || match self.count(event, id) {
            1 => Ok(()),
            _ => Err(format!("{:?}", self.0.lock().unwrap())),
        });
    }
}

#[test]
fn changes_of_status_are_heard_at_every_worker_once() {
    let fleet = Fleet::new(2, 1_000_000);
    let first = fleet.worker();
    first.add(&fleet, 0);
    wait_until("bytes are there", || fleet.part_bytes("0.mkv") > 300_000);
    let second = fleet.worker();
    let heard = [Heard::at(&first), Heard::at(&second)];
    // What it says of the past is nothing.
    fleet.wait_for(0);
    heard.iter().for_each(|heard| heard.wait_for("completed", 1));
    assert_eq!((heard[1].count("progress", 1), heard[1].count("queued", 1)), (0, 0));
    second.add(&fleet, 1);
    heard.iter().for_each(|heard| heard.wait_for("started", 2));
    let (status, body) = first.post("/api/downloads/2/cancel", &serde_json::json!({}));
    assert_eq!(status, 200, "{body}");
    heard.iter().for_each(|heard| heard.wait_for("cancelled", 2));
    let (status, body) = second.post("/api/downloads/2/retry", &serde_json::json!({}));
    assert_eq!(status, 200, "{body}");
    heard.iter().for_each(|heard| heard.wait_for("completed", 2));
    let ends = ["completed", "cancelled", "failed"].map(|event| heard.each_ref().map(|heard| heard.count(event, 2)));
    assert_eq!(ends, [[1, 1], [1, 1], [0, 0]]);
}
