//! Downloads one file: `cargo run --package regrip --example download -- URL PATH`.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [url, path] = words.as_slice() else { return Err("usage: download URL PATH".into()) };
    let file = regrip::download(url, path).wait()?;
    println!("{}: {} bytes after {} attempts", file.path.display(), file.bytes, file.attempts);
    Ok(())
}
