//! The semaphore: fair, conserving, resizable.

use regrip_core::semaphore::{Acquire, Lane, Permit, Semaphore, ZeroPermits};
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};

/// A waker that counts.
#[derive(Default)]
struct Bell(AtomicUsize);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl Bell {
    fn rung(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

fn poll_with(acquire: &mut Acquire, bell: &Arc<Bell>) -> Option<Permit> {
    let waker = Waker::from(Arc::clone(bell));
    match Pin::new(acquire).poll(&mut Context::from_waker(&waker)) {
        Poll::Ready(permit) => Some(permit),
        Poll::Pending => None,
    }
}

fn poll(acquire: &mut Acquire) -> Option<Permit> {
    poll_with(acquire, &Arc::default())
}

fn semaphore(permits: usize) -> Semaphore {
    Semaphore::new(permits).expect("at least one permit")
}

/// A semaphore with one permit, which is taken.
fn taken() -> (Semaphore, Permit) {
    let semaphore = semaphore(1);
    let permit = semaphore.try_acquire().expect("it is free");
    (semaphore, permit)
}

/// A waiter that has its place.
fn waiter(semaphore: &Semaphore, lane: Lane) -> Acquire {
    let mut acquire = semaphore.acquire_in(lane);
    assert!(poll(&mut acquire).is_none());
    acquire
}

#[test]
fn zero_permits_are_refused_at_first_and_later() {
    assert_eq!(Semaphore::new(0).err(), Some(ZeroPermits));
    let semaphore = semaphore(2);
    assert_eq!(semaphore.resize(0), Err(ZeroPermits));
    let held = [semaphore.try_acquire(), semaphore.try_acquire()];
    assert!(held.iter().all(Option::is_some), "nothing was changed");
}

#[test]
fn a_number_that_cannot_be_zero_needs_no_result() {
    let semaphore = Semaphore::from(std::num::NonZeroUsize::MIN);
    let held = semaphore.try_acquire();
    assert!(held.is_some() && semaphore.try_acquire().is_none());
}

#[test]
fn no_more_permits_are_out_than_there_are() {
    let semaphore = semaphore(3);
    let held: Vec<Permit> = std::iter::from_fn(|| semaphore.try_acquire()).collect();
    assert_eq!((held.len(), semaphore.used()), (3, 3));
    drop(held);
    assert_eq!(semaphore.used(), 0);
}

#[test]
fn waiters_are_served_first_in_first_out() {
    let (semaphore, mut permit) = taken();
    let mut waiters: Vec<Acquire> = (0..5).map(|_| waiter(&semaphore, Lane::Arriving)).collect();
    for turn in 0..5 {
        drop(permit);
        for later in &mut waiters[turn + 1..] {
            assert!(poll(later).is_none(), "a later one before {turn}");
        }
        permit = poll(&mut waiters[turn]).expect("its turn");
    }
}

#[test]
fn a_released_permit_is_handed_over_and_no_newcomer_can_barge_in() {
    let (semaphore, permit) = taken();
    let bell = Arc::new(Bell::default());
    let mut first = semaphore.acquire();
    assert!(poll_with(&mut first, &bell).is_none());
    drop(permit);
    // Woken and not polled yet: the permit is its own already.
    assert_eq!((bell.rung(), semaphore.used(), semaphore.waiting()), (1, 1, 0));
    assert!(semaphore.try_acquire().is_none());
    let mut newcomer = semaphore.acquire();
    assert!(poll(&mut newcomer).is_none());
    assert!(poll_with(&mut first, &bell).is_some());
}

#[test]
fn a_place_is_taken_at_the_first_poll() {
    let (semaphore, permit) = taken();
    let mut made_first = semaphore.acquire();
    let mut polled_first = waiter(&semaphore, Lane::Arriving);
    assert!(poll(&mut made_first).is_none());
    drop(permit);
    assert!(poll(&mut made_first).is_none());
    assert!(poll(&mut polled_first).is_some());
}

// C12
#[test]
fn a_permit_comes_back_when_its_holder_panics() {
    let semaphore = semaphore(1);
    let holder = semaphore.clone();
    let panicked = catch_unwind(AssertUnwindSafe(move || {
        let _permit = holder.try_acquire().expect("it is free");
        panic!("as a test may");
    }));
    assert!(panicked.is_err());
    assert!(semaphore.try_acquire().is_some());
}

#[test]
fn a_permit_comes_back_when_its_holder_is_cancelled() {
    let semaphore = semaphore(1);
    let holder = semaphore.clone();
    let mut task = Box::pin(async move {
        let _permit = holder.acquire().await;
        std::future::pending::<()>().await;
    });
    let waker = Waker::noop();
    assert!(task.as_mut().poll(&mut Context::from_waker(waker)).is_pending());
    assert_eq!(semaphore.used(), 1);
    drop(task);
    assert_eq!(semaphore.used(), 0);
}

// K02
#[test]
fn a_waiter_dropped_before_its_grant_loses_nothing() {
    let (semaphore, permit) = taken();
    let head = waiter(&semaphore, Lane::Arriving);
    let mut next = waiter(&semaphore, Lane::Arriving);
    drop(head);
    assert_eq!(semaphore.waiting(), 1);
    drop(permit);
    assert!(poll(&mut next).is_some());
    assert_eq!(semaphore.used(), 0);
}

// K02
#[test]
fn a_waiter_dropped_after_its_grant_hands_it_on() {
    let (semaphore, permit) = taken();
    let head = waiter(&semaphore, Lane::Arriving);
    let bell = Arc::new(Bell::default());
    let mut next = semaphore.acquire();
    assert!(poll_with(&mut next, &bell).is_none());
    drop(permit);
    assert_eq!(bell.rung(), 0);
    drop(head);
    assert_eq!(bell.rung(), 1);
    assert!(poll_with(&mut next, &bell).is_some());
    assert_eq!(semaphore.used(), 0);
}

#[test]
fn those_that_return_are_served_before_those_that_arrive() {
    let (semaphore, mut permit) = taken();
    let lanes = [Lane::Arriving, Lane::Returning, Lane::Arriving, Lane::Returning];
    let mut waiters: Vec<Acquire> = lanes.map(|lane| waiter(&semaphore, lane)).into();
    // Returning ones by their arrival, then the others by theirs.
    for turn in [1, 3, 0, 2] {
        drop(permit);
        permit = poll(&mut waiters[turn]).expect("its turn");
    }
}

// K04
#[test]
fn more_permits_are_handed_out_at_once() {
    let (semaphore, _permit) = taken();
    let mut waiters: Vec<Acquire> = (0..4).map(|_| waiter(&semaphore, Lane::Arriving)).collect();
    semaphore.resize(3).expect("three");
    let got: Vec<bool> = waiters.iter_mut().map(|one| poll(one).is_some()).collect();
    // Each permit is dropped at once here, and so goes on to the next.
    assert_eq!(got, [true; 4]);
    assert_eq!(semaphore.used(), 1);
}

// K04
#[test]
fn fewer_permits_drain_as_they_come_back() {
    let semaphore = semaphore(3);
    let mut held: Vec<Permit> = std::iter::from_fn(|| semaphore.try_acquire()).collect();
    semaphore.resize(1).expect("one");
    let mut next = waiter(&semaphore, Lane::Arriving);
    assert_eq!(semaphore.used(), 3, "those in use stay valid");
    held.pop();
    held.pop();
    assert!(poll(&mut next).is_none());
    assert_eq!(semaphore.used(), 1);
    held.pop();
    assert!(poll(&mut next).is_some());
}

// K03
#[test]
fn ten_thousand_waiters_with_random_drops_keep_their_order_and_conserve_permits() {
    const WAITERS: usize = 10_000;
    for seed in 0..3 {
        let mut random = fastrand::Rng::with_seed(seed);
        let semaphore = semaphore(7);
        let mut held: Vec<Permit> = std::iter::from_fn(|| semaphore.try_acquire()).collect();
        let mut waiters: Vec<Option<Acquire>> =
            (0..WAITERS).map(|_| Some(waiter(&semaphore, Lane::Arriving))).collect();
        let mut order = Vec::new();
        while semaphore.waiting() > 0 || !held.is_empty() {
            match random.u8(0..4) {
                // Somebody gives up, granted or not.
                0 => drop(waiters[random.usize(0..WAITERS)].take()),
                1 if !held.is_empty() => drop(held.swap_remove(random.usize(0..held.len()))),
                2 => semaphore.resize(random.usize(1..12)).expect("at least one"),
                // The granted waiters are woken.
                _ => {
                    let from = order.last().map_or(0, |last| last + 1);
                    for (index, one) in waiters.iter_mut().enumerate().skip(from) {
                        let Some(acquire) = one else { continue };
                        let Some(permit) = poll(acquire) else { break };
                        held.push(permit);
                        order.push(index);
                        *one = None;
                    }
                }
            }
            assert!(semaphore.used() <= 12);
        }
        assert!(order.is_sorted(), "seed {seed}");
        drop(waiters);
        assert_eq!((semaphore.used(), semaphore.waiting()), (0, 0), "seed {seed}");
    }
}

// K11
#[test]
fn spurious_polls_keep_the_place_and_the_last_waker_is_the_one_that_rings() {
    let (semaphore, permit) = taken();
    let (old, new) = (Arc::new(Bell::default()), Arc::new(Bell::default()));
    let mut first = semaphore.acquire();
    assert!(poll_with(&mut first, &old).is_none());
    let mut second = waiter(&semaphore, Lane::Arriving);
    for _ in 0..10 {
        assert!(poll(&mut second).is_none());
        assert!(poll_with(&mut first, &new).is_none());
    }
    assert_eq!(semaphore.waiting(), 2);
    drop(permit);
    assert_eq!((old.rung(), new.rung()), (0, 1));
    assert!(poll(&mut second).is_none());
    let permit = poll_with(&mut first, &new).expect("its turn");
    drop(permit);
    assert!(poll(&mut second).is_some());
}

/// A waker whose task holds a permit of the very semaphore it waits for.
struct Task(Mutex<Option<Permit>>);

impl Wake for Task {
    fn wake(self: Arc<Self>) {
        drop(self.0.lock().map(|mut permit| permit.take()));
    }
}

// K11
#[test]
fn a_waker_whose_drop_gives_a_permit_back_does_not_lock_up() {
    for replace in [true, false] {
        let semaphore = semaphore(2);
        let held = semaphore.try_acquire();
        let _other = semaphore.try_acquire();
        let waker = Waker::from(Arc::new(Task(Mutex::new(held))));
        let mut waiting = semaphore.acquire();
        assert!(Pin::new(&mut waiting).poll(&mut Context::from_waker(&waker)).is_pending());
        drop(waker);
        if replace {
            // The old waker goes, its permit with it, and that is granted at once.
            assert!(poll(&mut waiting).is_none());
            assert!(poll(&mut waiting).is_some());
        } else {
            drop(waiting);
        }
        assert_eq!(semaphore.used(), 1);
    }
}

#[test]
fn threads_share_it_without_losing_a_permit_or_a_wakeup() {
    const PERMITS: usize = 3;
    let semaphore = semaphore(PERMITS);
    let inside = Arc::new(AtomicUsize::new(0));
    let threads: Vec<_> = (0..8)
        .map(|seed| {
            let (semaphore, inside) = (semaphore.clone(), Arc::clone(&inside));
            std::thread::spawn(move || {
                let mut random = fastrand::Rng::with_seed(seed);
                for _ in 0..2_000 {
                    if random.u8(0..4) == 0 {
                        // Given up while waiting, or right after the grant.
                        let mut acquire = semaphore.acquire();
                        drop(poll(&mut acquire));
                        continue;
                    }
                    let lane = if random.bool() { Lane::Returning } else { Lane::Arriving };
                    let permit = futures::executor::block_on(semaphore.acquire_in(lane));
                    assert!(inside.fetch_add(1, Ordering::SeqCst) < PERMITS);
                    inside.fetch_sub(1, Ordering::SeqCst);
                    drop(permit);
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().expect("no thread panics");
    }
    assert_eq!((semaphore.used(), semaphore.waiting()), (0, 0));
}

#[test]
fn the_waiter_with_the_highest_priority_is_next_in_its_lane() {
    let (semaphore, mut permit) = taken();
    let waits = [
        (Lane::Arriving, 0),
        (Lane::Arriving, i8::MAX),
        (Lane::Arriving, 5),
        (Lane::Returning, i8::MIN),
        (Lane::Arriving, i8::MIN),
        (Lane::Arriving, 5),
        (Lane::Returning, 0),
    ];
    let mut waiters = waits.map(|(lane, priority)| semaphore.acquire_by(lane, priority));
    assert!(waiters.iter_mut().all(|waiter| poll(waiter).is_none()));
    for turn in [6, 3, 1, 2, 5, 0, 4] {
        drop(permit);
        permit = poll(&mut waiters[turn]).expect("its turn");
    }
}
