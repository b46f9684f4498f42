//! What idle connections are assigned, what the pump gets, and what the end of a request leads to.

#![allow(clippy::expect_used, clippy::indexing_slicing)]

use super::*;
use crate::config::DownloadsConfig;
use crate::origin::Origins;
use crate::record::Source;

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;

fn at(ms: u64) -> Instant {
    Instant(Duration::from_millis(ms))
}

/// A file of 100 MiB, 4 connections, and 40 MiB of memory.
fn terms(sources: usize) -> Terms {
    let (origins, config) = (Origins::default(), DownloadsConfig::default());
    let source = |number: usize| {
        let url = format!("http://{number}.example/film.mkv");
        let extras = origins.seat(&Source::Url { url: url.clone() }, &config).extras(8);
        PieceSource { url, validators: Validators::default(), behaviour: Behaviour::default(), extras }
    };
    Terms {
        sources: (0..sources).map(source).collect(),
        wanted: Vec::new(),
        size: 100 * MIB,
        connections: 4,
        auto: false,
        progress_bytes: MIB,
        share_bytes: 10 * MIB,
        window: Window::new(40 * MIB),
    }
}

/// A file that is planned as pieces of 1 MiB, with a request for each, of these sources.
fn planned(terms: &mut Terms, sources: &[usize]) -> State<u64> {
    (terms.share_bytes, terms.size) = (MIB, sources.len() as u64 * MIB);
    let mut state = State::new(terms, 0, at(0));
    state.trial.allowed = 1;
    for source in sources {
        state.next_piece(terms, *source, at(0)).expect("there is memory");
    }
    state.trial.allowed = terms.connections;
    state
}

fn left(terms: &Terms) -> u64 {
    *lock(&terms.window.0)
}

fn receive(state: &mut State<u64>, number: u32, bytes: u64, now: Instant) {
    let piece = state.pieces.iter_mut().find(|piece| piece.number == number).expect("it is there");
    piece.chunks.push_back(bytes);
    (piece.next, piece.last) = (piece.next + bytes, now);
    state.received += bytes;
}

/// What the pump gets: a chunk, `Err(true)` at the end.
fn next(state: &mut State<u64>, terms: &Terms) -> Result<u64, bool> {
    match state.next(terms, |chunk| *chunk) {
        Next::Chunk(bytes) => Ok(bytes),
        Next::Wait => Err(false),
        Next::End => Err(true),
    }
}

/// Number, source and range that are assigned.
fn assign(state: &mut State<u64>, terms: &Terms, running: usize, now: Instant) -> Option<(u32, usize, u64, u64)> {
    let (Assigned { number, source, first, end, .. }, _) = state.assign(terms, running, now)?;
    Some((number, source, first, end))
}

fn ranges(state: &State<u64>) -> Vec<(u64, u64)> {
    state.pieces.iter().map(|piece| (piece.next, piece.end)).collect()
}

fn broken() -> Error {
    Error::Network { what: "reading".to_owned(), source: None }
}

#[test]
fn a_first_piece_is_an_equal_share_of_the_rest_and_a_later_one_takes_two_seconds() {
    for (size, from, share_bytes, rate, expected) in [
        (100 * MIB, 0, 40 * MIB, None, 25 * MIB),
        (100 * MIB, 20 * MIB, 40 * MIB, None, 20 * MIB),
        (100 * MIB + 1, 0, 40 * MIB, None, 25 * MIB + 1),
        (100 * MIB, 0, 10 * MIB, None, 10 * MIB),
        (100 * MIB, 0, 10 * MIB, Some(3 * MIB), 6 * MIB),
        (100 * MIB, 0, 10 * MIB, Some(9 * MIB), 10 * MIB),
        (100 * MIB, 0, 10 * MIB, Some(1), 256 * KIB),
        (100 * KIB, 0, 10 * MIB, None, 100 * KIB),
    ] {
        let terms = Terms { size, share_bytes, ..terms(1) };
        let mut state: State<u64> = State::new(&terms, from, at(0));
        state.rates.extend(rate.map(|rate| (0, rate)));
        let first = state.next_piece(&terms, 0, at(0)).expect("the front needs no memory");
        assert_eq!((first.first, first.end), (from, from + expected));
        assert_eq!((left(&terms), state.rates.len()), (40 * MIB, 0));
        if first.end < size {
            let second = state.next_piece(&terms, 0, at(0)).expect("there is memory");
            assert_eq!((second.first, left(&terms)), (first.end, 40 * MIB - (second.end - second.first)));
        }
    }
}

#[test]
fn a_piece_goes_by_the_last_rate_of_its_own_source_and_needs_memory() {
    let mut terms = terms(2);
    let mut state: State<u64> = State::new(&terms, 0, at(0));
    state.rates = vec![(1, 5 * MIB), (0, 3 * MIB), (1, MIB)];
    state.next_piece(&terms, 1, at(0)).expect("it is the front");
    assert_eq!((ranges(&state), &*state.rates), (vec![(0, 2 * MIB)], &[(1, 5 * MIB), (0, 3 * MIB)][..]));
    terms.window = Window::new(6 * MIB - 1);
    assert!(state.next_piece(&terms, 0, at(0)).is_none());
    assert_eq!((left(&terms), state.planned), (6 * MIB - 1, 2 * MIB));
}

#[test]
fn what_broke_is_requested_before_anything_else_and_no_more_than_is_allowed() {
    let mut terms = terms(1);
    let mut state = planned(&mut terms, &[0, 0, 0]);
    terms.size = 9 * MIB;
    receive(&mut state, 2, 100, at(500));
    state.done(&terms, 2, Ended::Broken(broken()), at(500));
    assert_eq!(assign(&mut state, &terms, 4, at(500)), None);
    assert_eq!(assign(&mut state, &terms, 3, at(500)), Some((4, 0, MIB + 100, 2 * MIB)));
    assert_eq!(assign(&mut state, &terms, 3, at(500)), Some((5, 0, 3 * MIB, 4 * MIB)));
    assert!(state.pieces.iter().all(|piece| !piece.is_foreign));
    state.ended = Some(None);
    assert_eq!(assign(&mut state, &terms, 3, at(500)), None);
}

#[test]
fn a_front_stands_still_or_is_slow_after_two_seconds() {
    for (received, last, usual, now, expected) in [
        (2000, 1500, None, 2000, None),
        (2000, 1000, None, 2999, None),
        (2000, 1000, None, 3000, Some(0)),
        (2000, 1500, Some(4000), 2000, None),
        (2000, 1500, Some(4001), 2000, Some(0)),
        (2000, 1500, Some(4_000_000), 1999, None),
        (MIB, 0, Some(u64::MAX), 9000, None),
    ] {
        let mut terms = terms(1);
        let mut state = planned(&mut terms, &[0, 0]);
        receive(&mut state, 1, received, at(last));
        assert_eq!(state.stalled_front(at(9000)), None, "the pump has something");
        assert_eq!(next(&mut state, &terms), Ok(received));
        state.usual = usual;
        assert_eq!(state.stalled_front(at(now)), expected, "{received} {last} {usual:?} {now}");
        state.pieces[0].running = None;
        assert_eq!(state.stalled_front(at(now)), None, "nothing runs");
    }
}

#[test]
fn a_front_that_stands_still_goes_to_another_source_and_is_waited_for_twice_as_long() {
    let mut terms = terms(2);
    let mut state = planned(&mut terms, &[0, 0]);
    receive(&mut state, 1, 500, at(100));
    assert_eq!(next(&mut state, &terms), Ok(500));
    assert!(!state.mixture.sources);
    assert_eq!(assign(&mut state, &terms, 2, at(2100)), Some((3, 1, 500, MIB)));
    let piece = &state.pieces[0];
    assert_eq!((piece.first, piece.since, piece.last, piece.patience), (500, at(2100), at(2100), 2 * STALL));
    let faults: Vec<u32> = state.sources.iter().map(|source| source.faults).collect();
    assert_eq!(faults, [1, 0]);
    assert_eq!(state.stalled_front(at(6099)), None);
    assert_eq!(state.stalled_front(at(6100)), Some(0));
    receive(&mut state, 3, 1, at(6100));
    assert_eq!(next(&mut state, &terms), Ok(1));
    assert_eq!(state.mixture, Mixture { responses: true, sources: true });
}

#[test]
fn the_largest_piece_is_split_if_half_of_it_takes_a_while() {
    for (size, received, ms, usual, memory, expected) in [
        (10 * MIB, 2 * MIB, 2000, None, 4 * MIB, Some((6 * MIB, 10 * MIB))),
        (10 * MIB, 2 * MIB, 2000, None, 4 * MIB - 1, None),
        // It takes less than a second.
        (10 * MIB, 9 * MIB, 1000, None, MIB, None),
        (10 * MIB, 9 * MIB, 9000, None, MIB, Some((10 * MIB - 512 * KIB, 10 * MIB))),
        (512 * KIB + 1, 1, 10_000, None, MIB, Some((256 * KIB + 1, 512 * KIB + 1))),
        (512 * KIB, 1, 10_000, None, MIB, None),
        // Nothing was received yet.
        (10 * MIB, 0, 10_000, None, 10 * MIB, None),
        (10 * MIB, 0, 1, Some(10 * MIB), 10 * MIB, Some((5 * MIB, 10 * MIB))),
        (10 * MIB, 0, 1, Some(10 * MIB + 1), 10 * MIB, None),
    ] {
        let terms = Terms { size, share_bytes: size, window: Window::new(memory), ..terms(1) };
        let mut state: State<u64> = State::new(&Terms { connections: 1, ..self::terms(1) }, 0, at(0));
        state.next_piece(&terms, 0, at(0)).expect("it is the front");
        state.usual = usual;
        if received > 0 {
            receive(&mut state, 1, received, at(ms));
        }
        let split = state.split(&terms, 0, at(ms)).map(|split| (split.first, split.end));
        assert_eq!(split, expected, "{size} {received} {ms} {usual:?}");
        let (reserved, end) = expected.map_or((0, size), |(first, end)| (end - first, first));
        assert_eq!((left(&terms), state.pieces[0].end), (memory - reserved, end));
    }
}

#[test]
fn a_piece_that_is_split_shares_its_reservation() {
    let mut terms = terms(1);
    let mut state = planned(&mut terms, &[0, 0, 0]);
    terms.window = Window::new(0);
    receive(&mut state, 1, 500_000, at(9000));
    receive(&mut state, 3, 8, at(9000));
    state.done(&terms, 2, Ended::Broken(broken()), at(9000));
    let split = state.split(&terms, 0, at(9000)).expect("the third piece has memory");
    let half = (MIB - 8) / 2;
    assert_eq!((split.first, split.end), (3 * MIB - half, 3 * MIB));
    let reserved: Vec<u64> = state.pieces.iter().map(|piece| piece.reserved).collect();
    assert_eq!((reserved, left(&terms)), (vec![0, MIB, MIB - half, half], 0));
    assert_eq!(ranges(&state)[2..], [(2 * MIB + 8, 3 * MIB - half), (3 * MIB - half, 3 * MIB)]);
}

#[test]
fn a_connection_goes_to_the_source_with_the_fewest_faults_then_the_fewest_connections() {
    let mut terms = terms(3);
    let mut state = planned(&mut terms, &[0, 1]);
    let mut choice = |faults: [u32; 3], avoided, lost: Option<usize>| {
        for (index, source) in state.sources.iter_mut().enumerate() {
            source.faults = faults[index];
            source.lost = (lost == Some(index)).then_some(None);
        }
        let (source, extra) = state.connection(&terms, avoided)?;
        Some((source, extra.is_some()))
    };
    assert_eq!(choice([0, 0, 0], None, None), Some((2, true)));
    assert_eq!(choice([0, 0, 0], Some(2), None), Some((0, true)));
    assert_eq!(choice([0, 0, 1], None, None), Some((0, true)));
    assert_eq!(choice([1, 0, 1], None, Some(1)), Some((2, true)));
    assert_eq!(choice([1, 1, 1], Some(0), Some(2)), Some((1, true)));
    state.pieces[0].running = None;
    let (source, extra) = state.connection(&terms, None).expect("it takes one");
    assert_eq!((source, extra.is_some()), (0, false), "the download's own");
}

#[test]
fn the_pump_gets_the_bytes_in_order_and_the_memory_is_given_back() {
    let mut terms = terms(1);
    let mut state = planned(&mut terms, &[0, 0, 0]);
    assert_eq!(left(&terms), 38 * MIB);
    receive(&mut state, 2, MIB, at(1));
    assert_eq!(next(&mut state, &terms), Err(false));
    receive(&mut state, 1, MIB, at(1));
    assert_eq!((next(&mut state, &terms), state.mixture), (Ok(MIB), Mixture::default()));
    assert_eq!((left(&terms), state.at), (38 * MIB, MIB));
    assert_eq!(next(&mut state, &terms), Ok(MIB));
    assert_eq!(state.mixture, Mixture { responses: true, sources: false });
    assert_eq!((left(&terms), state.at), (39 * MIB, 2 * MIB));
    receive(&mut state, 3, MIB - 1, at(1));
    assert_eq!(next(&mut state, &terms), Ok(MIB - 1));
    assert_eq!(left(&terms), 40 * MIB - 1);
    state.release(&terms);
    assert_eq!(left(&terms), 40 * MIB);
    state.ended = Some(None);
    assert_eq!(next(&mut state, &terms), Err(false), "its request runs");
    state.pieces[0].running = None;
    assert_eq!(next(&mut state, &terms), Err(true));
    assert!(state.ended_early(&terms));
    receive(&mut state, 3, 1, at(1));
    assert_eq!(next(&mut state, &terms), Ok(1));
    assert_eq!(next(&mut state, &terms), Err(true));
    assert!(!state.ended_early(&terms));
}

#[test]
fn without_a_piece_the_pump_waits_unless_it_has_all_or_no_more_is_requested() {
    let terms = terms(1);
    for (from, ended, expected) in [(0, None, Err(false)), (0, Some(None), Err(true)), (100 * MIB, None, Err(true))] {
        let mut state = State::new(&terms, from, at(0));
        state.ended = ended;
        assert_eq!(next(&mut state, &terms), expected);
    }
}

#[test]
fn bytes_that_wait_behind_the_first_response_are_not_dropped_for_it() {
    let mut terms = terms(1);
    let mut state = planned(&mut terms, &[0, 0]);
    receive(&mut state, 2, 5, at(1));
    state.done(&terms, 2, Ended::Broken(broken()), at(1));
    assert_eq!(assign(&mut state, &terms, 1, at(1)), Some((3, 0, MIB + 5, 2 * MIB)));
    state.done(&terms, 3, Ended::Unfit(None), at(1));
    assert_eq!(ranges(&state), [(0, MIB), (MIB + 5, 2 * MIB)]);
}

#[test]
fn a_piece_may_have_its_reservation_and_a_fixed_amount_more() {
    let mut terms = terms(1);
    let mut state = planned(&mut terms, &[0, 0]);
    let mut context = Context::from_waker(Waker::noop());
    receive(&mut state, 1, AHEAD_BYTES - 1, at(1));
    assert!(state.poll_room(1, &mut context).is_ready() && state.reader().is_none());
    receive(&mut state, 1, 1, at(1));
    assert!(state.poll_room(1, &mut context).is_pending());
    assert!(state.reader().is_none(), "it still has as much");
    assert_eq!(next(&mut state, &terms), Ok(AHEAD_BYTES - 1));
    assert!(state.reader().is_some() && state.reader().is_none());
    receive(&mut state, 2, MIB, at(1));
    assert!(state.poll_room(2, &mut context).is_ready(), "it is reserved");
    assert!(state.poll_room(7, &mut context).is_ready(), "no such piece");
}

#[test]
fn what_the_end_of_a_request_says_of_its_source() {
    // the bytes received, the end; faults, requests that broke in a row, and if it is lost
    let complete = || Ended::Complete;
    let breaks = || Ended::Broken(broken());
    let unfit = || Ended::Unfit(None);
    for (before, received, ended, expected) in [
        (2, 10, complete(), (0, 0, false)),
        (0, 10, breaks(), (1, 1, false)),
        (2, 10, breaks(), (1, 3, false)),
        (3, 10, breaks(), (0, 3, true)),
        (3, 100, breaks(), (1, 0, false)),
        (3, 99, breaks(), (0, 3, true)),
        (0, 10, unfit(), (0, 0, true)),
    ] {
        let mut terms = terms(2);
        terms.progress_bytes = 100;
        let mut state = planned(&mut terms, &[0, 1, 0]);
        state.sources[1].broken = before;
        receive(&mut state, 2, received, at(1000));
        state.done(&terms, 2, ended, at(1000));
        let source = &state.sources[1];
        assert_eq!((source.faults, source.broken, source.lost.is_some()), expected, "{before} {received}");
        assert!(state.pieces[1].running.is_none() && state.ended.is_none());
    }
}

#[test]
fn the_rate_of_an_average_connection_follows_those_of_the_pieces() {
    let mut terms = terms(1);
    let mut state = planned(&mut terms, &[0; 7]);
    for (number, bytes, usual) in [(1, 4000, 2000), (2, 8000, 2500), (3, 100, 1887)] {
        receive(&mut state, number, bytes, at(2000));
        state.done(&terms, number, Ended::Complete, at(2000));
        assert_eq!(state.usual, Some(usual));
    }
    assert_eq!(state.rates, [(0, 2000), (0, 4000), (0, 50)]);
    for number in 4..=7 {
        state.done(&terms, number, Ended::Complete, at(2000));
    }
    // No more than one more than there are connections.
    assert_eq!(state.rates, [(0, 50), (0, 0), (0, 0), (0, 0), (0, 0)]);
    state.done(&terms, 9, Ended::Complete, at(2000));
    assert_eq!(state.rates.len(), 5, "no such piece");
}

#[test]
fn after_the_last_source_nothing_behind_the_first_gap_is_kept() {
    let mut terms = terms(2);
    let mut state = planned(&mut terms, &[0, 1, 0, 0]);
    receive(&mut state, 2, 5, at(1));
    receive(&mut state, 3, 7, at(1));
    state.done(&terms, 3, Ended::Unfit(None), at(1));
    assert!(state.ended.is_none(), "another source is left");
    state.sources[1].broken = MOST_BROKEN;
    state.done(&terms, 2, Ended::Broken(broken()), at(1));
    assert!(matches!(state.ended, Some(None)), "the error of the first source");
    assert_eq!(ranges(&state), [(0, MIB), (MIB + 5, 2 * MIB)]);
    assert_eq!(left(&terms), 39 * MIB);
}

#[test]
fn the_first_response_goes_on_to_the_end_if_nothing_was_received_after_it() {
    for (lost, received, first_runs, goes_on) in
        [(2, 0, true, true), (2, 1, true, false), (2, 0, false, false), (3, 0, true, false)]
    {
        let mut terms = terms(1);
        let mut state = planned(&mut terms, &[0, 0, 0]);
        if received > 0 {
            receive(&mut state, 2, received, at(1));
        }
        if !first_runs {
            state.done(&terms, 1, Ended::Broken(broken()), at(1));
        }
        state.sources[0].broken = MOST_BROKEN;
        state.done(&terms, lost, Ended::Broken(broken()), at(1));
        let ranges = ranges(&state);
        match goes_on {
            true => assert_eq!(ranges, [(0, 3 * MIB)]),
            false => assert_eq!(ranges[0], (0, MIB), "{lost} {received} {first_runs}"),
        }
        assert_eq!(matches!(state.ended, Some(None)), goes_on);
        let reserved: u64 = state.pieces.iter().map(|piece| piece.reserved).sum();
        assert_eq!(left(&terms), 40 * MIB - reserved);
    }
}

#[test]
fn a_connection_is_added_as_long_as_that_raises_the_rate_by_a_quarter() {
    // when, the bytes received by then, the connections allowed after it
    let rows = [
        (9, vec![(1999, 9000, 1), (2000, 10_000, 2), (3999, 22_500, 2), (4000, 22_500, 3), (6000, 38_124, 2)]),
        (9, vec![(2000, 10_000, 2), (4000, 22_499, 1), (6000, 99_999, 1)]),
        (2, vec![(2000, 10_000, 2), (4000, 90_000, 2), (6000, 90_000, 2)]),
    ];
    for (most, steps) in rows {
        let terms = Terms { auto: true, ..terms(1) };
        let mut state: State<u64> = State::new(&terms, 0, at(0));
        for (ms, received, allowed) in steps {
            state.received = received;
            state.judge_connections(most, at(ms));
            assert_eq!(state.trial.allowed, allowed, "{ms}");
        }
    }
    let mut fixed: State<u64> = State::new(&terms(1), 0, at(0));
    fixed.judge_connections(9, at(9000));
    assert_eq!(fixed.trial.allowed, 4);
}

#[test]
fn a_rate_is_in_bytes_per_second_and_no_time_counts_as_a_millisecond() {
    let of = |bytes, ms| per_second(bytes, Duration::from_millis(ms));
    assert_eq!((of(3000, 1500), of(1999, 2000), of(5, 0), of(0, 9)), (2000, 999, 5000, 0));
}
