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
//! - what is said to be complete exists, is synced, its name too, and its row says so, with its size and digest;
//! - what is recorded as durable is durable, and after a power loss it is the start of one version; no more bytes are recorded than
//!   exist, and the saved state of a digest is that of the bytes before it;
//! - a status follows from the one before it; what has ended stays so until a user asks again;
//! - no more attempts without progress in a row, restarts, requests at once, bytes discarded and no longer waits than allowed, however
//!   many processes it takes;
//! - one destination has one row; no process that ended keeps a permit, a lock, a connection or a timer;
//! - of several workers, none writes to the ledger what another one has claimed since;
//! - no event, error or wait shows the secret in the query of a URL;
//! - once nothing fails any more, every download completes, and no part is left.
//!
//! Not in these worlds: what the transport or the store of a host does itself (redirects, heads that are no HTTP, links, locks between
//! processes), files of more than 2.3 MB, and a disk that says it synced what it did not: then nothing can be promised.
//!
//! A power loss keeps or loses every name that was created, changed or removed since its folder was synced, and any of the bytes
//! that were not.
//!
//! Beside random runs there are exhaustive ones: [`every_crash`], [`every_failure`] and [`every_fault`].

pub mod host;
mod run;
pub mod server;
mod world;

pub use run::{Model, Options, Report, run};
use std::collections::BTreeSet;
pub use world::{Kind, Script, World};

/// Runs a seed, and then again for each effect of its first process, which dies there. Stops when `each` returns `false`.
pub fn every_crash(seed: u64, options: &Options, each: &mut impl FnMut(&Options, &Report) -> bool) -> bool {
    let report = run(seed, options);
    let dying = (1..=report.effects_of_first).map(|at| Options { dies_at: Some(at), ..options.clone() });
    each(options, &report) && dying.into_iter().all(|options| each(&options, &run(seed, &options)))
}

/// Runs a seed, and then again for each of its effects, which fails.
pub fn every_failure(seed: u64, options: &Options, each: &mut impl FnMut(&Options, &Report) -> bool) -> bool {
    let report = run(seed, options);
    let failing = (1..=report.effects).map(|at| {
        let script = Script { fails_at: Some(at), ..options.script.clone() };
        Options { script, ..options.clone() }
    });
    each(options, &report) && failing.into_iter().all(|options| each(&options, &run(seed, &options)))
}

/// Runs the world of a seed with every set of up to `most` faults, and with each of them once for each effect of the first process,
/// which dies there.
pub fn every_fault(
    seed: u64,
    options: &Options,
    most: usize,
    each: &mut impl FnMut(&Options, &Report) -> bool,
) -> bool {
    let mut sets = vec![BTreeSet::new()];
    while let Some(only) = sets.pop() {
        let script = Script { only: Some(only.clone()), ..options.script.clone() };
        let options = Options { script, ..options.clone() };
        let mut points = 0;
        let goes_on = every_crash(seed, &options, &mut |options, report| {
            if options.dies_at.is_none() {
                points = report.fault_points;
            }
            each(options, report)
        });
        if !goes_on {
            return false;
        }
        if only.len() < most {
            let next = only.last().map_or(1, |last| last + 1);
            sets.extend((next..=points).map(|point| only.iter().copied().chain([point]).collect()));
        }
    }
    true
}

/// Takes away the faults that a failing run does not need. Returns the smallest run found that fails, or `None` if the seed does not fail.
pub fn shrink(seed: u64, options: &Options) -> Option<(Options, Report)> {
    let mut smallest = (options.clone(), run(seed, options));
    smallest.1.violation.as_ref()?;
    loop {
        let faults: Vec<u32> = smallest.1.faults.iter().map(|(number, _)| *number).collect();
        let smaller = faults.into_iter().rev().find_map(|number| {
            let mut fewer = smallest.0.clone();
            match &mut fewer.script.only {
                Some(only) => drop(only.remove(&number)),
                None => drop(fewer.script.without.insert(number)),
            }
            let report = run(seed, &fewer);
            (report.violation.is_some() && report.faults.len() < smallest.1.faults.len()).then_some((fewer, report))
        });
        match smaller {
            Some(smaller) => smallest = smaller,
            None => return Some(smallest),
        }
    }
}
