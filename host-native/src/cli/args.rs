//! What was typed.

use super::manual::{Completions, Man};
use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Parser, Subcommand, ValueEnum};
use regrip_core::{DownloadId, Status};
use std::net::SocketAddr;
use std::num::NonZeroU64;
use std::path::PathBuf;

/// Downloads that take hold again: whole files, once, over links that break.
///
/// Every download is remembered in a state file. One that broke, was interrupted or lost its process goes on from the bytes
/// on disk, if they are still of the file the server has.
#[derive(Debug, Parser)]
#[command(name = "regrip", version = env!("REGRIP_VERSION"), max_term_width = 100)]
#[command(after_help = "\
Examples:
  regrip get https://host/film.mkv   fetch a file, or go on with it
  regrip list                        what was fetched, and what is not whole
  regrip show 3                      one download, attempt by attempt
  regrip demo                        see it work, offline

`regrip help COMMAND` says more about each; `regrip man | man -l -` is the whole manual.")]
pub(crate) struct Args {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Fetch files by URL, resuming what an earlier run left
    Get(Box<Get>),
    /// List the downloads that are known, the newest change first
    List(List),
    /// Show one download with the timeline of its attempts
    Show(Show),
    /// Take up a failed or cancelled download again, to its end
    Retry(Retry),
    /// Call a download off; what came is kept
    Cancel(Cancel),
    /// Delete a download and what came of it; a finished file stays
    Remove(Remove),
    /// Have a running server download a URL
    Add(Add),
    /// The server: stubs from a watch folder, downloads from peers, imports, API and dashboard
    Serve(Serve),
    /// Serve folders to peers, nothing else
    Share(Share),
    /// Show what regrip does, offline: a misbehaving server on this machine, and several files fetched from it.
    Demo(Demo),
    /// Make a stub, the small .torrent file that names an item of a peer, or say what is in one
    #[command(subcommand, after_help = STUB_EXAMPLES)]
    Stub(Stub),
    /// Say what is wrong with a configuration (exit code 2), what is odd about it, and what it comes to
    CheckConfig(CheckConfig),
    /// Print a script that completes regrip's arguments in a shell
    Completions(Completions),
    /// Print the whole manual as a man page
    Man(Man),
}

/// Arguments of `get`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The last segment of a URL's path names the file. Until it is whole its bytes are in FILE.part;
run the same command again to go on after Ctrl-C, a crash or a reboot.

Examples:
  regrip get https://host/film.mkv
  regrip get https://host/film.mkv -o other.mkv --sha256 HEX
  regrip get https://host/{1,2,3}.iso -d isos -j 2

Exit codes: 0 all done, 1 some failed, 2 wrong usage, 3 disk or database unusable, 130 interrupted.")]
pub(crate) struct Get {
    /// Where to fetch from: http or https
    #[arg(value_name = "URL", required_unless_present = "input")]
    pub urls: Vec<String>,

    /// Fetch the URLs in this file as well, one a line; blank lines and lines that begin with # are left out; - is
    /// standard input
    #[arg(short = 'i', long, value_name = "FILE")]
    pub input: Option<PathBuf>,

    /// Write to this file (one URL only); - is standard output, where several files follow each other, nothing is kept for
    /// another run, and --json writes to standard error
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

    /// Send this header to the host of every URL; may be given several times. Only User-Agent, Referer, Accept and
    /// Accept-Language follow a redirect to another host. Its value is kept nowhere, so a later run that goes on needs it
    /// again
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

    /// Give a file's connection up after so long without a byte of it
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

    /// Download again without asking the server whether the file has changed, and replace it
    #[arg(long)]
    pub force: bool,

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
pub(crate) enum OnExists {
    /// Refuse
    Fail,
    /// Ask the server whether it has another version, and replace the file once that is complete
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

/// Arguments of `serve`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
SIGHUP reads the configuration again: peers, servers and limits change at once. SIGTERM and Ctrl-C end
it within 10 s, with exit code 0; the next start goes on from there. A second one ends it at once.

`regrip check-config FILE` says what is wrong with a configuration.

Example:
  regrip serve --config /etc/regrip/config.jsonc")]
pub(crate) struct Serve {
    /// The configuration: JSON with comments
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,

    /// How the log on standard error is written
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t = LogFormat::Text)]
    pub log: LogFormat,
}

/// How a log is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// Lines for people
    Text,
    /// One JSON object a line
    Json,
}

/// Arguments of `share`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Every plain file in the folders is shared, at any depth, except links, hidden files, unfinished files
(.part, .!qB, .crdownload, what has a .aria2 file beside it, ...), what lies beside a film (subtitles,
pictures, .nfo), and regrip's own files (the database, the key file). Ids and episodes are read from names as Radarr and
Sonarr write them: `Film (2020) {tmdb-123}`, `Show S01E02`.

SIGTERM and Ctrl-C end it within 10 s, with exit code 0; a second one at once. SIGHUP has it read the
key file and look through the folders again; a key file that is wrong changes nothing.

Examples:
  regrip share /films
  regrip share /films /series --listen 0.0.0.0:5226 --key-file keys")]
pub(crate) struct Share {
    /// The folders to share
    #[arg(value_name = "DIR", required = true)]
    pub dirs: Vec<PathBuf>,

    /// Where to listen; without a key this must be a loopback address
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:5226")]
    pub listen: SocketAddr,

    /// A file with the keys that peers send in X-Api-Key, one a line: one for each peer
    #[arg(long, value_name = "FILE", conflicts_with = "key_env")]
    pub key_file: Option<PathBuf>,

    /// The environment variable that holds the key, or several, one a line
    #[arg(long, value_name = "NAME")]
    pub key_env: Option<String>,

    /// The database that remembers SHA-256s [default: regrip/state.db in $XDG_STATE_HOME or ~/.local/state]
    #[arg(long, value_name = "FILE")]
    pub state: Option<PathBuf>,
}

/// Arguments of `demo`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Nothing leaves this machine, and the files are gone afterwards. It ends with a table of what went
wrong and what it cost, and with an error if a byte is wrong.

Examples:
  regrip demo
  regrip demo --web")]
pub(crate) struct Demo {
    /// One JSON object a line on standard output, instead of bars and a table
    #[arg(long, conflicts_with = "web")]
    pub json: bool,

    /// The same in a browser: serves the page in host-wasm/demo, with the npm package and a breaking server
    #[arg(long)]
    pub web: bool,

    /// Where the page is served
    #[arg(
        long,
        value_name = "ADDR",
        default_value = "127.0.0.1:5227",
        requires = "web"
    )]
    pub listen: SocketAddr,
}

const STUB_EXAMPLES: &str = "\
Examples:
  regrip stub create --peer https://anna.example --item 42 --name Film --length 60000000000
  regrip stub inspect Film.torrent";

/// What to do with a stub.
#[derive(Debug, Subcommand)]
pub(crate) enum Stub {
    /// Make a stub; a file that is there is not touched
    Create(StubCreate),
    /// Say what is in a stub, or why it is none (exit code 1)
    Inspect(StubInspect),
}

/// Arguments of `stub create`.
#[derive(Debug, clap::Args)]
pub(crate) struct StubCreate {
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
pub(crate) struct StubInspect {
    /// The stub
    pub file: PathBuf,
}

/// Arguments of `check-config`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Errors name key, line, what was found and what was expected. Secrets are not shown.

Example:
  regrip check-config /etc/regrip/config.jsonc")]
pub(crate) struct CheckConfig {
    /// The configuration
    #[arg(value_name = "FILE", required_unless_present = "config")]
    pub file: Option<PathBuf>,

    /// The same, as `serve` takes it
    #[arg(long, value_name = "FILE", conflicts_with = "file")]
    pub config: Option<PathBuf>,
}

/// Where the downloads are kept.
#[derive(Debug, clap::Args)]
pub(crate) struct Place {
    /// The database that remembers downloads [default: regrip/state.db in $XDG_STATE_HOME or ~/.local/state]
    #[arg(long, value_name = "FILE")]
    pub state: Option<PathBuf>,

    /// Ask the running server at this URL instead; its key is in REGRIP_API_KEY
    #[arg(long, value_name = "URL", conflicts_with = "state")]
    pub server: Option<String>,

    /// Ask the server with this configuration instead, or its state file while it does not run
    #[arg(long, value_name = "FILE", conflicts_with_all = ["state", "server"])]
    pub config: Option<PathBuf>,
}

/// Arguments of `list`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The newest change comes first. A download that waits or failed has a second line that says why.
Without a terminal nothing is cut to its width. Times are relative; --json has them in UTC.

Examples:
  regrip list                        what there is, and how far it is
  regrip list --status failed        what needs a look
  regrip list --json | jq .dest_path
  regrip list --server http://nas:5225   on a running server, whose key is in REGRIP_API_KEY

--json prints an object a line, with the names of the state file's columns: id, status, url,
dest_path, expected_bytes, downloaded_bytes, attempts, error, updated_at and more.")]
pub(crate) struct List {
    /// Only downloads with this status
    #[arg(long, value_name = "S", value_parser = status())]
    pub status: Option<Status>,
    /// One JSON object a line
    #[arg(long)]
    pub json: bool,
    /// Where the downloads are kept.
    #[command(flatten)]
    pub place: Place,
}

fn status() -> impl TypedValueParser<Value = Status> {
    // Only names of statuses get as far as this.
    PossibleValuesParser::new(Status::ALL.map(Status::name))
        .map(|name| Status::named(&name).unwrap_or(Status::Queued))
}

/// Arguments of `show`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Below what is known of the download comes its timeline, a row for each attempt. The bars share one
time axis: a bar is as long as its attempt took, the dots behind it are the wait before the next.
A bar ends with # (completed), x (failed), > (under way) or | (interrupted, cancelled, killed).

Examples:
  regrip show 3
  regrip show 3 --json | jq '.attempts[].code'

--json prints one object: `download` with the state file's columns, `attempts` with the timeline.")]
pub(crate) struct Show {
    /// Which one, as `regrip list` numbers them
    #[arg(value_name = "ID")]
    pub id: DownloadId,
    /// One JSON object
    #[arg(long)]
    pub json: bool,
    /// Where the downloads are kept.
    #[command(flatten)]
    pub place: Place,
}

/// Arguments of `retry`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The download goes on from the bytes that are there, with all its attempts before it again, and this
command stays until it has ended, as `regrip get` does. A server that is asked goes on with it by
itself, and this command is done once it has agreed. One that needs a user, a password or headers
cannot be retried so, because those are never kept: run its `regrip get` again.

Examples:
  regrip list --status failed
  regrip retry 3

Exit codes: 0 it is whole, 1 it failed or cannot be retried, 3 disk or database unusable,
130 interrupted.")]
pub(crate) struct Retry {
    /// Which one, as `regrip list` numbers them
    #[arg(value_name = "ID")]
    pub id: DownloadId,
    /// One JSON object a line on standard output
    #[arg(long)]
    pub json: bool,
    /// Say nothing but errors
    #[arg(short, long)]
    pub quiet: bool,
    /// Where the downloads are kept.
    #[command(flatten)]
    pub place: Place,
}

/// Arguments of `cancel`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Another regrip that is downloading it stops within a second, and this command waits for that. What
came is kept, for `regrip retry`; `regrip remove` deletes it. A download that has all its bytes and
is just getting its name cannot be cancelled any more.

Example:
  regrip cancel 3")]
pub(crate) struct Cancel {
    /// Which one, as `regrip list` numbers them
    #[arg(value_name = "ID")]
    pub id: DownloadId,
    /// Where the downloads are kept.
    #[command(flatten)]
    pub place: Place,
}

/// Arguments of `remove`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
A finished file stays where it is: only its line in the list goes. While another regrip is writing
the part, nothing is removed; cancel it first.

Example:
  regrip cancel 3 && regrip remove 3")]
pub(crate) struct Remove {
    /// Which one, as `regrip list` numbers them
    #[arg(value_name = "ID")]
    pub id: DownloadId,
    /// Where the downloads are kept.
    #[command(flatten)]
    pub place: Place,
}

/// Arguments of `add`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The server downloads the URL into its completed folder, and this command is done once it has agreed.
A URL that it knows already is not downloaded twice.

Examples:
  regrip add https://host/film.mkv --config /etc/regrip/config.jsonc
  REGRIP_API_KEY=... regrip add https://host/film.mkv --server http://nas:5225

Exit codes: 0 it is accepted, 1 it is refused, or the server cannot be asked, 2 wrong usage.")]
pub(crate) struct Add {
    /// What to download: http or https
    #[arg(value_name = "URL")]
    pub url: String,
    /// The file's name [default: the last segment of the URL]
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// The SHA-256 the file must have
    #[arg(long, value_name = "HEX")]
    pub sha256: Option<String>,
    /// One JSON object: the download
    #[arg(long)]
    pub json: bool,
    /// Which server.
    #[command(flatten)]
    pub place: Place,
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
