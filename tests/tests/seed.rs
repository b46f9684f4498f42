//! Every behaviour of the system regrip grew from has its line in `SEED.md`, and every test named there and in `EVERYDAY.md` exists.

use regrip_tests::scenario;
use std::collections::BTreeSet;
use std::fs::read_to_string;
use std::path::{Path, PathBuf};

/// The behaviours are S1 to S52.
const BEHAVIOURS: usize = 52;

#[test]
fn every_behaviour_of_the_seed_has_one_line() {
    let text = seed();
    let lines: Vec<_> = text.lines().filter_map(|line| line.strip_prefix("| S")?.split(' ').next()).collect();
    let expected: Vec<_> = (1..=BEHAVIOURS).map(|number| number.to_string()).collect();
    assert_eq!(lines, expected);
}

#[test]
fn every_behaviour_is_shown_by_a_test() {
    for line in seed().lines().filter(|line| line.starts_with("| S")) {
        assert!(!named_in(line).is_empty(), "{line}");
    }
}

#[test]
fn every_test_that_is_named_exists() {
    let scenarios = scenario::all().expect("the scenarios make sense");
    let scenarios: BTreeSet<String> = scenarios.iter().map(|one| format!("{} {}", one.id, one.name)).collect();
    let everyday = read_to_string(root().join("tests/EVERYDAY.md")).expect("it is there");
    // Their commands are in other columns.
    let everyday = everyday.lines().filter_map(|line| line.strip_suffix(" |")?.rsplit(" | ").next());
    let text = seed();
    let seed = text.lines().filter(|line| line.starts_with("| S"));
    let missing: Vec<_> =
        seed.chain(everyday).flat_map(named_in).filter(|(path, name)| !exists(&scenarios, path, name)).collect();
    assert!(missing.is_empty(), "{missing:#?}");
}

/// What is written as `path: name`.
fn named_in(text: &str) -> Vec<(&str, &str)> {
    let spans = text.split('`').skip(1).step_by(2);
    spans.filter_map(|span| span.split_once(": ")).collect()
}

fn exists(scenarios: &BTreeSet<String>, path: &str, name: &str) -> bool {
    let Ok(source) = read_to_string(root().join(path)) else {
        return false;
    };
    match path.rsplit_once('.').map(|(_, extension)| extension) {
        Some("rs") => ["(", "<"].iter().any(|after| source.contains(&format!("fn {name}{after}"))),
        Some("mjs") => source.contains(&format!("test(\"{name}\"")),
        Some("json") => {
            // The scenario, and in this file.
            let rest = name.split_once(' ').map_or(name, |(_, rest)| rest);
            scenarios.contains(name) && source.contains(rest)
        }
        _ => false,
    }
}

fn seed() -> String {
    read_to_string(root().join("tests/SEED.md")).expect("it is there")
}

fn root() -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.parent().expect("it is in a folder").to_owned()
}
