//! What a store and a clock need not supply has a default: parts have names, storage is never down, no machine is suspended.

use crate::store::Flawed;
use regrip_core::Error;
use regrip_core::store::{OpenPart, Part, PartStore};
use regrip_core::testing::VirtualClock;
use regrip_core::time::{Clock, Instant};
use std::future::Future;
use std::time::{Duration, SystemTime};

#[test]
fn a_store_has_no_unnamed_parts_and_is_not_down() {
    let store = Flawed::default();
    assert!(store.unnamed("/film.part").is_none());
    assert!(!store.is_down(&Error::Disk { what: "write", path: "/film.part".to_owned(), source: None }));
    let part = VirtualClock::default().run(store.open("/film.part", OpenPart::Create));
    let mut part = part.unwrap().unwrap();
    assert!(part.is_named() && !part.may_stay_unnamed(1));
}

#[test]
fn a_clock_that_cannot_count_the_time_of_a_suspension_is_the_monotonic_one() {
    let clock = Monotonic(VirtualClock::default());
    clock.0.advance(Duration::from_secs(7));
    clock.0.suspend(Duration::from_secs(60));
    assert_eq!(clock.now_with_suspension(), Instant(Duration::from_secs(7)));
}

struct Monotonic(VirtualClock);

impl Clock for Monotonic {
    fn now(&self) -> Instant {
        self.0.now()
    }
    fn wall(&self) -> SystemTime {
        self.0.wall()
    }
    fn sleep(&self, duration: Duration) -> impl Future<Output = ()> + use<> {
        self.0.sleep(duration)
    }
}
