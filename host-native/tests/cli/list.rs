//! `-i`: URLs from a file or from standard input.

use crate::support::{Bench, Ran};
use regrip_faultd::{Content, FileScript, Script, Version};
use std::io::Write;
use std::process::Stdio;

fn films(count: u64) -> Bench {
    let mut script = Script::new();
    for seed in 1..=count {
        let file = FileScript::honest(Version::new(seed, 1000 + seed));
        script = script.file(&format!("/{seed}.bin"), file);
    }
    Bench::serving(script)
}

#[test]
fn a_list_adds_to_what_was_typed_and_each_url_counts_once() {
    let bench = films(3);
    let url = |seed: u64| bench.url(&format!("/{seed}.bin"));
    let list = format!("# films\n\n{}\r\n  {}  \n{}\n", url(2), url(3), url(1));
    std::fs::write(bench.path("urls.txt"), list).expect("written");
    let ran = bench.run(&[&url(1), "-i", "urls.txt", "-j", "1", "--json"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let queued = ran.events().into_iter().filter(|event| event["event"] == "queued");
    let urls: Vec<String> = queued.map(|event| event["url"].as_str().unwrap_or_default().to_owned()).collect();
    assert_eq!(urls, [url(1), url(2), url(3)]);
    for seed in 1..=3 {
        bench.assert_is(&format!("{seed}.bin"), Content::new(seed, 1000 + seed));
    }
}

// FD07
#[test]
fn a_line_that_cannot_be_used_is_reported_with_its_number_and_the_others_are_fetched() {
    let unusable: [&[u8]; 9] = [
        b"film",
        b"ftp://host/film",
        b"magnet:?xt=urn:btih:abc",
        b"http://host/",
        b"http://host/film.part",
        b"http://host/%ff",
        b"http://me:hunter2@host/a b",
        b"\xff\xfe\x00",
        &[b'x'; 100_000],
    ];
    for line in unusable {
        let bench = films(2);
        let (first, second) = (bench.url("/1.bin"), bench.url("/2.bin"));
        let list = [b"\xef\xbb\xbf", first.as_bytes(), b"\r\n\r\n# x\r\n", line, b"\n", second.as_bytes()];
        std::fs::write(bench.path("urls.txt"), list.concat()).expect("written");
        let ran = bench.run(&["-i", "urls.txt"]);
        assert_eq!(ran.code, Some(1), "{ran:?}");
        assert!(ran.err.starts_with("regrip: urls.txt, line 4: "), "{}", ran.err);
        assert!(!ran.err.contains("hunter2"), "{}", ran.err);
        for seed in 1..=2 {
            bench.assert_is(&format!("{seed}.bin"), Content::new(seed, 1000 + seed));
        }
    }
}

#[test]
fn a_line_whose_file_another_line_has_is_reported_and_one_url_in_two_spellings_is_not() {
    let bench = films(1);
    let good = bench.url("/1.bin");
    let list = format!("{good}\n{good}?again\n{good}#part\nno url\n");
    std::fs::write(bench.path("urls.txt"), list).expect("written");
    let ran = bench.run(&["-i", "urls.txt"]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    let reported = ran.err.lines().filter(|line| line.starts_with("regrip: "));
    let reported: Vec<&str> = reported.filter_map(|line| line.get(..26)).collect();
    assert_eq!(reported, ["regrip: urls.txt, line 2: ", "regrip: urls.txt, line 4: "]);
    assert_eq!(bench.server.log().len(), 1);
}

#[test]
fn a_list_without_a_usable_line_is_wrong_usage_and_nothing_is_written() {
    let bench = films(1);
    std::fs::write(bench.path("urls.txt"), "ftp://host/film\n").expect("written");
    let ran = bench.run(&["-i", "urls.txt"]);
    assert_eq!(ran.code, Some(2), "{ran:?}");
    assert!(bench.server.log().is_empty() && !bench.path("state").exists());
}

#[test]
fn a_long_list_comes_by_standard_input() {
    // More than wait at once, so that the list is taken up bit by bit.
    let count = 400;
    let bench = films(count);
    let mut command = bench.get(&["-i", "-", "-j", "8", "-q", "--no-digest"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("regrip starts");
    let mut list = child.stdin.take().expect("it is piped");
    for seed in 1..=count {
        writeln!(list, "{}", bench.url(&format!("/{seed}.bin"))).expect("it reads");
    }
    drop(list);
    let ran = Ran::of(child.wait_with_output().expect("it ends"));
    assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""));
    for seed in 1..=count {
        bench.assert_is(&format!("{seed}.bin"), Content::new(seed, 1000 + seed));
    }
}

#[test]
fn what_fails_in_a_long_list_counts_wherever_it_stands() {
    let bench = films(300);
    let mut urls: Vec<String> = (1..=300).map(|seed| bench.url(&format!("/{seed}.bin"))).collect();
    urls.insert(2, bench.url("/nothing"));
    std::fs::write(bench.path("urls.txt"), urls.join("\n")).expect("written");
    let ran = bench.run(&["-i", "urls.txt", "-j", "8", "-q", "--no-digest"]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    bench.assert_is("300.bin", Content::new(300, 1300));
}
