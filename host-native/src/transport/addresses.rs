//! Which address of a host comes first: the one that did not fail lately.
//!
//! A name with several addresses may have one that accepts connections and serves nothing. So an address stands behind the
//! others once a connection to it ended badly, and the next attempt begins with another one. The one that failed longest
//! ago comes first among those that failed. It knows no names: a machine that fails for one name is likely to for another.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long a failure counts.
const MEMORY: Duration = Duration::from_secs(600);

/// Most failures that are remembered.
const MAX_FAILED: usize = 1024;

/// The addresses that failed, and when. Clones are the same.
#[derive(Clone, Debug, Default)]
pub(super) struct Addresses(Arc<Mutex<HashMap<SocketAddr, Instant>>>);

impl Addresses {
    /// Those that did not fail first, in the order given; then those that did.
    pub(super) fn in_order(&self, mut addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
        let failed = self.fresh();
        addresses.sort_by_key(|address| failed.get(address).copied());
        addresses
    }

    /// Begins to use an address, one of several or the only one of its host.
    pub(super) fn try_out(&self, address: SocketAddr, has_others: bool) -> Trial {
        Trial {
            addresses: self.clone(),
            address,
            has_others,
            state: State::Open,
        }
    }

    fn failed(&self, address: SocketAddr) {
        let mut failed = self.fresh();
        if failed.len() < MAX_FAILED || failed.contains_key(&address) {
            failed.insert(address, Instant::now());
        }
    }

    fn fresh(&self) -> MutexGuard<'_, HashMap<SocketAddr, Instant>> {
        let mut failed = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        failed.retain(|_, when| when.elapsed() < MEMORY);
        failed
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Nothing is known of its outcome yet.
    Open,
    /// It did what it should.
    Good,
    /// It answered with an error that another address may not have.
    Bad,
}

/// The use of an address. If it is dropped before it was found good, the address failed.
#[derive(Debug)]
pub(super) struct Trial {
    addresses: Addresses,
    address: SocketAddr,
    has_others: bool,
    state: State,
}

impl Trial {
    /// The address.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// A request begins.
    pub(super) fn begin(&mut self) {
        self.state = State::Open;
    }

    /// The response is one of a server that is overloaded or broken.
    pub(super) fn blame(&mut self) {
        self.state = State::Bad;
        self.addresses.failed(self.address);
    }

    /// A response came to its end.
    pub(super) fn end_well(&mut self) {
        if self.state == State::Open {
            self.state = State::Good;
            self.addresses.fresh().remove(&self.address);
        }
    }

    /// Returns `true` if another address of the host is to be preferred.
    pub(super) fn gives_way(&self) -> bool {
        self.has_others && self.addresses.fresh().contains_key(&self.address)
    }
}

impl Drop for Trial {
    fn drop(&mut self) {
        if self.state == State::Open {
            self.addresses.failed(self.address);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(numbers: &[u8]) -> Vec<SocketAddr> {
        let address = |number: &u8| SocketAddr::from(([10, 0, 0, *number], 80));
        numbers.iter().map(address).collect()
    }

    #[test]
    fn an_address_that_failed_comes_last_and_the_latest_failure_behind_the_earlier_ones() {
        let addresses = Addresses::default();
        let [one, two, three] = hosts(&[1, 2, 3])[..] else {
            unreachable!()
        };
        let order = || addresses.in_order(vec![one, two, three]);
        assert_eq!(order(), hosts(&[1, 2, 3]));
        drop(addresses.try_out(one, true));
        assert_eq!(order(), hosts(&[2, 3, 1]));
        addresses.try_out(two, true).blame();
        assert_eq!(order(), hosts(&[3, 1, 2]));
        drop(addresses.try_out(three, true));
        assert_eq!(order(), hosts(&[1, 2, 3]));
        addresses.try_out(two, true).end_well();
        assert_eq!(order(), hosts(&[2, 1, 3]));
    }

    #[test]
    fn a_connection_gives_way_only_if_there_is_another_address() {
        let addresses = Addresses::default();
        let address = hosts(&[1])[0];
        for has_others in [true, false] {
            let mut trial = addresses.try_out(address, has_others);
            trial.begin();
            trial.end_well();
            assert!(!trial.gives_way());
            trial.blame();
            trial.end_well();
            assert_eq!(trial.gives_way(), has_others);
        }
    }
}
