//! Puts the commit into `regrip --version`, where it can be known.
//!
//! In a checkout git tells it; in a package from `cargo package` or crates.io a file that cargo puts there does. Without
//! either, and for sources that lie in somebody else's repository, there is the version alone. Nothing here can fail a build.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Digits of the commit that are shown.
const DIGITS: usize = 10;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let folder = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default());
    let version = env::var("CARGO_PKG_VERSION").unwrap_or_default();
    let commit = packaged(&folder).or_else(|| checked_out(&folder));
    let shown = match commit.as_deref().and_then(|commit| commit.get(..DIGITS)) {
        Some(commit) => format!("{version} ({commit})"),
        None => version,
    };
    println!("cargo::rustc-env=REGRIP_VERSION={shown}");
}

/// The commit a package was made from: `"sha1": "…"` in what cargo notes beside the manifest.
fn packaged(folder: &Path) -> Option<String> {
    let info = fs::read_to_string(folder.join(".cargo_vcs_info.json")).ok()?;
    let (_, rest) = info.split_once("\"sha1\"")?;
    rest.split('"').nth(1).map(str::to_owned)
}

/// The commit of our own checkout, whose top is the folder above this one.
fn checked_out(folder: &Path) -> Option<String> {
    let top = git(folder, &["rev-parse", "--show-toplevel"])?;
    let ours = fs::canonicalize(folder.parent()?).ok()?;
    if fs::canonicalize(top).ok()? != ours {
        return None;
    }
    // The log is written to whenever HEAD moves; where none is kept, HEAD and the branch it is on.
    let branch = git(folder, &["symbolic-ref", "--quiet", "HEAD"]);
    let moving = ["logs/HEAD", "HEAD", "packed-refs"].map(str::to_owned);
    for name in moving.into_iter().chain(branch) {
        let path = git(folder, &["rev-parse", "--git-path", &name]);
        // One that is not there would have this built anew every time.
        if let Some(path) = path.map(|path| folder.join(path)).filter(|path| path.exists()) {
            println!("cargo::rerun-if-changed={}", path.display());
        }
    }
    git(folder, &["rev-parse", "HEAD"])
}

fn git(folder: &Path, arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").current_dir(folder).args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let text = text.trim();
    (output.status.success() && !text.is_empty()).then(|| text.to_owned())
}
