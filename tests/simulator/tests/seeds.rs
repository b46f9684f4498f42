//! A part of the seeds; `tests/campaign simulator` runs many more.

use regrip_simulator::{Model, Options, run, shrink};

fn none_fails(model: Model, seeds: std::ops::Range<u64>) {
    let options = Options::new(model);
    for seed in seeds {
        if let Some((smallest, report)) = shrink(seed, &options) {
            panic!("seed {seed} of {model:?} without {:?}: {report:?}", smallest.without);
        }
    }
}

#[test]
fn one_small_file_survives_what_happens_to_it() {
    none_fails(Model::Small, 0..600);
}

#[test]
fn several_files_on_several_connections_survive_what_happens_to_them() {
    none_fails(Model::Full, 0..50);
}

#[test]
fn a_process_may_die_at_every_effect() {
    for seed in 0..6 {
        let effects = run(seed, &Options::new(Model::Small)).effects;
        for effect in 1..=effects {
            let report = run(seed, &Options { dies_at: Some(effect), ..Options::new(Model::Small) });
            assert_eq!(report.violation, None, "seed {seed}, which dies at effect {effect}");
        }
    }
}

#[test]
fn a_seed_is_the_same_run_twice() {
    for seed in 0..6 {
        let options = Options::new(Model::Full);
        assert_eq!(run(seed, &options), run(seed, &options));
    }
}

#[test]
fn seeds_differ() {
    let hashes: std::collections::BTreeSet<u64> =
        (0..50).map(|seed| run(seed, &Options::new(Model::Small)).log_hash).collect();
    assert!(hashes.len() > 45, "only {} different runs", hashes.len());
}
