//! What was typed.

use clap::{Parser, Subcommand, ValueEnum};
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
    Get(Get),
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
    #[arg(value_name = "URL", required = true)]
    pub urls: Vec<String>,

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
