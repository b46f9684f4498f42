//! A cancel, the end of a download, a resize of the permits and the end of the process, on threads that race, by shuttle: at each lock
//! of the core, and of the disk, the server and the ledger that it uses here, any other thread may run instead.
//!
//! `REGRIP_SCHEDULES` is the number of schedules of each test.

use regrip_core::record::DownloadId;
use regrip_core::testing::{FakeHost, Served, new_download, switch_at_locks};
use regrip_core::{DownloadsConfig, Engine, Error, Status, Summary};
use shuttle::future::block_on;
use shuttle::scheduler::RandomScheduler;
use shuttle::thread::{self, JoinHandle};
use shuttle::{Config, Runner};

type Driven = Result<Summary, Error>;

fn schedules(test: impl Fn() + Send + Sync + 'static) {
    switch_at_locks(thread::yield_now);
    let wanted = std::env::var("REGRIP_SCHEDULES").ok().and_then(|text| text.parse().ok());
    let mut settings = Config::new();
    settings.stack_size = 1 << 20; // a drive is a large future
    Runner::new(RandomScheduler::new(wanted.unwrap_or(1500)), settings).run(test);
}

fn config(permits: u32) -> DownloadsConfig {
    DownloadsConfig { max_concurrent_downloads: permits, ..DownloadsConfig::default() }
}

static CONTENT: [u8; 20_000] = [7; 20_000];

fn engine(permits: u32) -> Engine<FakeHost> {
    let host = FakeHost::serving(Served::new(CONTENT.to_vec()).etag("\"v1\""));
    Engine::new(host, config(permits), false).expect("valid limits")
}

fn accept(engine: &Engine<FakeHost>, number: i64) -> DownloadId {
    let new = new_download(&format!("http://peer.example/{number}"), &format!("/films/{number}"));
    block_on(engine.accept(new)).expect("accepted").id
}

fn drive(engine: &Engine<FakeHost>, id: DownloadId) -> JoinHandle<Driven> {
    let engine = engine.clone();
    thread::spawn(move || block_on(engine.drive(id)))
}

/// The row and the file agree with what the drive returned, and nothing is left.
fn check(engine: &Engine<FakeHost>, id: DownloadId, driven: &Driven) {
    let host = engine.host();
    let rows = host.ledger.rows();
    let row = rows.iter().find(|row| row.id == id).expect("a row");
    let file = host.store.file(&row.new.destination);
    assert_eq!(file.is_some(), row.status == Status::Completed, "{driven:?} {row:?}");
    assert!(file.is_none_or(|bytes| bytes == CONTENT));
    assert_eq!(driven.is_ok(), row.status == Status::Completed, "{driven:?} {row:?}");
    assert_eq!(host.store.open_parts(), 0);
    assert_eq!(host.transport.open_bodies(), 0);
    assert_eq!((engine.permits_used(), engine.permits_waiting()), (0, 0));
}

fn join<T>(thread: JoinHandle<T>) -> T {
    thread.join().expect("no panic")
}

// K06, K04
#[test]
fn a_cancel_that_races_with_the_end_of_a_download_and_a_resize_wins_or_is_refused() {
    schedules(|| {
        let engine = engine(1);
        let (cancelled, other) = (accept(&engine, 1), accept(&engine, 2));
        let driving = [cancelled, other].map(|id| drive(&engine, id));
        let cancelling = thread::spawn({
            let engine = engine.clone();
            move || block_on(engine.cancel(cancelled))
        });
        engine.reconfigure(config(2)).expect("valid limits");
        let was_cancelled = join(cancelling);
        let [first, second] = driving.map(join);
        check(&engine, cancelled, &first);
        check(&engine, other, &second);
        assert!(second.is_ok(), "the other one is not concerned: {second:?}");
        // Exactly one of them wins.
        assert_ne!(was_cancelled.is_ok(), first.is_ok(), "{was_cancelled:?} {first:?}");
    });
}

// K04
#[test]
fn permits_that_are_changed_up_and_down_while_downloads_end_are_all_given_back() {
    schedules(|| {
        let engine = engine(2);
        let driving = [1, 2, 3].map(|number| {
            let id = accept(&engine, number);
            (id, drive(&engine, id))
        });
        engine.reconfigure(config(1)).expect("valid limits");
        engine.reconfigure(config(3)).expect("valid limits");
        for (id, driven) in driving.map(|(id, driving)| (id, join(driving))) {
            assert!(driven.is_ok(), "{driven:?}");
            check(&engine, id, &driven);
        }
    });
}

// C11, K06
#[test]
fn a_cancel_a_pause_and_the_end_of_the_process_at_once_leave_one_of_them() {
    schedules(|| {
        let engine = engine(1);
        let id = accept(&engine, 1);
        let driving = drive(&engine, id);
        let [cancelling, pausing] = [true, false].map(|cancels| {
            let engine = engine.clone();
            thread::spawn(move || match cancels {
                true => block_on(engine.cancel(id)),
                false => block_on(engine.pause(id)),
            })
        });
        engine.end();
        let (cancelled, paused) = (join(cancelling), join(pausing));
        let driven = join(driving);
        check(&engine, id, &driven);
        let status = engine.host().ledger.rows().first().map(|row| row.status);
        match status {
            Some(Status::Completed) => assert!(cancelled.is_err() && paused.is_err(), "{cancelled:?} {paused:?}"),
            // A pause may be cancelled afterwards, and what is cancelled cannot be paused.
            Some(Status::Cancelled) => assert!(cancelled.is_ok(), "{driven:?}"),
            Some(Status::Paused) => assert!(paused.is_ok() && cancelled.is_err(), "{cancelled:?} {driven:?}"),
            Some(Status::Queued) => assert!(cancelled.is_err() && paused.is_err(), "{cancelled:?} {paused:?}"),
            other => panic!("{other:?} after {driven:?}"),
        }
    });
}

// K06
#[test]
fn a_cancel_that_races_with_a_repair_that_has_nothing_to_do_is_not_lost() {
    schedules(|| {
        let engine = engine(1);
        let id = accept(&engine, 1);
        let cancelling = thread::spawn({
            let engine = engine.clone();
            move || block_on(engine.cancel(id))
        });
        assert!(matches!(block_on(engine.repair(id)), Ok(false)));
        let cancelled = join(cancelling);
        let status = engine.host().ledger.rows().first().map(|row| row.status);
        assert_eq!(cancelled.is_ok(), status == Some(Status::Cancelled), "{cancelled:?} {status:?}");
    });
}
