//! Every fuzz target on its corpus, and on mutations of it: `REGRIP_FUZZ_INPUTS` says how many (default 1,000 a target),
//! `REGRIP_FUZZ_SEED` which (default 1), `REGRIP_FUZZ_TARGET` of which target alone. An input that takes a minute ends the run.

use fastrand::Rng;
use regrip_fuzz::{TARGETS, Target};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::Path;
use std::sync::Mutex;
use std::time::{Duration, Instant};
use std::{env, fs, process, thread};

/// The input that runs, and since when.
static RUNNING: Mutex<Option<(&str, Vec<u8>, Instant)>> = Mutex::new(None);
const PATIENCE: Duration = Duration::from_secs(60);

/// What parsers have special cases for.
const TOKENS: [&[u8]; 20] = [
    b"0",
    b"-",
    b"*",
    b"/",
    b":",
    b"\"",
    b"{",
    b"}",
    b"[",
    b",",
    b"\n",
    b"\xff",
    b"\xe2\x80\xae",
    b"\\u0000",
    b"18446744073709551615",
    b"9223372036854775808",
    b"\r\n",
    b"%2f",
    b"&#0;",
    b"<",
];

#[test]
fn every_target_holds_on_its_corpus() {
    for (name, target) in TARGETS {
        for input in corpus(name) {
            run(name, target, &input);
        }
    }
}

#[test]
fn every_target_holds_on_mutations_of_its_corpus() {
    let inputs = env::var("REGRIP_FUZZ_INPUTS").map_or(1_000, |text| text.parse().expect("a number"));
    let seed = env::var("REGRIP_FUZZ_SEED").map_or(1, |text| text.parse().expect("a number"));
    let only = env::var("REGRIP_FUZZ_TARGET").ok();
    thread::spawn(end_what_hangs);
    for (name, target) in TARGETS {
        if only.as_ref().is_some_and(|only| only != name) {
            continue;
        }
        let corpus = corpus(name);
        let mut random = Rng::with_seed(seed);
        // Opening a database takes a thousand times as long as reading a header, and so do connections.
        let inputs = if matches!(name, "attempt" | "ledger") { inputs / 100 } else { inputs };
        for _ in 0..inputs {
            let input = mutated(&corpus, &mut random);
            run(name, target, &input);
        }
    }
}

/// The inputs of a target, in the order of their names.
fn corpus(name: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(name);
    let entries = fs::read_dir(&folder).expect("each target has a corpus");
    let mut files: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
    files.sort();
    assert!(!files.is_empty(), "{} is empty", folder.display());
    files.iter().map(|file| fs::read(file).expect("a file")).collect()
}

fn end_what_hangs() {
    loop {
        thread::sleep(Duration::from_secs(1));
        let running = RUNNING.lock().expect("nobody panics with it");
        if let Some((name, input, since)) = &*running
            && since.elapsed() > PATIENCE
        {
            eprintln!("{name} hangs on b\"{}\"", input.escape_ascii());
            process::exit(1);
        }
    }
}

fn run(name: &'static str, target: Target, input: &[u8]) {
    *RUNNING.lock().expect("nobody panics with it") = Some((name, input.to_vec(), Instant::now()));
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| target(input))) {
        eprintln!("{name} failed on b\"{}\"", input.escape_ascii());
        resume_unwind(panic);
    }
}

/// One input with one to four changes.
fn mutated(corpus: &[Vec<u8>], random: &mut Rng) -> Vec<u8> {
    let mut input = corpus[random.usize(..corpus.len())].clone();
    for _ in 0..random.usize(1..=4) {
        let at = random.usize(..=input.len());
        let end = at + random.usize(..=(input.len() - at).min(16));
        let new = match random.u8(..5) {
            0 => Vec::new(),
            1 => vec![random.u8(..)],
            2 => input[at..end].repeat(2),
            3 => TOKENS[random.usize(..TOKENS.len())].to_vec(),
            _ => {
                let other = &corpus[random.usize(..corpus.len())];
                other[random.usize(..=other.len())..].to_vec()
            }
        };
        input.splice(at..end, new);
    }
    input
}
