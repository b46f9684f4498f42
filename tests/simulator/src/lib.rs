//! The production core in a simulated world: servers, a disk and a ledger that fail, processes that die, in virtual time.
//!
//! A seed is a whole run: the files, the servers' habits, what fails and when. The same seed and the same commit give the same run, so
//! a failure can be looked at as often as it takes. [`shrink`] takes away every fault that a failure does not need.
//!
//! ```
//! use regrip_simulator::{Model, Options, run};
//!
//! let report = run(7, &Options::new(Model::Small));
//! assert_eq!(report.violation, None);
//! assert_eq!(report.log_hash, run(7, &Options::new(Model::Small)).log_hash);
//! ```
//!
//! What is checked, after every effect or at the end of every process:
//! - the file at the destination is one whole version that a server had, the one with the wanted digest if there is one, or absent;
//! - what is said to be complete exists, is synced, and its row says so;
//! - what is recorded as durable is durable, and after a power loss it is the start of one version;
//! - one destination has one row; no process that ended keeps a permit, a lock, a connection or a timer;
//! - once nothing fails any more, every download completes, and no part is left.

pub mod host;
mod run;
pub mod server;
mod world;

pub use run::{Model, Options, Report, run};
pub use world::{Kind, World};

/// Takes away the faults that a failing run does not need. Returns the smallest run found that fails, or `None` if the seed does not fail.
pub fn shrink(seed: u64, options: &Options) -> Option<(Options, Report)> {
    let mut smallest = (options.clone(), run(seed, options));
    smallest.1.violation.as_ref()?;
    loop {
        let faults: Vec<u32> = smallest.1.faults.iter().map(|(number, _)| *number).collect();
        let smaller = faults.into_iter().rev().find_map(|number| {
            let mut fewer = smallest.0.clone();
            fewer.without.insert(number);
            let report = run(seed, &fewer);
            (report.violation.is_some() && report.faults.len() < smallest.1.faults.len()).then_some((fewer, report))
        });
        match smaller {
            Some(smaller) => smallest = smaller,
            None => return Some(smallest),
        }
    }
}
