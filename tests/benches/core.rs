//! The retry loop beside backon's, the semaphore beside tokio's and async-lock's: what each costs without
//! waiting, and with many waiters. `tests/bench/run --only micro` puts the figures into `BENCHMARKS.md`.
#![allow(missing_docs)] // criterion_group! makes a public function without any

use backon::{BackoffBuilder, ExponentialBuilder, Retryable};
use criterion::{BenchmarkId, Criterion};
use futures::executor::block_on;
use futures::future::join_all;
use regrip_core::random::Random;
use regrip_core::{RetryPolicy, Semaphore};
use std::cell::Cell;
use std::future::{Future, ready};
use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

const BASE: Duration = Duration::from_millis(100);
const CAP: Duration = Duration::from_secs(10);

/// Succeeds at its `wanted`th call.
fn call(calls: &Cell<u32>, wanted: u32) -> Result<u32, u32> {
    let number = calls.get() + 1;
    calls.set(number);
    if number >= wanted { Ok(number) } else { Err(number) }
}

fn retries(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("retry");
    for (case, wanted) in [("the first attempt succeeds", 1), ("the fifth attempt succeeds", 5)] {
        group.bench_function(BenchmarkId::new(case, "regrip"), |bencher| {
            let policy = RetryPolicy::new(5, BASE, CAP).unwrap();
            let mut random = fastrand::Rng::with_seed(1);
            bencher.iter(|| {
                let calls = Cell::new(0);
                let operation = |_| ready(call(&calls, wanted));
                let sleep = |delay| {
                    black_box(delay);
                    ready(())
                };
                block_on(policy.retry(sleep, |most| random.up_to(most), operation))
            });
        });
        group.bench_function(BenchmarkId::new(case, "backon"), |bencher| {
            let policy =
                ExponentialBuilder::default().with_min_delay(BASE).with_max_delay(CAP).with_jitter().with_max_times(4);
            black_box(policy.build());
            bencher.iter(|| {
                let calls = Cell::new(0);
                let operation = || ready(call(&calls, wanted));
                let sleep = |delay| {
                    black_box(delay);
                    ready(())
                };
                block_on(operation.retry(policy).sleep(sleep))
            });
        });
    }
    group.finish();
}

/// Tasks that want a permit, hold it over a suspension, and let it go.
const TASKS: usize = 64;
const PERMITS: usize = 4;

async fn hold<P>(permit: impl Future<Output = P>) {
    let _permit = permit.await;
    smol::future::yield_now().await;
}

fn semaphores(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("semaphore");
    let ours = Semaphore::new(PERMITS).unwrap();
    let tokio = Arc::new(tokio::sync::Semaphore::new(PERMITS));
    let async_lock = Arc::new(async_lock::Semaphore::new(PERMITS));

    let case = "a permit is free";
    group.bench_function(BenchmarkId::new(case, "regrip"), |bencher| {
        bencher.iter(|| drop(block_on(ours.acquire())));
    });
    group.bench_function(BenchmarkId::new(case, "tokio"), |bencher| {
        bencher.iter(|| drop(block_on(Arc::clone(&tokio).acquire_owned())));
    });
    group.bench_function(BenchmarkId::new(case, "async-lock"), |bencher| {
        bencher.iter(|| drop(block_on(async_lock.acquire_arc())));
    });

    let case = "64 tasks share 4 permits";
    group.bench_function(BenchmarkId::new(case, "regrip"), |bencher| {
        bencher.iter(|| block_on(join_all((0..TASKS).map(|_| hold(ours.acquire())))));
    });
    group.bench_function(BenchmarkId::new(case, "tokio"), |bencher| {
        let acquire = || Arc::clone(&tokio).acquire_owned();
        bencher.iter(|| block_on(join_all((0..TASKS).map(|_| hold(acquire())))));
    });
    group.bench_function(BenchmarkId::new(case, "async-lock"), |bencher| {
        let acquire = || async_lock.acquire_arc();
        bencher.iter(|| block_on(join_all((0..TASKS).map(|_| hold(acquire())))));
    });
    group.finish();
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    retries(&mut criterion);
    semaphores(&mut criterion);
    criterion.final_summary();
}
