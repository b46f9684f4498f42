//! Files in a shared folder that are not shared.

use crate::support::{Bench, How, put};
use std::fs;

fn names(bench: &Bench) -> Vec<String> {
    let found = bench.search("");
    let names = found.iter().filter_map(|item| item["filename"].as_str());
    let mut names: Vec<String> = names.map(str::to_owned).collect();
    names.sort();
    names
}

// FS06
#[test]
fn unfinished_files_of_other_programs_are_neither_listed_nor_sent() {
    let bench = Bench::of(|films| {
        let unfinished = [
            "a.mkv.part",
            "b.mkv.!qB",
            "c.mkv.crdownload",
            "d.mkv.partial~",
            "e.mkv.filepart",
            "f.mkv",
            "f.mkv.aria2",
            ".g.mkv.Xy12ab",
            "_UNPACK_Film/h.mkv",
            "_FAILED_Film/i.mkv",
            "Pack/j.mkv",
            "Pack.aria2",
            "incomplete/k.mkv",
            "l.mkv.download/l.mkv",
            "m.mkv.tmp",
        ];
        put(&films.join("empty.mkv"), b"");
        put(&films.join("empty.mkv.part"), b"");
        put(&films.join("replaced.mkv.part"), b"");
        for path in unfinished.into_iter().chain(["film.mkv", "Pack 2/n.mkv", "replaced.mkv"]) {
            put(&films.join(path), b"x");
        }
    });
    assert_eq!(names(&bench), ["film.mkv", "n.mkv", "replaced.mkv"]);
}

#[test]
fn a_file_that_another_program_begins_to_fetch_anew_is_not_sent() {
    let bench = Bench::film(b"film");
    let path = bench.file("film.mkv");
    assert_eq!(bench.get(&path, "").status, 200);
    put(&bench.path("film.mkv.aria2"), b"control");
    assert_eq!(bench.get(&path, "").status, 404);
    fs::remove_file(bench.path("film.mkv.aria2")).unwrap();
    crate::support::until(|| (bench.get(&path, "").status == 200).then_some(()));
}

#[test]
fn regrips_own_files_are_neither_listed_nor_sent_by_whatever_name() {
    let mut bench = Bench::film(b"film");
    bench.stop();
    let keys = bench.folder.path().join("keys");
    put(&keys, b"secret");
    fs::hard_link(&keys, bench.path("keys.mkv")).unwrap();
    bench.start(How { own_files: vec![keys], ..How::default() });
    // Links, under names that say nothing.
    for file in ["state.db", "state.db-wal", "state.db-shm"] {
        let link = bench.path(&format!("{}.mkv", file.replace('.', " ")));
        fs::hard_link(bench.folder.path().join(file), link).unwrap();
    }
    put(&bench.path("later.mkv"), b"later");
    crate::support::until(|| {
        let names = names(&bench);
        names.contains(&"later.mkv".to_owned()).then_some(names)
    });
    assert_eq!(names(&bench), ["film.mkv", "later.mkv"]);
}

#[test]
fn a_key_file_that_takes_the_place_of_a_shared_file_is_not_sent() {
    let mut bench = Bench::film(b"film");
    bench.stop();
    let keys = bench.folder.path().join("keys");
    put(&keys, b"secret");
    bench.start(How { own_files: vec![keys.clone()], looks_by_itself: false, ..How::default() });
    let path = bench.file("film.mkv");
    fs::rename(&keys, bench.path("film.mkv")).unwrap();
    std::os::unix::fs::symlink(bench.path("film.mkv"), &keys).unwrap();
    assert_eq!(bench.get(&path, "").status, 404);
    assert_eq!(bench.get(path.trim_end_matches("/file"), "").status, 404);
}
