//! What a file system takes for durable files, without network, ledger and checks: `floor FOLDER FILES BYTES THREADS`.
//!
//! Each thread writes a file under another name, syncs it and renames it; after every eighth it syncs the folder. Nothing that
//! promises complete files after a power cut can do less. Built by `rustc -O`, and called by `tests/bench/run`.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

/// regrip shares a sync of the folder among the files that end together, about so many.
const SHARED: usize = 8;

fn main() -> io::Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [folder, numbers @ ..] = words.as_slice() else { return Err(io::Error::other("FOLDER FILES BYTES THREADS")) };
    let numbers: Vec<usize> = numbers.iter().filter_map(|word| word.parse().ok()).collect();
    let [files, bytes, threads] = numbers[..] else { return Err(io::Error::other("FOLDER FILES BYTES THREADS")) };
    let (folder, content) = (Path::new(folder), vec![7; bytes]);
    std::thread::scope(|scope| {
        let write = |from: usize| {
            let content = &content;
            scope.spawn(move || (from..files).step_by(threads).try_for_each(|number| durable(folder, number, content, threads)))
        };
        let running: Vec<_> = (0..threads).map(write).collect();
        running.into_iter().try_for_each(|thread| thread.join().unwrap_or_else(|_| Err(io::Error::other("a thread panicked"))))
    })
}

fn durable(folder: &Path, number: usize, content: &[u8], threads: usize) -> io::Result<()> {
    let (part, name) = (folder.join(format!("f{number}.part")), folder.join(format!("f{number}")));
    let mut file = File::create(&part)?;
    file.write_all(content)?;
    file.sync_data()?;
    fs::rename(part, name)?;
    match (number / threads) % SHARED {
        0 => File::open(folder)?.sync_all(),
        _ => Ok(()),
    }
}
