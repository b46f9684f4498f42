//! The fakes keep their contracts, and each promise of a contract is broken by an implementation that does not keep it.

mod defaults;
mod ledger;
mod send_ledger;
mod store;
mod transport;

use regrip_core::testing::VirtualClock;
use regrip_core::testing::contract::Broken;
use std::collections::BTreeSet;

/// Returns `true` if a check ends, and finds nothing.
fn holds(clock: &VirtualClock, check: impl Future<Output = Result<(), Broken>>) -> bool {
    clock.run(check).is_some_and(|checked| checked.is_ok())
}

/// Every promise must be broken by at least one flaw.
fn assert_all_broken(promises: &[&str], broken: &[(&'static str, &'static str)]) {
    let broken: BTreeSet<&str> = broken.iter().map(|(promise, _)| *promise).collect();
    let promises: BTreeSet<&str> = promises.iter().copied().collect();
    assert_eq!(broken, promises);
}
