//! The retry loop and its waits.

use regrip_core::RetryPolicy;
use regrip_core::random::Random;
use regrip_core::retry::{AskedBy, Retrying};
use regrip_core::testing::{Constant, VirtualClock};
use regrip_core::time::Clock;
use std::future::ready;
use std::time::Duration;

const MS: Duration = Duration::from_millis(1);

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

fn policy(max_attempts: u32, base: Duration, cap: Duration) -> RetryPolicy {
    RetryPolicy::new(max_attempts, base, cap).expect("at least one attempt")
}

/// An error with its own class and wait, recognisable by its number.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Fault {
    number: u32,
    transient: bool,
    retry_after: Option<Duration>,
}

fn fault(number: u32) -> Fault {
    Fault { number, transient: true, retry_after: None }
}

/// What the observer of a run saw.
#[derive(Default)]
struct Watch(Vec<(u32, Duration, AskedBy, Fault)>);

impl Watch {
    fn see(&mut self, retrying: Retrying<'_, Fault>) {
        let Retrying { attempt, delay, asked_by, error } = retrying;
        self.0.push((attempt, delay, asked_by, error.clone()));
    }
}

struct Ran<T> {
    result: Result<T, Fault>,
    calls: Vec<u32>,
    watch: Watch,
    took: Duration,
}

fn run<T>(policy: RetryPolicy, random: impl Random, mut operation: impl FnMut(u32) -> Result<T, Fault>) -> Ran<T> {
    let (clock, mut watch, mut calls) = (VirtualClock::default(), Watch::default(), Vec::new());
    let counted = |attempt| {
        calls.push(attempt);
        ready(operation(attempt))
    };
    let retry = policy
        .retry(|delay| clock.sleep(delay), random, counted)
        .when(|error| error.transient)
        .retry_after(|error| error.retry_after)
        .on_retry(|retrying| watch.see(retrying));
    let result = clock.run(retry);
    assert_eq!(clock.timers(), 0);
    Ran { result: result.expect("it ends"), calls, watch, took: clock.elapsed() }
}

#[test]
fn attempts_count_from_1_and_the_first_is_included() {
    for max in [1, 2, 5] {
        let ran = run(policy(max, MS, MS), Constant(100), |n| Err::<(), _>(fault(n)));
        assert_eq!(ran.calls, (1..=max).collect::<Vec<_>>());
        assert_eq!(ran.watch.0.len() as u32, max - 1);
    }
}

#[test]
fn zero_attempts_are_refused_before_there_is_a_policy_to_run() {
    let refused = RetryPolicy::new(0, MS, MS).expect_err("0 is refused");
    assert!(refused.to_string().contains("expected at least 1"));
    assert!(RetryPolicy::new(1, Duration::ZERO, Duration::ZERO).is_ok());
}

#[test]
fn a_first_success_returns_at_once() {
    let ran = run(policy(5, ms(1000), ms(1000)), Constant(100), |_| Ok(7));
    assert_eq!((ran.result, ran.calls), (Ok(7), vec![1]));
    assert_eq!(ran.took, Duration::ZERO);
}

#[test]
fn a_permanent_error_comes_back_as_it_is_and_at_once() {
    let permanent = Fault { transient: false, retry_after: Some(ms(9)), ..fault(2) };
    let ran = run(policy(5, Duration::ZERO, MS), Constant(100), |n| {
        Err::<(), _>(if n == 1 { fault(1) } else { permanent.clone() })
    });
    assert_eq!(ran.result, Err(permanent));
    assert_eq!(ran.calls, [1, 2]);
    assert_eq!(ran.watch.0.len(), 1);
}

#[test]
fn after_the_last_attempt_its_own_error_comes_back() {
    let ran = run(policy(3, MS, MS), Constant(0), |n| Err::<(), _>(fault(n)));
    assert_eq!(ran.result, Err(fault(3)));
}

#[test]
fn the_observer_hears_attempt_delay_who_asked_and_the_error() {
    let asking = Fault { retry_after: Some(ms(300)), ..fault(2) };
    let ran = run(policy(4, ms(100), ms(1000)), Constant(50), |n| match n {
        2 => Err(asking.clone()),
        4 => Ok(()),
        n => Err(fault(n)),
    });
    let expected = [
        (1, ms(50), AskedBy::Jitter, fault(1)),
        (2, ms(300), AskedBy::RetryAfter, asking.clone()),
        (3, ms(200), AskedBy::Jitter, fault(3)),
    ];
    assert_eq!(ran.watch.0, expected);
    assert_eq!(ran.took, ms(550), "it slept on the injected clock");
}

// T06
#[test]
fn the_ceiling_doubles_up_to_the_cap_whatever_the_numbers() {
    const ZERO: Duration = Duration::ZERO;
    const MAX: Duration = Duration::MAX;
    let ns = Duration::from_nanos;
    let rows = [
        // base, cap, attempt, ceiling
        (ms(1000), ms(60_000), 1, ms(1000)),
        (ms(1000), ms(60_000), 2, ms(2000)),
        (ms(1000), ms(60_000), 6, ms(32_000)),
        (ms(1000), ms(60_000), 7, ms(60_000)),
        (ms(1000), ms(60_000), 32, ms(60_000)),
        (ms(1000), ms(60_000), 33, ms(60_000)),
        (ms(1000), ms(60_000), u32::MAX, ms(60_000)),
        (ms(1000), ms(60_000), 0, ms(1000)),
        (ZERO, ms(60_000), 1, ZERO),
        (ZERO, ms(60_000), 33, ZERO),
        (ZERO, MAX, u32::MAX, ZERO),
        (ms(1000), ZERO, 1, ZERO),
        (ms(1000), ZERO, u32::MAX, ZERO),
        (ms(5000), ms(1000), 1, ms(1000)),
        (ms(5000), ms(1000), u32::MAX, ms(1000)),
        (MAX, MAX, 1, MAX),
        (MAX, MAX, 2, MAX),
        (MAX, MAX, u32::MAX, MAX),
        (ns(1), MAX, 1, ns(1)),
        (ns(1), MAX, 32, ns(1 << 31)),
        (ns(1), MAX, 33, ns(1 << 32)),
        (ns(1), MAX, 64, ns(1 << 63)),
        (ns(1), MAX, u32::MAX, MAX),
        (ns(1), ms(60_000), u32::MAX, ms(60_000)),
    ];
    for (base, cap, attempt, ceiling) in rows {
        let got = policy(1, base, cap).ceiling(attempt);
        assert_eq!(got, ceiling, "base {base:?}, cap {cap:?}, attempt {attempt}");
    }
}

#[test]
fn jitter_reaches_from_zero_to_the_ceiling() {
    let policy = policy(9, ms(1000), ms(10_000));
    for (attempt, ceiling) in [(1, 1000), (3, 4000), (4, 8000), (5, 10_000), (9, 10_000)] {
        for share in [0, 50, 100] {
            let drawn = policy.jitter(attempt, &mut Constant(share));
            assert_eq!(drawn, ms(ceiling * u64::from(share) / 100));
        }
    }
    let forever = RetryPolicy { max_delay: Duration::MAX, base_delay: Duration::MAX, ..policy };
    let longest = forever.jitter(1, &mut Constant(100));
    assert_eq!(longest, Duration::from_nanos(u64::MAX), "no overflow");
}

// The bug of libraries that draw first and cap then: beyond the cap most waits become the same (B19).
#[test]
fn waits_at_the_cap_stay_spread_out() {
    let policy = policy(99, ms(1000), ms(60_000));
    let mut random = fastrand::Rng::with_seed(5);
    let mut tenths = [0_u32; 10];
    for _ in 0..10_000 {
        let drawn = policy.jitter(40, &mut random);
        assert!(drawn <= ms(60_000));
        let tenth = (drawn.as_millis() / 6_000).min(9) as usize;
        tenths[tenth] += 1;
    }
    for (tenth, count) in tenths.into_iter().enumerate() {
        assert!((800..1200).contains(&count), "{count} draws in tenth {tenth}");
    }
}

// T07
#[test]
fn different_seeds_give_different_waits() {
    let policy = policy(9, ms(1000), ms(60_000));
    let draw = |seed| policy.jitter(5, &mut fastrand::Rng::with_seed(seed));
    let mut drawn: Vec<Duration> = (0..1000).map(draw).collect();
    drawn.sort_unstable();
    drawn.dedup();
    assert!(drawn.len() > 990);
}

// T03
#[test]
fn an_asked_for_wait_is_exact_and_capped() {
    let policy = policy(9, ms(1000), ms(60_000));
    let rows = [
        (Duration::ZERO, Duration::ZERO),
        (ms(1), ms(1)),
        (ms(59_999), ms(59_999)),
        (ms(60_000), ms(60_000)),
        (ms(60_001), ms(60_000)),
        (Duration::from_secs(u64::MAX), ms(60_000)),
    ];
    for (asked, waited) in rows {
        let got = policy.wait(1, Some(asked), &mut Constant(50));
        assert_eq!(got, (waited, AskedBy::RetryAfter));
    }
    let own = policy.wait(1, None, &mut Constant(50));
    assert_eq!(own, (ms(500), AskedBy::Jitter));
}

#[test]
fn a_zero_base_is_no_wait_and_sets_no_timer() {
    let ran = run(policy(4, Duration::ZERO, ms(60_000)), Constant(100), |n| Err::<(), _>(fault(n)));
    assert_eq!((ran.calls.len(), ran.took), (4, Duration::ZERO));
}

// K01
#[test]
fn a_future_dropped_in_its_wait_leaves_no_timer() {
    let (clock, policy) = (VirtualClock::default(), policy(5, MS, MS));
    let mut seen = 0;
    let retry = policy.retry(|delay| clock.sleep(delay), Constant(100), async |n| Err::<(), _>(fault(n)));
    let mut future = Box::pin(retry.on_retry(|_| seen += 1));
    clock.run(async { assert!(futures::poll!(future.as_mut()).is_pending()) });
    assert_eq!(clock.timers(), 1);
    drop(future);
    assert_eq!(clock.timers(), 0);
    assert_eq!(seen, 1);
}

#[test]
fn closures_decide_about_attempts_delays_and_see_each_retry() {
    let (clock, seen) = (VirtualClock::default(), std::cell::RefCell::new(Vec::new()));
    let asking = Fault { retry_after: Some(ms(300)), ..fault(2) };
    let operation = |n| ready(Err::<(), _>(if n == 2 { asking.clone() } else { fault(n) }));
    let future = policy(9, ms(100), ms(1000))
        .retry(|delay| clock.sleep(delay), Constant(50), operation)
        .when(|error| error.number < 4)
        .retry_after(|error| error.retry_after)
        .on_retry(|retrying| seen.borrow_mut().push((retrying.attempt, retrying.delay, retrying.asked_by)));
    assert_eq!(clock.run(future), Some(Err(fault(4))));
    let expected = [(1, ms(50), AskedBy::Jitter), (2, ms(300), AskedBy::RetryAfter), (3, ms(200), AskedBy::Jitter)];
    assert_eq!((seen.into_inner(), clock.elapsed()), (expected.to_vec(), ms(550)));
}

#[test]
fn without_rules_every_error_is_tried_again_and_the_order_of_the_rules_does_not_matter() {
    let (clock, policy) = (VirtualClock::default(), policy(3, MS, MS));
    let operation = |n| ready(Err::<(), _>(fault(n)));
    let future = policy.retry(|delay| clock.sleep(delay), |most| most, operation);
    assert_eq!(clock.run(future), Some(Err(fault(3))));
    let future = policy.retry(|delay| clock.sleep(delay), |most| most, operation).on_retry(|_| {}).when(|_| false);
    assert_eq!(clock.run(future), Some(Err(fault(1))));
}

#[test]
fn the_failed_operation_is_dropped_before_the_delay() {
    let (clock, held) = (VirtualClock::default(), std::rc::Rc::new(()));
    let operation = |_| {
        let held = held.clone();
        async move {
            let _held = held;
            Err::<(), _>(())
        }
    };
    let mut future = Box::pin(policy(2, MS, MS).retry(|delay| clock.sleep(delay), |most| most, operation));
    clock.run(async { assert!(futures::poll!(future.as_mut()).is_pending()) });
    assert_eq!((std::rc::Rc::strong_count(&held), clock.timers()), (1, 1));
}

#[test]
fn who_asked_for_a_wait_has_a_name() {
    assert_eq!([AskedBy::Jitter, AskedBy::RetryAfter].map(AskedBy::name), ["jitter", "retry_after"]);
}

#[test]
fn a_retry_that_is_printed_shows_its_policy_and_its_attempt() {
    let clock = VirtualClock::default();
    let retry = policy(2, MS, MS).retry(|delay| clock.sleep(delay), Constant(0), |n| ready(Err::<(), _>(fault(n))));
    let shown = format!("{retry:?}");
    assert!(shown.starts_with("Retry { policy: RetryPolicy { max_attempts: 2, "), "{shown}");
    assert!(shown.ends_with("attempt: 1, .. }"), "{shown}");
}

#[test]
fn a_closure_may_draw_the_delays() {
    assert_eq!((|max: u64| max / 2).up_to(14), 7);
}
