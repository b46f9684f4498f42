//! The tables of `core/src/limits.md` and `host-native/src/limits.md`: every limit of a queue, a body, a head or a name, from the
//! constants themselves. Their names say which of them are limits.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

/// Words in the names of constants that are limits.
const WORDS: [&str; 16] = [
    "MOST",
    "MAX",
    "LARGEST",
    "LONGEST",
    "DEEPEST",
    "WIDEST",
    "AHEAD",
    "QUEUE",
    "BATCH",
    "REQUESTS",
    "SUBSCRIBERS",
    "EXTRA",
    "AT_ONCE",
    "UNDER_WAY",
    "HASHED_AGAIN",
    "STUBS_OF_A_PEER",
];

/// What follows is written by this test.
const MARK: &str = "| limit | of | constant |\n|---|---|---|\n";

#[test]
fn every_limit_is_in_the_table_of_its_crate() {
    for name in ["core", "host-native"] {
        let sources = root().join(name).join("src");
        let mut table = MARK.to_owned();
        for file in files(&sources) {
            add_limits(&mut table, &file, &sources);
        }
        let path = sources.join("limits.md");
        let page = fs::read_to_string(&path).expect("it is there");
        let (head, _) = page.split_once(MARK).expect("it has a table");
        if format!("{head}{table}") != page {
            fs::write(&path, format!("{head}{table}")).expect("it can be written");
            panic!("{} was out of date and has been written again: look at it and commit it", path.display());
        }
    }
}

fn add_limits(table: &mut String, file: &Path, sources: &Path) {
    let text = fs::read_to_string(file).expect("it can be read");
    let shown = file.strip_prefix(sources).expect("it is below").display();
    // A comment is of the constants below it, up to an empty line.
    let (mut says, mut is_new) = (String::new(), true);
    for line in text.lines().map(str::trim) {
        if let Some(more) = line.strip_prefix("/// ") {
            says = if is_new { more.to_owned() } else { format!("{says} {more}") };
            is_new = false;
            continue;
        }
        is_new = true;
        if line.is_empty() {
            says.clear();
        }
        if line == "#[cfg(test)]" {
            return;
        }
        let constant = line.split_once("const ").filter(|(before, _)| before.is_empty() || before.starts_with("pub"));
        let Some((name, value)) = constant.and_then(|(_, rest)| rest.strip_suffix(';')?.split_once(" = ")) else {
            continue;
        };
        let Some((name, kind)) = name.split_once(": ") else { continue };
        let is_number = ["usize", "u64", "u32", "i64", "Duration"].contains(&kind);
        let words: Vec<_> = name.split('_').collect();
        let is_limit = WORDS.iter().any(|word| words.contains(word) || (word.contains('_') && name.contains(word)));
        if is_number && is_limit {
            // The first sentence.
            let of = says.split(". ").next().unwrap_or_default().trim_end_matches('.');
            writeln!(table, "| `{value}` | {of} | `{shown}` `{name}` |").expect("a string takes all");
        }
    }
}

/// The sources, sorted.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    let mut entries: Vec<_> = entries.collect();
    entries.sort();
    let mut found = Vec::new();
    for path in entries {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if path.is_dir() && name != "testing" {
            found.extend(files(&path));
        } else if name.ends_with(".rs") && !name.ends_with("tests.rs") {
            found.push(path);
        }
    }
    found
}

fn root() -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.parent().expect("it is in a folder").to_owned()
}
