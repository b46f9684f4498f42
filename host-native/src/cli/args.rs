//! What was typed.

use clap::{Parser, Subcommand, ValueEnum};
use std::num::NonZeroU64;
use std::path::PathBuf;

/// Downloads that take hold again: whole files, once, over links that break.
#[derive(Debug, Parser)]
#[command(name = "regrip", version, about, max_term_width = 100)]
pub struct Args {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Fetch files by URL, resuming what an earlier run left.
    Get(Box<Get>),
    /// Show what regrip does, offline: a misbehaving server on this machine, and several files fetched from it.
    Demo(Demo),
    /// Make a stub, the small .torrent file that names an item of a peer, or say what is in one.
    #[command(subcommand)]
    Stub(Stub),
    /// Say what is wrong with a configuration (exit code 2), what is odd about it, and what it comes to.
    CheckConfig(CheckConfig),
}

/// Arguments of `get`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The last segment of a URL's path names the file. Until it is whole its bytes are in FILE.part;
run the same command again to go on after Ctrl-C, a crash or a reboot.

Exit codes: 0 all done, 1 some failed, 2 wrong usage, 3 disk or database unusable, 130 interrupted.")]
pub struct Get {
    /// Where to fetch from: http or https
    #[arg(value_name = "URL", required_unless_present = "input")]
    pub urls: Vec<String>,

    /// Fetch the URLs in this file as well, one a line; blank lines and lines that begin with # are left out; - is
    /// standard input
    #[arg(short = 'i', long, value_name = "FILE")]
    pub input: Option<PathBuf>,

    /// Write to this file (one URL only)
    #[arg(
        short = 'o',
        long = "output",
        value_name = "FILE",
        conflicts_with = "dir"
    )]
    pub output: Option<PathBuf>,

    /// Write into this folder
    #[arg(short = 'd', long, value_name = "DIR")]
    pub dir: Option<PathBuf>,

    /// Downloads at once
    #[arg(short, long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    pub jobs: u32,

    /// The SHA-256 the file must have (one URL only)
    #[arg(long, value_name = "HEX", conflicts_with = "no_digest")]
    pub sha256: Option<String>,

    /// Do not compute a SHA-256 while writing
    #[arg(long)]
    pub no_digest: bool,

    /// Send this header to the host of every URL; may be given several times. It follows no redirect to another host. Its
    /// value is kept nowhere, so a later run that goes on needs it again
    #[arg(long = "header", value_name = "K: V")]
    pub headers: Vec<String>,

    /// User and password for the host of every URL that has none of its own (https://user:password@host/file)
    #[arg(long, value_name = "U:P")]
    pub user: Option<String>,

    /// Attempts in a row without progress, the first included
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    pub max_attempts: u32,

    /// Wait before the second attempt, at most; doubles from there
    #[arg(long, value_name = "N", default_value_t = 1000)]
    pub retry_base_ms: u64,

    /// No wait is longer, not even one the server asks for
    #[arg(long, value_name = "N", default_value_t = 60_000)]
    pub retry_max_ms: u64,

    /// Take a connection for dead after so long without a byte
    #[arg(long, value_name = "N", default_value_t = 60_000, value_parser = clap::value_parser!(u64).range(1..))]
    pub idle_timeout_ms: u64,

    /// Keep all downloads together under so many bytes a second; k, M and G are powers of 1024
    #[arg(long, value_name = "N", value_parser = rate)]
    pub limit_rate: Option<NonZeroU64>,

    /// Trust the authorities in this PEM file, and no others
    #[arg(long, value_name = "FILE", conflicts_with = "insecure")]
    pub cacert: Option<PathBuf>,

    /// Believe every certificate: encrypted, but nobody knows with whom
    #[arg(short = 'k', long)]
    pub insecure: bool,

    /// Go through this HTTP proxy: http://user:password@host:port; '' is none. Without it http_proxy, https_proxy and
    /// all_proxy count, in small or capital letters; NO_PROXY lists who is reached without one
    #[arg(long, value_name = "URL")]
    pub proxy: Option<String>,

    /// What to do where the file exists
    #[arg(long, value_enum, default_value_t = OnExists::Fail)]
    pub on_exists: OnExists,

    /// Take up a FILE.part that regrip did not begin; its tail is compared with the source first
    #[arg(long)]
    pub adopt_part: bool,

    /// The database that remembers downloads [default: regrip/state.db in $XDG_STATE_HOME or ~/.local/state]
    #[arg(long, value_name = "FILE")]
    pub state: Option<PathBuf>,

    /// One JSON object a line on standard output
    #[arg(long)]
    pub json: bool,

    /// Say nothing but errors
    #[arg(short, long)]
    pub quiet: bool,
}

/// A number of bytes with or without a unit, as curl reads it.
fn rate(typed: &str) -> Result<NonZeroU64, String> {
    let (digits, unit) = match typed.char_indices().last() {
        Some((at, 'k' | 'K')) => (&typed[..at], 1 << 10),
        Some((at, 'm' | 'M')) => (&typed[..at], 1 << 20),
        Some((at, 'g' | 'G')) => (&typed[..at], 1 << 30),
        _ => (typed, 1_u64),
    };
    let only_digits = digits.bytes().all(|byte| byte.is_ascii_digit());
    let bytes = digits.parse::<u64>().ok().filter(|_| only_digits);
    let bytes = bytes.and_then(|bytes| bytes.checked_mul(unit));
    bytes
        .and_then(NonZeroU64::new)
        .ok_or_else(|| "a number of bytes from 1 on, for example 500k or 2M".to_owned())
}

/// What to do where a file exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum OnExists {
    /// Refuse
    Fail,
    /// Replace it once the new file is whole
    Overwrite,
    /// Take another name: film.1.mkv
    Rename,
}

impl From<OnExists> for regrip_core::OnExists {
    fn from(on_exists: OnExists) -> Self {
        match on_exists {
            OnExists::Fail => regrip_core::OnExists::Fail,
            OnExists::Overwrite => regrip_core::OnExists::Overwrite,
            OnExists::Rename => regrip_core::OnExists::Rename,
        }
    }
}

/// Arguments of `demo`.
#[derive(Debug, clap::Args)]
pub struct Demo {
    /// One JSON object a line on standard output, instead of bars and a table
    #[arg(long)]
    pub json: bool,
}

/// What to do with a stub.
#[derive(Debug, Subcommand)]
pub enum Stub {
    /// Make a stub; a file that is there is not touched
    Create(StubCreate),
    /// Say what is in a stub, or why it is none (exit code 1)
    Inspect(StubInspect),
}

/// Arguments of `stub create`.
#[derive(Debug, clap::Args)]
pub struct StubCreate {
    /// The peer, exactly as the configuration of the server that takes the stub has it
    #[arg(long, value_name = "URL")]
    pub peer: String,

    /// The item, as the peer names it
    #[arg(long, value_name = "ID")]
    pub item: String,

    /// A name to show; the file gets the name that the peer's release has
    #[arg(long)]
    pub name: String,

    /// Size of the item in bytes
    #[arg(long, value_name = "N")]
    pub length: u64,

    /// Where to write it [default: NAME.torrent]
    #[arg(short = 'o', long = "output", value_name = "FILE")]
    pub output: Option<PathBuf>,
}

/// Arguments of `stub inspect`.
#[derive(Debug, clap::Args)]
pub struct StubInspect {
    /// The stub
    pub file: PathBuf,
}

/// Arguments of `check-config`.
#[derive(Debug, clap::Args)]
pub struct CheckConfig {
    /// The configuration
    #[arg(value_name = "FILE", required_unless_present = "config")]
    pub file: Option<PathBuf>,

    /// The same, as `serve` takes it
    #[arg(long, value_name = "FILE", conflicts_with = "file")]
    pub config: Option<PathBuf>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_read_as_curl_reads_it() {
        let table = [
            ("1", Some(1)),
            ("500k", Some(512_000)),
            ("2M", Some(2 << 20)),
            ("3g", Some(3 << 30)),
            ("0", None),
            ("0k", None),
            ("", None),
            ("k", None),
            ("+1", None),
            ("-1", None),
            ("1.5M", None),
            ("2 M", None),
            ("2MB", None),
            ("99999999999G", None),
            ("5\u{20ac}", None),
        ];
        for (typed, bytes) in table {
            assert_eq!(rate(typed).ok().map(NonZeroU64::get), bytes, "{typed:?}");
        }
    }
}
