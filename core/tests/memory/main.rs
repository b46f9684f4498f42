//! G7: memory, timers and open files after many downloads, behind a slow disk, and with ten thousand that wait.
//!
//! An allocator counts the live bytes of each thread, and each test runs on one. `REGRIP_DOWNLOADS=100000` has more downloads.

mod counted;
mod endless;
#[path = "../world/mod.rs"]
mod world;

use counted::{live, peak_of};
use endless::Endless;
use futures::future::{Either, join_all, select};
use regrip_core::config::Connections;
use regrip_core::host::Host;
use regrip_core::testing::{FakeHost, FakeTransport, VirtualClock, new_download};
use regrip_core::time::Clock;
use regrip_core::{DownloadId, DownloadsConfig, Engine, Error, Semaphore};
use std::pin::pin;
use world::{broken, config, cut, reply, seconds, whole};

fn downloads() -> u32 {
    std::env::var("REGRIP_DOWNLOADS").map_or(3_000, |text| text.parse().expect("a number"))
}

/// Bytes that an engine keeps after this many downloads, each from an origin of its own: every fifth is retried, every seventh
/// fails for good, every eleventh is cancelled.
fn kept_after(downloads: u32) -> isize {
    let clock = VirtualClock::default();
    let mut asked_before = false;
    let transport = FakeTransport::new(clock.clone(), move |asked| {
        let number: u32 = asked.url.rsplit('/').next().and_then(|text| text.parse().ok()).expect("the number");
        asked_before = !asked_before;
        match number {
            _ if number.is_multiple_of(7) => Ok(reply(404, &[], Vec::new())),
            _ if number.is_multiple_of(5) && asked.first.is_none() && asked_before => cut(whole(&[1; 100]), 50),
            _ if number.is_multiple_of(13) && asked_before => Err(broken()),
            _ => Ok(whole(&[1; 100])),
        }
    });
    let host = FakeHost::new(clock.clone(), transport);
    let engine = Engine::new(host.clone(), DownloadsConfig { max_concurrent_downloads: 16, ..config() }, true).unwrap();
    for first in (0..downloads).step_by(50) {
        let numbers = first..downloads.min(first + 50);
        let batch = numbers.map(|number| {
            let engine = engine.clone();
            async move {
                let (url, path) = (format!("http://{number}.example/{number}"), format!("/films/{number}"));
                let id = engine.accept(new_download(&url, &path)).await.expect("accepted").id;
                if number.is_multiple_of(11) {
                    engine.cancel(id).await.expect("cancelled");
                }
                let _ = engine.drive(id).await;
            }
        });
        clock.run(join_all(batch)).expect("no deadlock");
    }
    assert_eq!((clock.timers(), host.transport.open_bodies(), host.store.open_parts()), (0, 0, 0));
    assert_eq!((engine.permits_used(), engine.permits_waiting()), (0, 0));
    let before = live();
    drop(engine);
    before - live()
}

#[test]
fn an_engine_keeps_nothing_of_the_downloads_that_ended() {
    let (few, many) = (kept_after(500), kept_after(downloads()));
    println!("kept after 500 downloads: {few} bytes, after {}: {many}", downloads());
    // Its tables keep some room.
    assert!(many <= few + 1024, "{few} bytes after 500 downloads, {many} after {}", downloads());
}

// K07
#[test]
fn behind_a_slow_disk_the_window_bounds_what_is_received() {
    const DOWNLOADS: u32 = 16;
    const WINDOW: u64 = 8 << 20;
    /// What a download has of its own: what is read ahead of the disk, its future, its connections, its row.
    const OF_A_DOWNLOAD: isize = 384 << 10;
    let config = DownloadsConfig {
        max_concurrent_downloads: DOWNLOADS,
        connections_per_download: Connections::Fixed(4),
        connections_per_origin: 128,
        window_bytes: WINDOW,
        ..config()
    };
    let host = Endless::default();
    let clock = host.clock().clone();
    let engine = Engine::new(host, config, true).unwrap();
    let peak = peak_of(|| {
        let all = async {
            let ids = accept(&engine, DOWNLOADS).await;
            join_all(ids.into_iter().map(|id| engine.drive(id))).await
        };
        let an_hour =
            clock.run(async { matches!(select(pin!(all), pin!(clock.sleep(seconds(3600)))).await, Either::Right(_)) });
        assert_eq!(an_hour, Some(true), "they ended");
    });
    println!("{DOWNLOADS} downloads with 4 connections each behind a slow disk: {peak} bytes");
    assert!(peak <= WINDOW as isize + DOWNLOADS as isize * OF_A_DOWNLOAD, "{peak} bytes");
    assert!(peak >= WINDOW as isize / 2, "{peak} bytes: nothing was received out of order");
}

async fn accept(engine: &Engine<Endless>, downloads: u32) -> Vec<DownloadId> {
    let mut ids = Vec::new();
    for number in 0..downloads {
        let new = new_download(&format!("http://peer.example/{number}"), &format!("/films/{number}"));
        ids.push(engine.accept(new).await.expect("accepted").id);
    }
    ids
}

// K03
#[test]
fn ten_thousand_waiters_cost_little_and_leave_nothing() {
    const WAITERS: usize = 10_000;
    const MOST_BYTES: isize = 256;
    let semaphore = Semaphore::new(1).unwrap();
    let before = live();
    let peak = peak_of(|| {
        let clock = VirtualClock::default();
        let waiters = (0..WAITERS).map(|_| async {
            let _permit = semaphore.acquire().await;
            clock.sleep(seconds(1)).await;
        });
        clock.run(join_all(waiters)).expect("no deadlock");
        assert_eq!((clock.elapsed(), clock.timers()), (seconds(WAITERS as u64), 0));
    });
    // With the futures themselves, and what `join_all` has for each.
    let of_each = peak / WAITERS as isize;
    println!("a waiter: {of_each} bytes");
    assert!(of_each <= 2 * MOST_BYTES, "{of_each} bytes for each waiter");
    let kept = live() - before;
    // The queue keeps its room.
    assert!(kept <= WAITERS as isize * MOST_BYTES, "{kept} bytes are left");
    drop(semaphore);
    assert!(live() <= before, "{} bytes are left", live() - before);
}

#[test]
fn downloads_that_wait_for_a_permit_have_a_bound_each() {
    let waiting = downloads();
    /// The row of the fake ledger and its events included.
    const MOST_BYTES: isize = 16 << 10;
    let clock = VirtualClock::default();
    let transport = FakeTransport::new(clock.clone(), |_| Ok::<_, Error>(whole(&[1; 100])));
    let host = FakeHost::new(clock.clone(), transport);
    let engine = Engine::new(host.clone(), DownloadsConfig { max_concurrent_downloads: 1, ..config() }, true).unwrap();
    let peak = peak_of(|| {
        let all = (0..waiting).map(|number| {
            let engine = engine.clone();
            async move {
                let new = new_download(&format!("http://peer.example/{number}"), &format!("/films/{number}"));
                let id = engine.accept(new).await.expect("accepted").id;
                engine.drive(id).await.expect("completed");
            }
        });
        clock.run(join_all(all)).expect("no deadlock");
    });
    let of_each = peak / waiting as isize;
    println!("a download that waits: {of_each} bytes");
    assert!(of_each <= MOST_BYTES, "{of_each} bytes for each download");
    assert_eq!((clock.timers(), host.transport.open_bodies(), host.store.open_parts()), (0, 0, 0));
}
