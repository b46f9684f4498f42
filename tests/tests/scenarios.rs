//! Runs every scenario on every host that has it. `cargo test -p regrip-tests --test scenarios H02` runs those of a case.

use libtest_mimic::{Arguments, Failed, Trial};
use regrip_tests::judge::judge;
use regrip_tests::scenario::{self, Host, Scenario};
use regrip_tests::{Outcome, core_host, native_host};
use std::collections::BTreeSet;
use std::process::ExitCode;
use std::sync::Arc;

/// The cases of `CASES.md` that are scenarios, and what has no case there: the rules of retry (`R`) and verification
/// (`V`), the seed's behaviour (`S`), and the tables of `core::resume`: requests (`Q`), responses (`A`), full responses that
/// are compared (`W`), bounds (`B`), and pieces of several connections (`P`).
const CASES: &[&str] = &[
    "H01", "H02", "H03", "H04", "H05", "H06", "H07", "H08", "H09", "H10", "H11", "H12", "H13", "H14", "H15", "H16",
    "H17", "H18", "H19", "H20", "H21", "H22", "H23", "H24", "H25", "H26", "H27", "H28", "H29", "H30", "H31", "H32",
    "H33", "H34", "H35", "H36", "H37", "H38", "H39", "D01", "D05", "D07", "D10", "T01", "T03", "T04", "T05", "R01",
    "R02", "R03", "R04", "R05", "R06", "R07", "R08", "R09", "S23", "V01", "V02", "V03", "V04", "V05", "V06", "V07",
    "V08", "V09", "V10", "V11", "V12", "V13", "V14", "V15", "V16", "V17", "V18", "V19", "V20", "V21", "FW05", "FW06",
    "FW07", "Q03", "Q04", "Q06", "Q09", "Q11", "A01", "A02", "A03", "A05", "A07", "W01", "W02", "W03", "W04", "W05",
    "W06", "B01", "B02", "P01", "P02", "P03", "P05", "P06", "P07", "P08", "P09", "P10", "P11", "P12", "P13", "P14",
    "P15", "P16", "P17", "P18", "P19", "P04", "P20", "P21", "P22", "P23", "P24", "P25", "P26", "P27", "P28", "P29",
    "P30", "P31", "P32", "P33",
];

/// Cases that need several downloads at once, and the test of `permits.rs` that shows each.
const PERMITS: &[(&str, &str)] = &[("K08", "k08_downloads_in_backoff_hold_no_permit")];

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let scenarios = match scenario::all() {
        Ok(scenarios) => scenarios,
        Err(why) => {
            eprintln!("{why}");
            return ExitCode::FAILURE;
        }
    };
    let mut trials = vec![covered(&scenarios), told_apart(&scenarios)];
    for scenario in scenarios {
        let scenario = Arc::new(scenario);
        for &host in &scenario.hosts {
            trials.push(trial(Arc::clone(&scenario), host));
        }
    }
    libtest_mimic::run(&arguments, trials).exit_code()
}

type Run = fn(&Scenario) -> Result<Outcome, String>;

fn trial(scenario: Arc<Scenario>, host: Host) -> Trial {
    let (name, run): (_, Run) = match host {
        Host::Core => ("core", core_host::run),
        Host::Native => ("native", native_host::run),
    };
    let title = format!("{} {} [{name}]", scenario.id, scenario.name);
    // A disk of a given size needs a mount, which not everybody may make.
    let impossible = host == Host::Native && scenario.before.room.is_some() && !native_host::has_small_disks();
    let test = move || Ok(judge(&scenario, &run(&scenario)?)?);
    Trial::test(title, test).with_ignored_flag(impossible)
}

/// A case without a scenario is a gap.
fn covered(scenarios: &[Scenario]) -> Trial {
    let there: BTreeSet<String> = scenarios.iter().map(|one| one.id.clone()).collect();
    Trial::test("every case of the list has a scenario", move || {
        let listed: BTreeSet<String> = CASES.iter().map(|&id| id.to_owned()).collect();
        let missing: Vec<_> = listed.difference(&there).collect();
        let unlisted: Vec<_> = there.difference(&listed).collect();
        let permits = include_str!("permits.rs");
        let lost = PERMITS.iter().find(|(_, test)| !permits.contains(test));
        if missing.is_empty() && unlisted.is_empty() && lost.is_none() {
            return Ok(());
        }
        let gap = format!("no scenario: {missing:?}, not listed: {unlisted:?}, no test: {lost:?}");
        Err(Failed::from(gap))
    })
}

/// Two scenarios of one name could not be distinguished in a report.
fn told_apart(scenarios: &[Scenario]) -> Trial {
    let mut names: Vec<_> = scenarios.iter().map(|one| format!("{} {}", one.id, one.name)).collect();
    names.sort();
    Trial::test("every scenario has a name of its own", move || {
        match names.windows(2).find(|pair| pair[0] == pair[1]) {
            Some(pair) => Err(Failed::from(format!("twice: {}", pair[0]))),
            None => Ok(()),
        }
    })
}
