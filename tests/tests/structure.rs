//! The order of the code: which files and folders may know of each other.
//!
//! Imports are read as text, `use` trees and paths that begin with `crate`, `super` or `self`; what stands under
//! `#[cfg(test)] mod` does not count.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// By file, relative to its source folder: the files it imports from.
type Imports = BTreeMap<String, BTreeSet<String>>;

#[test]
fn no_files_of_the_core_import_each_other_in_a_circle() {
    let imports = imports("core/src");
    assert!(imports["transfer.rs"].contains("pump.rs"), "{imports:?}");
    assert_eq!(circles(&imports), Vec::<String>::new());
}

#[test]
fn no_folders_of_the_native_host_import_each_other_in_a_circle() {
    let room = |file: &String| file.split('/').next().unwrap_or_default().to_owned();
    let mut rooms = Imports::new();
    for (file, imported) in imports("host-native/src") {
        let others = imported.iter().map(room).filter(|other| *other != room(&file));
        rooms.entry(room(&file)).or_default().extend(others);
    }
    assert!(rooms["serve"].contains("control"), "{rooms:?}");
    assert_eq!(circles(&rooms), Vec::<String>::new());
}

#[test]
fn sqlite_is_known_to_its_folder_and_its_ledger_to_those_who_open_it() {
    let sources = sources("host-native/src");
    let naming = |word: &str| -> Vec<&str> {
        let naming =
            sources.iter().filter(|(file, text)| code(text).contains(word) && !file.starts_with("ledger/sqlite/"));
        naming.map(|(file, _)| file.as_str()).collect()
    };
    assert_eq!(naming("rusqlite"), Vec::<&str>::new());
    let opening = ["ledger/mod.rs", "serve/daemon.rs", "state.rs"];
    assert_eq!(naming("SqliteLedger"), opening);
}

#[test]
fn the_native_host_has_no_more_files_than_a_reader_can_survey() {
    let sources = sources("host-native/src");
    // Those of the feature `fleet` are surveyed by who runs one.
    let fleet = ["ledger/postgres/", "ledger/sqlite/uploads.rs", "store/object/"];
    let files = sources.keys().filter(|file| fleet.iter().all(|folder| !file.starts_with(folder))).count();
    assert!(files <= 130, "{files} files, more than 130");
}

#[test]
fn a_type_name_has_one_meaning_in_the_native_host() {
    let mut defined: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (file, text) in sources("host-native/src") {
        for name in types(&code(&text)) {
            defined.entry(name).or_default().push(file.clone());
        }
    }
    assert!(defined.contains_key("HttpTransport"), "{defined:?}");
    defined.retain(|_, files| files.len() > 1);
    assert_eq!(defined, BTreeMap::new());
}

#[test]
fn a_circle_is_found() {
    let uses = |of: &[&str]| of.iter().map(|name| (*name).to_owned()).collect();
    let imports = Imports::from([
        ("a".to_owned(), uses(&["b"])),
        ("b".to_owned(), uses(&["c", "d"])),
        ("c".to_owned(), uses(&["a"])),
        ("d".to_owned(), uses(&[])),
    ]);
    assert_eq!(circles(&imports), ["a, b, c"]);
    let paths = paths("use crate::a::{b, c::{self, D}};\n#[cfg(test)]\nmod tests { use super::x; }", &[]);
    let paths: Vec<String> = paths.iter().map(|path| path.join("::")).collect();
    assert_eq!(paths, ["crate::a::b", "crate::a::c::self", "crate::a::c::D"]);
}

fn root(folder: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(folder)
}

/// The source files of a folder.
fn files(root: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next).expect("a source folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    assert!(files.len() > 20, "{root:?}: {}", files.len());
    files
}

/// The text of every source file of a folder, by its path there.
fn sources(folder: &str) -> BTreeMap<String, String> {
    let root = root(folder);
    let read = |path: &PathBuf| {
        let relative = path.strip_prefix(&root).expect("below the root");
        let text = fs::read_to_string(path).expect("a source file");
        (relative.to_string_lossy().into_owned(), text)
    };
    files(&root).iter().map(read).collect()
}

/// Reads the imports of every file of a source folder.
fn imports(folder: &str) -> Imports {
    let root = root(folder);
    let files = files(&root).into_iter();
    let files: BTreeMap<_, _> = files.map(|path| (module(&root, &path), path)).collect();
    let name = |path: &PathBuf| {
        let relative = path.strip_prefix(&root).expect("below the root");
        relative.to_string_lossy().into_owned()
    };
    let of_file = |(module, path): (&Vec<String>, &PathBuf)| {
        let text = fs::read_to_string(path).expect("a source file");
        let children: Vec<&str> = files
            .keys()
            .filter(|other| other.len() == module.len() + 1 && other.starts_with(module))
            .filter_map(|child| child.last().map(String::as_str))
            .collect();
        let imported = paths(&text, &children)
            .iter()
            .filter_map(|path| files.get(&resolve(module, path, &files)))
            .filter(|other| *other != path)
            .map(name)
            .collect();
        (name(path), imported)
    };
    files.iter().map(of_file).collect()
}

/// The path of the module in a file.
fn module(root: &Path, file: &Path) -> Vec<String> {
    let relative = file.strip_prefix(root).expect("below the root").with_extension("");
    let mut parts: Vec<String> = relative.iter().map(|part| part.to_string_lossy().into_owned()).collect();
    if matches!(parts.last().map(String::as_str), Some("mod" | "lib" | "main")) {
        parts.pop();
    }
    parts
}

/// The module that a path leads to: the longest part of it that is one.
fn resolve(module: &[String], path: &[String], files: &BTreeMap<Vec<String>, PathBuf>) -> Vec<String> {
    let mut at = module.to_vec();
    let mut rest = path;
    match path.first().map(String::as_str) {
        Some("crate") => (at, rest) = (Vec::new(), &path[1..]),
        Some("self") => rest = &path[1..],
        _ => {
            while rest.first().is_some_and(|part| part == "super") {
                at.pop();
                rest = &rest[1..];
            }
        }
    }
    at.extend_from_slice(rest);
    while !at.is_empty() && !files.contains_key(&at) {
        at.pop();
    }
    at
}

/// The types that a text defines.
fn types(code: &str) -> Vec<String> {
    let mut words = code.split(|letter: char| !letter.is_alphanumeric() && letter != '_');
    let mut names = Vec::new();
    while let Some(word) = words.next() {
        if matches!(word, "struct" | "enum" | "trait") {
            names.extend(words.next().map(str::to_owned));
        }
    }
    names
}

/// A text without its tests and comments.
fn code(text: &str) -> String {
    let text = text.split("#[cfg(test)]\nmod ").next().unwrap_or_default();
    text.lines()
        .map(|line| line.split("//").next().unwrap_or_default())
        .fold(String::new(), |code, line| code + line + "\n")
}

/// Every path in a text that may lead to another file of the crate.
fn paths(text: &str, children: &[&str]) -> Vec<Vec<String>> {
    let code = code(text);
    let mut paths = Vec::new();
    let mut rest = String::new();
    for (number, piece) in code.split(';').enumerate() {
        let begin = piece.rfind("use ").filter(|begin| {
            piece[..*begin].chars().next_back().is_none_or(|before| before.is_whitespace() || before == ')')
        });
        match begin {
            Some(begin) if number == 0 || !piece[begin..].contains(" fn ") => {
                tree(&[], &piece[begin + 4..], &mut paths);
                rest.push_str(&piece[..begin]);
            }
            _ => rest.push_str(piece),
        }
    }
    let is_word = |letter: char| letter.is_alphanumeric() || letter == '_' || letter == ':';
    for word in rest.split(|letter| !is_word(letter)) {
        if word.contains("::") {
            paths.push(word.split("::").map(str::to_owned).collect());
        }
    }
    paths.retain(|path| {
        let first = path.first().map(String::as_str).unwrap_or_default();
        matches!(first, "crate" | "super" | "self") || children.contains(&first)
    });
    paths
}

/// Reads one tree of a `use`.
fn tree(prefix: &[String], text: &str, paths: &mut Vec<Vec<String>>) {
    let text = text.trim();
    let (path, group) = match text.find('{') {
        Some(brace) => (&text[..brace], text[brace + 1..].strip_suffix('}')),
        None => (text.split(" as ").next().unwrap_or_default(), None),
    };
    let mut prefix = prefix.to_vec();
    prefix.extend(path.split("::").map(|part| part.trim().to_owned()).filter(|part| !part.is_empty()));
    let Some(group) = group else {
        paths.push(prefix);
        return;
    };
    let (mut depth, mut begin) = (0, 0);
    for (at, letter) in group.char_indices().chain([(group.len(), ',')]) {
        match letter {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                if !group[begin..at].trim().is_empty() {
                    tree(&prefix, &group[begin..at], paths);
                }
                begin = at + 1;
            }
            _ => {}
        }
    }
}

/// Those that reach each other, a line for each circle.
fn circles(imports: &Imports) -> Vec<String> {
    let reached = |from: &String| {
        let mut seen = BTreeSet::new();
        let mut next = vec![from];
        while let Some(file) = next.pop() {
            for other in imports.get(file).into_iter().flatten() {
                if seen.insert(other.clone()) {
                    next.push(other);
                }
            }
        }
        seen
    };
    let reach: Imports = imports.keys().map(|file| (file.clone(), reached(file))).collect();
    let mut circles: Vec<String> = Vec::new();
    for (file, others) in &reach {
        let circle: BTreeSet<&String> =
            others.iter().filter(|other| reach.get(*other).is_some_and(|back| back.contains(file))).collect();
        let line: Vec<&str> = circle.iter().map(|file| file.as_str()).collect();
        let line = line.join(", ");
        if circle.contains(file) && !circles.contains(&line) {
            circles.push(line);
        }
    }
    circles
}
