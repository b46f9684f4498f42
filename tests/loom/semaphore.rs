//! The semaphore under every interleaving of three threads, by loom: permits are never exceeded and no wake-up is lost.
//!
//! The source file is compiled here once more, with loom's lock in place of the standard library's. A lost wake-up is a
//! deadlock, which loom reports.
#![cfg(loom)]

use loom::future::block_on;
use loom::model;
use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::thread;
use semaphore::{Acquire, Lane, Semaphore};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

mod mutex {
    pub(crate) use loom::sync::{Mutex, MutexGuard};
    // Not loom's: no test looks at a count, and an interleaving of each count would be one more for nothing.
    pub(crate) use std::sync::Arc;
    use std::sync::PoisonError;

    pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
        mutex.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[path = "../../core/src/semaphore.rs"]
#[allow(dead_code, unreachable_pub)]
mod semaphore;

fn semaphore(permits: usize) -> Semaphore {
    Semaphore::new(permits).expect("at least one permit")
}

/// Polls once, without a task to wake. A permit that it gets is dropped.
fn poll(acquire: &mut Acquire) -> bool {
    let mut context = Context::from_waker(Waker::noop());
    matches!(Pin::new(acquire).poll(&mut context), Poll::Ready(_))
}

/// Counts the threads that are inside, and checks the number against the permits.
struct Inside(AtomicUsize);

impl Inside {
    fn new() -> Arc<Inside> {
        Arc::new(Inside(AtomicUsize::new(0)))
    }

    fn visit(&self, permits: usize) {
        let others = self.0.fetch_add(1, Ordering::SeqCst);
        assert!(others < permits, "{others} others are inside");
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

// K11
#[test]
fn permits_are_never_exceeded_and_every_waiter_gets_one() {
    model(|| {
        let (semaphore, inside) = (semaphore(1), Inside::new());
        let threads = [(); 2].map(|()| {
            let (semaphore, inside) = (semaphore.clone(), Arc::clone(&inside));
            thread::spawn(move || {
                let _permit = block_on(semaphore.acquire());
                inside.visit(1);
            })
        });
        for thread in threads {
            thread.join().expect("no panic");
        }
        assert_eq!((semaphore.used(), semaphore.waiting()), (0, 0));
    });
}

// K02
#[test]
fn a_waiter_that_is_dropped_while_a_permit_is_released_loses_no_permit() {
    model(|| {
        let semaphore = semaphore(1);
        let permit = semaphore.try_acquire().expect("it is free");
        let mut leaving = semaphore.acquire();
        assert!(!poll(&mut leaving));
        let releasing = thread::spawn(move || drop(permit));
        let dropping = thread::spawn(move || drop(leaving));
        // It waits behind the one that leaves.
        drop(block_on(semaphore.acquire()));
        releasing.join().expect("no panic");
        dropping.join().expect("no panic");
        assert_eq!((semaphore.used(), semaphore.waiting()), (0, 0));
    });
}

// K04
#[test]
fn a_resize_that_races_with_a_release_wakes_every_waiter() {
    model(|| {
        let semaphore = semaphore(1);
        let permit = semaphore.try_acquire().expect("it is free");
        let releasing = thread::spawn(move || drop(permit));
        let resizing = thread::spawn({
            let semaphore = semaphore.clone();
            move || semaphore.resize(2).expect("not 0")
        });
        let first = block_on(semaphore.acquire());
        let second = block_on(semaphore.acquire_in(Lane::Returning));
        releasing.join().expect("no panic");
        resizing.join().expect("no panic");
        assert_eq!((semaphore.used(), semaphore.waiting()), (2, 0));
        drop((first, second));
        assert_eq!(semaphore.used(), 0);
    });
}

// K03
#[test]
fn a_newcomer_never_overtakes_a_waiter() {
    model(|| {
        let semaphore = semaphore(1);
        let permit = semaphore.try_acquire().expect("it is free");
        let mut waiter = semaphore.acquire();
        assert!(!poll(&mut waiter));
        let newcomer = thread::spawn({
            let semaphore = semaphore.clone();
            move || semaphore.try_acquire().is_none()
        });
        drop(permit);
        assert!(newcomer.join().expect("no panic"), "the waiter was first");
        assert!(poll(&mut waiter), "the permit was handed over");
    });
}
