//! `CASES.md`: every case, and on each host the tests that show it, or the reason why there are none.
//!
//! The tests are the source: each names its cases in the comment above it (`// H02, K01` or `// C03 to C09`), a scenario has
//! its id. `cases.json` has what no test can say: one sentence for each case, and the reasons. `by` names scenarios that
//! show a case under another id.

use regrip_tests::scenario::{self, Host, Scenario};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Their names in `cases.json`; the page has them capitalised as people write them.
const HOSTS: [&str; 4] = ["core", "native", "node", "chromium"];
const CORE: usize = 0;
const NATIVE: usize = 1;
const NODE: usize = 2;
const CHROMIUM: usize = 3;

/// Where tests are. Contracts are run by every host that has what they are about.
const FOLDERS: [(&str, &[usize]); 11] = [
    ("core/src/testing/contract/store.rs", &[CORE, NATIVE, NODE, CHROMIUM]),
    ("core/src/testing/contract/ledger.rs", &[CORE, NATIVE, NODE]),
    ("core/src/testing/contract/transport.rs", &[CORE, NATIVE, NODE]),
    ("core/tests", &[CORE]),
    ("core/src/name.rs", &[CORE]),
    ("host-native/tests", &[NATIVE]),
    ("host-native/src", &[NATIVE]),
    ("host-wasm/tests", &[NODE]),
    ("tests/simulator/tests", &[CORE]),
    ("tests/loom", &[CORE]),
    ("tests/hostile", &[NATIVE]),
];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Group {
    group: String,
    /// Why a host has no test of these cases.
    not: BTreeMap<String, String>,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    id: String,
    case: String,
    #[serde(default)]
    by: Vec<String>,
    #[serde(default)]
    not: BTreeMap<String, String>,
}

/// What Node or Chromium does otherwise in scenarios: as far as it matters here, whether it runs them at all.
#[derive(Deserialize)]
struct Different {
    names: Vec<String>,
    id: Option<String>,
    hosts: Option<Vec<String>>,
    skip: Option<String>,
}

/// By case and host: links to the tests, scenarios first.
type Shown = BTreeMap<(String, usize), Vec<String>>;

#[test]
fn every_case_is_shown_on_every_host_or_has_a_reason() {
    let text = fs::read_to_string(root().join("tests/cases.json")).expect("it is there");
    let groups: Vec<Group> = serde_json::from_str(&text).expect("it has these fields");
    let mut shown = Shown::new();
    let text = fs::read_to_string(root().join("host-wasm/tests/scenarios/different.json")).expect("it is there");
    let different: Vec<Different> = serde_json::from_str(&text).expect("it has these fields");
    for scenario in scenario::all().expect("the scenarios make sense") {
        add_scenario(&mut shown, &scenario, &different);
    }
    for (folder, hosts) in FOLDERS {
        add_tests(&mut shown, folder, hosts);
    }
    let mut wrong = Vec::new();
    for (id, _) in shown.keys() {
        let is_case = groups.iter().flat_map(|group| &group.cases).any(|case| case.id == *id || case.by.contains(id));
        if !is_case && ids(id) == [id.as_str()] {
            wrong.push(format!("{id} is the id of a test and not of a case"));
        }
    }
    let page = page(&groups, &shown, &mut wrong);
    assert!(wrong.is_empty(), "{wrong:#?}");
    let path = root().join("tests/CASES.md");
    if fs::read_to_string(&path).unwrap_or_default() != page {
        fs::write(&path, page).expect("it can be written");
        panic!("tests/CASES.md was out of date and has been written again: look at it and commit it");
    }
}

fn page(groups: &[Group], shown: &Shown, wrong: &mut Vec<String>) -> String {
    let mut page = "# Cases\n\n<!-- Written by tests/tests/cases.rs from the tests themselves and tests/cases.json. -->\n\n\
        Each case, and on each host a test that shows it, or in italics why there is none. `cargo test --workspace H16` runs the \
        scenarios of a case on the Rust hosts.\n"
        .to_owned();
    for group in groups {
        page += &format!(
            "\n## {}\n\n| id | case | core | native | Node | Chromium |\n|---|---|---|---|---|---|\n",
            group.group
        );
        for case in &group.cases {
            page += &format!("| {} | {} |", case.id, case.case);
            for (host, name) in HOSTS.iter().enumerate() {
                let of = |id: &String| shown.get(&(id.clone(), host)).cloned().unwrap_or_default();
                let tests: Vec<_> = [&case.id].into_iter().chain(&case.by).flat_map(of).collect();
                let reason = case.not.get(*name);
                page += &match (tests.first(), reason.or(group.not.get(*name))) {
                    (Some(_), _) if reason.is_some() => {
                        wrong.push(format!("{} has tests on {name} and a reason why it has none", case.id));
                        continue;
                    }
                    (Some(first), _) if tests.len() == 1 => format!(" {first} |"),
                    (Some(first), _) => format!(" {first} and {} more |", tests.len() - 1),
                    (None, Some(reason)) => format!(" *{reason}* |"),
                    (None, None) => {
                        wrong.push(format!("{} has neither a test on {name} nor a reason: {}", case.id, case.case));
                        continue;
                    }
                };
            }
            page.push('\n');
        }
    }
    page
}

fn add_scenario(shown: &mut Shown, scenario: &Scenario, different: &[Different]) {
    let mut hosts: Vec<usize> =
        scenario.hosts.iter().map(|host| if *host == Host::Core { CORE } else { NATIVE }).collect();
    hosts.extend([NODE, CHROMIUM].into_iter().filter(|host| runs_on(*host, scenario, different)));
    for host in hosts {
        let link = format!("[{}](scenarios/{})", scenario.name, file_of(scenario));
        shown.entry((scenario.id.clone(), host)).or_default().push(link);
    }
}

/// As `host-wasm/tests/scenarios/suite.mjs` decides it for Node and Chromium.
fn runs_on(host: usize, scenario: &Scenario, different: &[Different]) -> bool {
    let is_it = |one: &&Different| {
        one.names.iter().any(|name| scenario.name.contains(name))
            && one.id.as_ref().is_none_or(|id| *id == scenario.id)
            && one.hosts.as_ref().is_none_or(|hosts| hosts.iter().any(|name| name == HOSTS[host]))
    };
    let skipped = different.iter().find(is_it).is_some_and(|one| one.skip.is_some());
    let elsewhere = !scenario.download.mirrors.is_empty() || !scenario.hosts.contains(&Host::Native);
    !skipped && scenario.before.room.is_none() && !(elsewhere && scenario.because.is_some())
}

fn file_of(scenario: &Scenario) -> String {
    let is_in = |path: &PathBuf| {
        let text = fs::read_to_string(path).unwrap_or_default();
        text.contains(&format!("\"id\": \"{}\"", scenario.id)) && text.contains(&scenario.name)
    };
    let file = files(&root().join("tests/scenarios")).into_iter().find(is_in).expect("it was read from there");
    file.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn add_tests(shown: &mut Shown, folder: &str, hosts: &[usize]) {
    for path in files(&root().join(folder)) {
        let name = path.strip_prefix(root()).expect("it is below").display().to_string();
        let hosts = if name.starts_with("host-wasm/tests/chromium") { &[CHROMIUM] } else { hosts };
        let text = fs::read_to_string(&path).unwrap_or_default();
        let (mut above, mut is_test) = (String::new(), !name.contains("/src/") || name.contains("/contract/"));
        let always = is_test;
        for line in text.lines().map(str::trim_start) {
            if line.starts_with("//") || line.starts_with("# ") {
                above += line;
                above.push('\n');
            } else if line.starts_with("#[") {
                is_test |= line == "#[test]";
            } else {
                if let Some(test) = test_in(line).filter(|_| is_test) {
                    for (id, host) in
                        ids(&above).into_iter().flat_map(|id| hosts.iter().map(move |host| (id.clone(), *host)))
                    {
                        let link = format!("[{test}](../{name})").replace("../tests/", "");
                        shown.entry((id, host)).or_default().push(link);
                    }
                }
                above.clear();
                is_test = always;
            }
        }
    }
}

/// The name of the test that begins in this line.
fn test_in(line: &str) -> Option<String> {
    if let Some(rest) = line.strip_prefix("test(") {
        let quote = rest.chars().next()?;
        return Some(rest.get(1..)?.split(quote).next()?.to_owned());
    }
    let rest = line.trim_start_matches("pub ").trim_start_matches("async ");
    let name = rest.strip_prefix("fn ").or(rest.strip_prefix("def "))?;
    let end = name.find(|letter: char| !letter.is_alphanumeric() && letter != '_')?;
    Some(name.get(..end)?.replace('_', " "))
}

/// The ids in a text; `C03 to C05` is three.
fn ids(text: &str) -> Vec<String> {
    let is_letter = |letter: char| letter.is_ascii_alphanumeric();
    let (mut found, mut last_end, mut at) = (Vec::<String>::new(), 0, 0);
    while let Some(start) = text[at..].find(is_letter).map(|start| at + start) {
        let end = text[start..].find(|letter: char| !is_letter(letter)).map_or(text.len(), |end| start + end);
        if let Some((group, number)) = id(&text[start..end]) {
            let first = match found.last().and_then(|last| id(last)) {
                Some((before, first)) if before == group && [" to ", "–"].contains(&&text[last_end..start]) => {
                    first + 1
                }
                _ => number,
            };
            found.extend((first..=number).map(|number| format!("{group}{number:02}")));
            last_end = end;
        }
        at = end;
    }
    found
}

fn id(word: &str) -> Option<(&str, u32)> {
    let (group, number) = word.split_at_checked(word.len().checked_sub(2)?)?;
    let groups = ["H", "D", "C", "L", "K", "X", "T", "FW", "FD", "FJ", "FS"];
    (groups.contains(&group) && number.bytes().all(|digit| digit.is_ascii_digit()))
        .then_some((group, number.parse().ok()?))
}

/// The files at a path, sorted; tests of the packages that tests install are not ours.
fn files(path: &Path) -> Vec<PathBuf> {
    if path.is_file() {
        return vec![path.to_owned()];
    }
    let entries = fs::read_dir(path).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut entries: Vec<_> = entries.filter(|path| !path.ends_with("node_modules")).collect();
    entries.sort();
    entries.iter().flat_map(|entry| files(entry)).collect()
}

fn root() -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.parent().expect("it is in a folder").to_owned()
}
