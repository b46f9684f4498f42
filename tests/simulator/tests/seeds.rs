//! A part of the seeds; `tests/campaign simulator` runs many more.

use regrip_simulator::{Model, Options, Report, every_crash, every_failure, every_fault, run, shrink};

fn none_fails(model: Model, seeds: std::ops::Range<u64>) {
    let options = Options::new(model);
    for seed in seeds {
        if let Some((smallest, report)) = shrink(seed, &options) {
            panic!("seed {seed} of {model:?} without {:?}: {report:?}", smallest.script.without);
        }
    }
}

// L03
#[test]
fn one_small_file_survives_what_happens_to_it() {
    none_fails(Model::Small, 0..600);
}

#[test]
fn several_files_on_several_connections_survive_what_happens_to_them() {
    none_fails(Model::Full, 0..50);
}

// C10, C05, C06, C07
#[test]
fn several_workers_with_one_ledger_survive_pauses_partitions_and_each_other() {
    none_fails(Model::Fleet, 0..50);
}

fn holds(options: &Options, report: &Report) -> bool {
    assert_eq!(report.violation, None, "{options:?}");
    true
}

// C03, C04, C05, C06, C07, C09
#[test]
fn a_process_may_die_at_every_effect() {
    for seed in 0..6 {
        every_crash(seed, &Options::new(Model::Small), &mut holds);
    }
}

// D01, D02, D03, L02
#[test]
fn every_effect_may_fail() {
    for seed in 0..6 {
        every_failure(seed, &Options::new(Model::Small), &mut holds);
    }
}

// A sync failed, and so did the cut after it. The lost bytes counted once.
#[test]
fn bytes_that_a_failed_sync_lost_never_count() {
    every_failure(75, &Options::new(Model::Small), &mut holds);
}

// With three faults: `tests/campaign exhaustive`.
#[test]
fn every_fault_may_happen_with_a_death_at_every_effect() {
    every_fault(1, &Options::new(Model::Small), 1, &mut holds);
}

#[test]
fn a_seed_is_the_same_run_twice() {
    for model in [Model::Small, Model::Full, Model::Fleet] {
        for seed in 0..6 {
            let options = Options::new(model);
            assert_eq!(run(seed, &options), run(seed, &options));
        }
    }
}

#[test]
fn seeds_differ() {
    let hashes: std::collections::BTreeSet<u64> =
        (0..50).map(|seed| run(seed, &Options::new(Model::Small)).log_hash).collect();
    assert!(hashes.len() > 45, "only {} different runs", hashes.len());
}
