//! `regrip demo --web`: the page of `host-wasm/demo` with the npm package, and beside it a server that breaks, at one
//! address. The page says how it is to break.

use super::args::Demo;
use super::{Exit, signals, text};
use regrip_faultd::{Options, Pages, Script, Server};
use std::path::{Path, PathBuf};

/// Runs the command, until a signal.
pub(crate) fn main(demo: &Demo) -> Exit {
    match run(demo) {
        Ok(()) => Exit::Done,
        Err((exit, text)) => {
            say!("regrip: {text}");
            exit
        }
    }
}

fn run(demo: &Demo) -> Result<(), (Exit, String)> {
    let pages = pages().map_err(|text| (Exit::Usage, text))?;
    // Its server does what anyone tells it.
    if !demo.listen.ip().is_loopback() {
        let line = format!(
            "the demo is for this machine only, and {} is not",
            demo.listen
        );
        return Err((Exit::Usage, line));
    }
    let stop = signals::first().map_err(|error| {
        let line = format!("cannot listen for Ctrl-C: {error}");
        (Exit::Unusable, line)
    })?;
    let options = Options {
        listen: demo.listen,
        pages,
        ..Options::default()
    };
    let server = Server::start_with(options, Script::new()).map_err(|error| {
        let line = format!("cannot listen at {}: {error}", demo.listen);
        let advice = "name another address with --listen";
        (Exit::Usage, text::with_advice(&line, Some(advice)))
    })?;
    out!("the demo page is at {}/", server.origin());
    // The channel closes only with the process.
    let _ = stop.recv_blocking();
    Ok(())
}

/// The page and the package, in the folder `host-wasm` of the repository.
fn pages() -> Result<Pages, String> {
    let folder = folder().ok_or_else(|| {
        text::with_advice(
            "there is no demo page here: it is a part of regrip's repository",
            Some("run this command in a checkout of it"),
        )
    })?;
    let package = folder.join("pkg");
    if !package.join("web.js").is_file() {
        let line = format!(
            "the page needs the npm package, which is not in {}",
            package.display()
        );
        let advice = format!("build it with {}", folder.join("build").display());
        return Err(text::with_advice(&line, Some(&advice)));
    }
    Ok(Pages::default()
        .folder("/pkg/", &package)
        .folder("/", &page_of(&folder)))
}

/// `host-wasm`, here or in a folder above.
fn folder() -> Option<PathBuf> {
    let here = std::env::current_dir().ok()?;
    here.ancestors()
        .map(|above| above.join("host-wasm"))
        .find(|folder| page_of(folder).join("index.html").is_file())
}

fn page_of(folder: &Path) -> PathBuf {
    folder.join("demo")
}
