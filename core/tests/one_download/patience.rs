//! Waiting for the network: what is a stall, and what is not.

use crate::world::slow::Slow;
use crate::world::*;
use regrip_core::record::AttemptEnd;
use regrip_core::testing::{FakeHost, FakeTransport, Piece, Reply, VirtualClock, new_download};
use regrip_core::{DownloadsConfig, Engine, Error};
use std::time::Duration;

/// A body that comes in pieces of `length` bytes, `gap` apart.
fn dripping(file: &[u8], length: usize, gap: Duration) -> Reply {
    let mut reply = whole(file);
    reply.body = file.chunks(length).flat_map(|piece| [Piece::Wait(gap), bytes(piece)]).collect();
    reply
}

fn ends(world: &World) -> Vec<AttemptEnd> {
    let lines = world.host.ledger.timeline(1);
    lines.into_iter().filter_map(|line| line.end).collect()
}

fn code(end: &AttemptEnd) -> Option<&str> {
    end.error.as_ref().map(|error| error.code.as_str())
}

// H37, S30
#[test]
fn a_stand_still_is_idle_after_the_timeout_and_the_bytes_are_kept() {
    let file = content(1000);
    let mut stalled = whole(&file);
    stalled.body = vec![bytes(&file[..400]), Piece::Forever];
    let world = World::scripted(config(), [Ok(stalled), Ok(rest(&file, 400))]);
    world.get().expect("it resumes");
    world.assert_whole(&file);
    assert_eq!(code(&ends(&world)[0]), Some("IdleTimeout"));
    let requests = world.host.transport.requests();
    assert_eq!(requests[1].at, seconds(60) + world.delays()[0]);
}

#[test]
fn a_stand_still_before_the_first_byte_is_idle_too() {
    let mut stalled = whole(b"film");
    stalled.body = vec![Piece::Forever];
    let world = World::scripted(config(), [Ok(stalled), Ok(whole(b"film"))]);
    world.get().expect("the second answer moves");
    assert_eq!(code(&ends(&world)[0]), Some("IdleTimeout"));
}

// S30
#[test]
fn a_slow_but_steady_transfer_is_not_aborted() {
    let file = content(2_000_000);
    // 2,000 bytes a second for over a quarter of an hour, with gaps just under the idle timeout.
    let world = World::scripted(config(), [Ok(dripping(&file, 118_000, seconds(59)))]);
    assert_eq!(world.get().expect("it is slow, not dead").attempts, 1);
    world.assert_whole(&file);
    assert_eq!(world.clock.elapsed(), seconds(59 * 17));
}

// H37
#[test]
fn too_few_bytes_over_the_window_are_a_stall() {
    let file = content(100_000);
    for (length, gap) in [(1_000, seconds(10)), (1, Duration::from_millis(59_999))] {
        let trickle = dripping(&file, length, gap);
        let world = World::scripted(config(), [Ok(trickle), Err(Error::UnknownSize)]);
        world.get().expect_err("the second answer is permanent");
        let first = &ends(&world)[0];
        assert_eq!(code(first), Some("LowSpeed"));
        let at = world.host.transport.requests()[1].at - world.delays()[0];
        assert_eq!(at, seconds(120), "at the end of the first window");
        assert_eq!(world.part().map(|part| part.len() as u64), Some(first.to));
        assert!(first.to >= 1, "the partial data is kept");
        world.assert_at_rest();
    }
}

#[test]
fn the_window_starts_anew_when_enough_came_in_it() {
    let file = content(1_000_000);
    // A second of 200,000 bytes, then 119 seconds of nothing but one byte, and again.
    let config = DownloadsConfig { idle_timeout_ms: 300_000, ..config() };
    let mut bursts = whole(&file);
    bursts.body = file.chunks(200_000).flat_map(|piece| [bytes(piece), Piece::Wait(seconds(119))]).collect();
    let world = World::scripted(config, [Ok(bursts)]);
    assert_eq!(world.get().expect("fast enough").attempts, 1);
    world.assert_whole(&file);
}

#[test]
fn the_least_rate_itself_is_fast_enough() {
    // 1,024 bytes a second in the window of 120 s.
    for (length, attempts) in [(10_240, 1), (10_239, 2)] {
        let file = content(24 * length);
        let served = file.clone();
        let world = World::answering(config(), move |asked| match asked.first {
            None => Ok(dripping(&served, length, seconds(10))),
            Some(first) => Ok(rest(&served, first as usize)),
        });
        assert_eq!(world.get().expect("it is whole").attempts, attempts);
        world.assert_whole(&file);
    }
}

#[test]
fn a_rate_of_zero_turns_the_low_speed_rule_off() {
    let config = DownloadsConfig { low_speed_bytes_per_sec: 0, ..config() };
    let file = content(30);
    let world = World::scripted(config, [Ok(dripping(&file, 1, seconds(59)))]);
    assert_eq!(world.get().expect("steady enough").attempts, 1);
    world.assert_whole(&file);
}

// S30, K07
#[test]
fn time_spent_on_the_disk_is_not_idle() {
    let file = content(1_000_000);
    let world = World::scripted(config(), [Ok(dripping(&file, 100_000, seconds(5)))]);
    // Every write takes longer than the idle timeout, and all of them much longer than the low-speed window.
    let slow = Slow::new(world.host.clone(), seconds(90));
    let engine = Engine::new(slow, config(), true).expect("the defaults are in range");
    let summary = world.run(async {
        let accepted = engine.accept(new_download(URL, FILE)).await?;
        engine.drive(accepted.id).await
    });
    assert_eq!(summary.expect("only the disk was slow").attempts, 1);
    assert_eq!(world.clock.elapsed(), seconds(10 * 95));
    world.assert_whole(&file);
}

#[test]
fn time_spent_on_keeping_to_a_rate_is_neither_idle_nor_slow() {
    let file = content(1_000);
    // A hundred bytes in 90 s: under the low-speed rule, over the idle timeout, and wanted so.
    let clock = VirtualClock::default();
    let mut answer = Some(dripping(&file, 100, seconds(5)));
    let transport = FakeTransport::new(clock.clone(), move |_| answer.take().ok_or_else(broken));
    let transport = transport.with_pace(seconds(90));
    let world = World::on(FakeHost::new(clock, transport), config());
    assert_eq!(world.get().expect("only the limit was slow").attempts, 1);
    assert_eq!(world.clock.elapsed(), seconds(10 * 95));
    world.assert_whole(&file);
}

// T02
#[test]
fn a_timer_that_rings_late_is_no_stall_where_the_bytes_are_there() {
    let file = content(200_000);
    let mut reply = whole(&file);
    reply.body = vec![bytes(&file[..100_000]), Piece::Wait(seconds(70)), bytes(&file[100_000..])];
    let config = DownloadsConfig { low_speed_bytes_per_sec: 0, ..config() };
    let world = World::scripted(config, [Ok(reply)]);
    let id = world.accept();
    // The machine sleeps from second 50 on: when it wakes both the idle timer and the bytes are due.
    let suspend = async {
        wait(&world.clock, seconds(50)).await;
        world.clock.advance(seconds(8 * 3600));
    };
    let (summary, ()) = world.run(async { futures::join!(world.engine.drive(id), suspend) });
    assert_eq!(summary.expect("nothing stood still").attempts, 1);
    world.assert_whole(&file);
}

// T01
#[test]
fn a_jump_of_the_wall_clock_moves_no_deadline() {
    let file = content(200_000);
    for years in [0, 50, 80] {
        let world = World::scripted(config(), [Ok(dripping(&file, 100_000, seconds(50)))]);
        let id = world.accept();
        let jump = async {
            wait(&world.clock, seconds(20)).await;
            let to = std::time::SystemTime::UNIX_EPOCH + seconds(years * 31_557_600);
            world.clock.set_wall(to);
        };
        let (summary, ()) = world.run(async { futures::join!(world.engine.drive(id), jump) });
        assert_eq!(summary.expect("only the wall clock jumped").attempts, 1);
        assert_eq!(world.clock.elapsed(), seconds(100));
    }
}
