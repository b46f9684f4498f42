//! One drive a download, and none that is missed.

use crate::support::{Bench, until};
use regrip::ledger::Catalogue;
use regrip_core::ErrorCode;
use regrip_faultd::faults::{Stall, Status};
use regrip_faultd::{FileScript, Script, Server, Version};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

fn film() -> FileScript {
    FileScript::honest(Version::new(1, 300_000).etag("\"v1\""))
}

#[test]
fn what_is_put_back_while_its_drive_ends_is_driven_again() {
    let bench = Bench::new();
    let source = Server::start(Script::one("/film.mkv", film().answer([Status::code(404)]))).unwrap();
    let ends = Arc::new(AtomicU32::new(0));
    let (control, counted) = (bench.control.clone(), Arc::clone(&ends));
    // In the moment in which the ledger says `failed` and the drive is not gone yet.
    bench.control.on_end(move |end| {
        if counted.fetch_add(1, Ordering::SeqCst) == 0 {
            assert!(end.result.is_err());
            smol::block_on(control.retry(end.id)).unwrap();
        }
    });
    let id = bench.add(&source.url("/film.mkv"));
    bench.until(id, "completed");
    smol::block_on(bench.control.ended(id));
    assert_eq!(ends.load(Ordering::SeqCst), 2);
}

#[test]
fn a_download_that_is_asked_for_many_times_is_driven_once() {
    let bench = Bench::new();
    let source = Server::start(Script::one("/film.mkv", film().answer([Stall::after(100_000)]))).unwrap();
    let id = bench.add(&source.url("/film.mkv"));
    until(|| (source.log().len() == 1).then_some(()));
    for _ in 0..100 {
        bench.control.drive(id);
        assert_eq!(bench.control.drives_count(), 1);
    }
    assert_eq!(bench.ask("POST", &format!("/api/downloads/{id}/cancel")).status, 200);
    assert_eq!(source.log().len(), 1);
}

#[test]
fn whoever_hears_of_ends_hears_of_each_with_its_result() {
    let bench = Bench::new();
    let script = Script::one("/film.mkv", film())
        .file("/gone.mkv", film().answer([Status::code(404)]))
        .file("/slow.mkv", film().answer([Stall::after(1000)]));
    let source = Server::start(script).unwrap();
    let heard = Arc::new(Mutex::new(Vec::new()));
    let hearing = Arc::clone(&heard);
    bench.control.on_end(move |end| {
        let code = end.result.as_ref().err().map(regrip_core::Error::code);
        hearing.lock().unwrap().push((end.id, code));
    });
    let (film, gone) = (bench.add(&source.url("/film.mkv")), bench.add(&source.url("/gone.mkv")));
    let slow = bench.add(&source.url("/slow.mkv"));
    bench.until(film, "completed");
    bench.until(gone, "failed");
    bench.until(slow, "downloading");
    assert_eq!(bench.ask("POST", &format!("/api/downloads/{slow}/cancel")).status, 200);
    until(|| (bench.control.drives_count() == 0).then_some(()));
    let mut heard = heard.lock().unwrap().clone();
    heard.sort_by_key(|(id, _)| *id);
    assert_eq!(heard, [(film, None), (gone, Some(ErrorCode::Status)), (slow, Some(ErrorCode::Cancelled))]);
}

#[test]
fn the_end_of_the_process_puts_downloads_back_with_their_bytes() {
    let mut bench = Bench::new();
    let source = Server::start(Script::one("/film.mkv", film().answer([Stall::after(100_000)]))).unwrap();
    let id = bench.add(&source.url("/film.mkv"));
    until(|| {
        let download = bench.json(&format!("/api/downloads/{id}"));
        (download["downloaded_bytes"] == 100_000).then_some(())
    });
    bench.stop();
    let entry = smol::block_on(bench.control.ledger().entry(id)).unwrap();
    assert_eq!(entry.row.status.name(), "queued");
    assert_eq!((entry.row.downloaded, entry.row.durable), (100_000, 100_000));
    // Nothing begins any more.
    bench.control.drive(id);
    assert_eq!(bench.control.drives_count(), 0);
}
