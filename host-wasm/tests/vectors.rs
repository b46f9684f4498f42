//! What core's primitives answer, as `vectors.json`: the JavaScript of `regrip/retry` is tested against the same file, so that the
//! two cannot drift apart.
//!
//! `REGRIP_WRITE_VECTORS=1 cargo test -p regrip-wasm --test vectors` writes the file anew.
#![cfg(not(target_arch = "wasm32"))]

use regrip_core::classify::class_of_status;
use regrip_core::http::parse_retry_after;
use regrip_core::random::Random;
use regrip_core::retry::Retrying;
use regrip_core::semaphore::{Acquire, Permit, Semaphore};
use regrip_core::{Class, RetryPolicy};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::future::{Future, ready};
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, UNIX_EPOCH};

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors.json");

#[test]
fn the_vectors_that_javascript_is_tested_with_are_the_answers_of_core() {
    let mut random = fastrand::Rng::with_seed(1);
    let answers = json!({
        "backoffDelay": backoff_delays(&mut random),
        "parseRetryAfter": retry_afters(),
        "transientStatuses": (400..600).filter(|status| class_of_status(*status, &[]) == Class::Transient).collect::<Vec<_>>(),
        "retry": (0..60).map(|_| retry_run(&mut random)).collect::<Vec<_>>(),
        "semaphore": (0..40).map(|_| semaphore_run(&mut random)).collect::<Vec<_>>(),
    });
    let answers = format!("{answers}\n");
    if std::env::var_os("REGRIP_WRITE_VECTORS").is_some() {
        std::fs::write(FILE, &answers).unwrap();
    }
    assert!(
        std::fs::read_to_string(FILE).unwrap() == answers,
        "vectors.json is not what core answers: see the head of this file"
    );
}

/// A number that was drawn already, from 0 up to and without 1. As JavaScript computes it.
struct Drawn(f64);

impl Random for Drawn {
    fn up_to(&mut self, max: u64) -> u64 {
        ((self.0 * (max as f64 + 1.0)) as u64).min(max)
    }
}

fn ms(duration: Duration) -> f64 {
    duration.as_secs() as f64 * 1000.0 + f64::from(duration.subsec_nanos()) / 1e6
}

fn backoff_delays(random: &mut fastrand::Rng) -> Vec<Value> {
    let mut delays = Vec::new();
    for attempt in [1, 2, 3, 4, 7, 16, 31, 32, 33, 34, 60, 1000, u32::MAX] {
        for (base, cap) in
            [(1000, 60_000), (0, 60_000), (1, u64::from(u32::MAX)), (250, 100), (5000, 0), (3, 86_400_000)]
        {
            let policy = RetryPolicy::new(1, Duration::from_millis(base), Duration::from_millis(cap)).unwrap();
            for drawn in [0.0, 1.0 - f64::EPSILON, random.f64()] {
                let delay = ms(policy.jitter(attempt, &mut Drawn(drawn)));
                delays.push(
                    json!({ "attempt": attempt, "baseDelayMs": base, "maxDelayMs": cap, "random": drawn, "ms": delay }),
                );
            }
        }
    }
    delays
}

fn retry_afters() -> Vec<Value> {
    const NOW: u64 = 784_111_770; // Sun, 06 Nov 1994 08:49:30 GMT
    let texts = [
        "0",
        "1",
        "120",
        "007",
        "4294967296",
        "18446744073709551615",
        "99999999999999999999999",
        "",
        " ",
        " 1",
        "1 ",
        "-1",
        "+1",
        "1.5",
        "1e3",
        "0x10",
        "١",
        "soon",
        "Sun, 06 Nov 1994 08:49:37 GMT",
        "Sunday, 06-Nov-94 08:49:37 GMT",
        "Sun Nov  6 08:49:37 1994",
        "Sun Nov 06 08:49:37 1994",
        " Sun, 06 Nov 1994 08:49:37 GMT\t",
        "Sun, 06 Nov 1994 08:49:30 GMT",
        "Sun, 06 Nov 1994 08:49:29 GMT",
        "Mon, 06 Nov 1994 08:49:37 GMT",
        "sun, 06 Nov 1994 08:49:37 GMT",
        "Sun, 06 nov 1994 08:49:37 GMT",
        "Sun, 6 Nov 1994 08:49:37 GMT",
        "Sun, 06 Nov 1994 08:49:37",
        "Sun, 06 Nov 94 08:49:37 GMT",
        "Sun, 06 Nov 1994 08:49:37 UTC",
        "Sun, 06 Nov 1994 8:49:37 GMT",
        "Sun, 06 Nov 1994 24:00:00 GMT",
        "Sun, 06 Nov 1994 23:60:00 GMT",
        "Sun, 06 Nov 1994 23:59:60 GMT",
        "Thu, 29 Feb 1996 00:00:00 GMT",
        "Thu, 29 Feb 1995 00:00:00 GMT",
        "Wed, 01 Mar 1995 00:00:00 GMT",
        "Sat, 31 Apr 2027 00:00:00 GMT",
        "Tue, 29 Feb 2000 12:00:00 GMT",
        "Mon, 29 Feb 2100 12:00:00 GMT",
        "Fri, 31 Dec 9999 23:59:59 GMT",
        "Thu, 01 Jan 1970 00:00:00 GMT",
        "Wed, 31 Dec 1969 23:59:59 GMT",
        "Mon, 01 Jan 0001 00:00:00 GMT",
        "Wednesday, 06-Nov-69 08:49:37 GMT",
        "Friday, 06-Nov-70 08:49:37 GMT",
        "Monday, 00-Nov-95 08:49:37 GMT",
        "Someday, 06-Nov-94 08:49:37 GMT",
        "Sun, 00 Nov 1994 08:49:37 GMT",
        "Sun, 06 Foo 1994 08:49:37 GMT",
        "Sun, 06 anF 1994 08:49:37 GMT",
        "1994-11-06T08:49:37Z",
        "Sun,  06 Nov 1994 08:49:37 GMT",
        "Sun, 06 Nov 1994 08:49:37 GMT GMT",
        "Sun Nov 6 08:49:37 1994",
        "Sun Nov   6 08:49:37 1994",
        "Sun, 06 Nov 1994 08-49-37 GMT",
    ];
    let now = UNIX_EPOCH + Duration::from_secs(NOW);
    let answer = |text: &str| parse_retry_after(text, now).map(ms);
    texts.map(|text| json!({ "value": text, "now": NOW * 1000, "ms": answer(text) })).into()
}

/// An error of an operation: it is retryable, and asks for a delay.
#[derive(Clone, Debug)]
struct Failure(bool, Option<u64>);

fn retry_run(random: &mut fastrand::Rng) -> Value {
    let attempts = random.u32(1..8);
    let (base, cap, drawn) = (random.u64(0..3000), random.u64(0..9000), random.f64());
    let failures: Vec<Option<Failure>> = (0..attempts)
        .map(|_| {
            (random.u8(0..6) > 0)
                .then(|| Failure(random.u8(0..5) > 0, (random.u8(0..3) == 0).then(|| random.u64(0..20_000))))
        })
        .collect();
    let policy = RetryPolicy::new(attempts, Duration::from_millis(base), Duration::from_millis(cap)).unwrap();
    let (mut observed, mut calls) = (Vec::new(), 0);
    let operation = |attempt| {
        calls = attempt;
        ready(failures[attempt as usize - 1].clone().map_or(Ok(()), Err))
    };
    let retry = policy
        .retry(|_| ready(()), Drawn(drawn), operation)
        .when(|error| error.0)
        .retry_after(|error| error.1.map(Duration::from_millis))
        .on_retry(|Retrying { attempt, delay, asked_by, .. }| {
            observed.push(json!({ "attempt": attempt, "delayMs": ms(delay), "askedBy": asked_by.name() }));
        });
    let ended = finished(retry);
    let described = |failure: &Option<Failure>| {
        failure.as_ref().map(|Failure(transient, after)| json!({ "class": if *transient { "transient" } else { "permanent" }, "retryAfterMs": after }))
    };
    json!({
        "maxAttempts": attempts, "baseDelayMs": base, "maxDelayMs": cap, "random": drawn, "failures": failures.iter().map(described).collect::<Vec<_>>(),
        "calls": calls, "succeeds": ended.is_ok(), "retries": observed,
    })
}

/// Polls a future that never waits.
fn finished<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(done) => done,
        Poll::Pending => panic!("it waits"),
    }
}

/// Users of a semaphore arrive, leave while they wait, and release; after each step, who holds a permit.
fn semaphore_run(random: &mut fastrand::Rng) -> Value {
    let permits = random.u32(1..4);
    let semaphore = Semaphore::new(permits as usize).unwrap();
    let mut waiting: BTreeMap<u32, Acquire> = BTreeMap::new();
    let mut held: BTreeMap<u32, Permit> = BTreeMap::new();
    let mut steps = Vec::new();
    for user in 0..30 {
        let (step, of) = match random.u8(0..10) {
            0 => ("resize", random.u32(1..5)),
            1 if !waiting.is_empty() => ("leave", *random.choice(waiting.keys()).unwrap()),
            2..=4 if !held.is_empty() => ("release", *random.choice(held.keys()).unwrap()),
            _ => ("acquire", user),
        };
        match step {
            "resize" => semaphore.resize(of as usize).unwrap(),
            "leave" => drop(waiting.remove(&of)),
            "release" => drop(held.remove(&of)),
            _ => drop(waiting.insert(of, semaphore.acquire())),
        }
        for (user, mut acquire) in std::mem::take(&mut waiting) {
            match pin!(&mut acquire).poll(&mut Context::from_waker(Waker::noop())) {
                Poll::Ready(permit) => drop(held.insert(user, permit)),
                Poll::Pending => drop(waiting.insert(user, acquire)),
            }
        }
        steps.push(json!([step, of, held.keys().collect::<Vec<_>>(), semaphore.used(), semaphore.waiting()]));
    }
    json!({ "permits": permits, "steps": steps })
}
