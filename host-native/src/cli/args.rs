//! The arguments, as they were typed.

#[cfg(feature = "demo")]
use super::demo::Demo;
use super::downloads::{Pause, Resume};
use super::output::{Completions, Man};
use super::peers::{KEY_EXAMPLES, KeyCommand, LINK_EXAMPLES, LinkCommand, STUB_EXAMPLES, ShareArgs, StubCommand};
use super::serve::{CheckConfig, Migrate, Serve};
use super::text;
use crate::config::{bytes_per_second, permissions};
use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Parser, Subcommand, ValueEnum};
use regrip_core::{Algorithm, Connections, DownloadId, Status};
use std::num::NonZeroU64;
use std::path::PathBuf;

/// A downloader that resumes: complete files, once, over connections that break.
///
/// Downloads are recorded in a state file. After an error, an interrupt or a crash, a download resumes from the bytes on
/// disk, if the server still has the same file.
#[derive(Debug, Parser)]
#[command(name = "regrip", version = env!("REGRIP_VERSION"), max_term_width = 100, args_override_self = true)]
#[command(override_usage = "regrip [get] [OPTIONS] URL...\n       regrip COMMAND ...")]
#[command(after_help = text::flowing(&examples()))]
pub(crate) struct Args {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What `regrip --help` ends with. Not every build has the demo.
fn examples() -> String {
    let demo = match cfg!(feature = "demo") {
        true => "  regrip demo                        see it work, offline\n",
        false => "",
    };
    format!(
        "\
Examples:
  regrip https://host/film.mkv       fetch a file, or resume it (`regrip get`)
  regrip list                        what was fetched, and what is incomplete
  regrip show 3                      one download, attempt by attempt
{demo}
`regrip help COMMAND` describes each command; `regrip man | man -l -` shows the whole manual."
    )
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Download files by URL; resume partial downloads of earlier runs
    Get(Box<Get>),
    /// List the known downloads, the last changed first
    List(List),
    /// Show one download with the timeline of its attempts
    Show(Show),
    /// Resume a failed or cancelled download and wait for its end
    Retry(Retry),
    /// Pause a download, or all; keep the partial data
    Pause(Pause),
    /// Resume a paused download, or all of them, and wait for the end
    Resume(Resume),
    /// Cancel a download; keep its partial data
    #[command(after_help = text::flowing(CANCEL_NOTES))]
    Cancel(KnownDownload),
    /// Delete a download and its partial data; keep a completed file
    #[command(after_help = text::flowing(REMOVE_NOTES))]
    Remove(KnownDownload),
    /// Add a URL to the downloads of a running server
    Add(AddArgs),
    /// Run the server: stubs from a watch folder, downloads from peers, imports, API and dashboard
    Serve(Serve),
    /// Serve folders to peers
    Share(ShareArgs),
    #[cfg(feature = "demo")]
    /// Show what regrip does, offline: download several files from a misbehaving local server
    Demo(Demo),
    /// Create or inspect a stub, the small .torrent file that names an item of a peer
    #[command(subcommand, after_help = text::flowing(STUB_EXAMPLES))]
    Stub(StubCommand),
    /// Issue, list and revoke the keys of peers
    #[command(subcommand, after_help = text::flowing(KEY_EXAMPLES))]
    Key(KeyCommand),
    /// Make a link by which somebody adds this server as a peer, or add the peer of a link
    #[command(subcommand, after_help = text::flowing(LINK_EXAMPLES))]
    Link(LinkCommand),
    /// Take over the unfinished downloads of jack, and the keys that it issued to peers
    Migrate(Migrate),
    /// Validate a configuration: print errors (exit code 2), warnings and the effective settings
    CheckConfig(CheckConfig),
    /// Print a shell completion script
    Completions(Completions),
    /// Print the manual as a man page
    Man(Man),
}

/// Arguments of `get`.
#[derive(Debug, clap::Args)]
#[command(after_help = text::flowing("\
The last segment of a URL's path names the file. Partial data is in FILE.part; run the same command
again to resume after Ctrl-C, a crash or a reboot. `get` itself may be left out. An option that is
given twice counts the last time. Defaults are read from regrip/get.jsonc in $XDG_CONFIG_HOME or
~/.config: { \"jobs\": 4, \"header\": [\"X-Key: abc\"] }, with the names of the long options.

Examples:
  regrip https://host/film.mkv
  regrip https://host/film.mkv -o other.mkv --checksum sha256:HEX
  regrip https://host/{1,2,3}.iso -d isos -j 2

Exit codes: 0 all done, 1 some failed, 2 wrong usage, 3 disk or database unusable, 130 interrupted."))]
pub(crate) struct Get {
    /// What to download: http or https URLs
    #[arg(value_name = "URL", required_unless_present = "input")]
    pub urls: Vec<String>,

    /// Also download the URLs in this file, one per line; blank lines and lines that begin with # are ignored; - is
    /// standard input. Indented lines below a URL are its own out=NAME, dir=DIR, checksum=ALGORITHM=HEX and header=K: V
    #[arg(short = 'i', long, value_name = "FILE")]
    pub input: Option<PathBuf>,

    /// Write to this file (one URL only), or to object storage: s3://bucket/key, with AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY,
    /// AWS_REGION and AWS_ENDPOINT_URL in the environment; - is standard output: several files follow each other, no partial data is kept,
    /// and --json writes to standard error
    #[arg(short = 'o', long = "output", value_name = "FILE", conflicts_with = "dir")]
    pub output: Option<PathBuf>,

    /// Write into this folder, which is created if it is missing, or below s3://bucket/prefix
    #[arg(short = 'd', short_alias = 'P', long, value_name = "DIR")]
    pub dir: Option<PathBuf>,

    /// Number of downloads at once
    #[arg(short, long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    pub jobs: u32,

    /// Number of connections for a file, from 1 to 16, or auto (up to 4 while that helps). More than one needs a server with a
    /// strong ETag and ranges
    #[arg(short = 'x', long, value_name = "N", value_parser = connections)]
    pub connections: Option<Connections>,

    /// Another source of the same file (one URL only), which takes over when one fails; may be given several times. With
    /// --connections and a digest, pieces are fetched from all of them at once
    #[arg(long, value_name = "URL")]
    pub mirror: Vec<String>,

    /// The digest that the file must have (one URL only): sha256, sha512, sha1 or md5, a colon and its hexadecimal digits;
    /// 64 digits alone are a SHA-256
    #[arg(long, alias = "sha256", value_name = "ALGORITHM:HEX", conflicts_with = "no_digest")]
    pub checksum: Option<String>,

    /// A file with the digests that the files must have, such as SHA256SUMS or film.mkv.md5, in the format of sha256sum or
    /// BSD; - is standard input
    #[arg(long, value_name = "FILE", conflicts_with = "no_digest")]
    pub checksum_file: Option<PathBuf>,

    /// Print the digest of each complete file to standard output, as sha256sum does: sha256, sha512, sha1 or md5
    #[arg(long, value_name = "ALGORITHM", conflicts_with = "no_digest")]
    pub print_checksum: Option<Algorithm>,

    /// Compute no digest, even if the server states one to check the file against
    #[arg(long)]
    pub no_digest: bool,

    /// Send this header to the host of every URL, or those in a file, one per line (@- is standard input); may be given
    /// several times. After a redirect to another host, only User-Agent, Referer, Accept and Accept-Language are sent. Values
    /// are not stored: a run that resumes needs them again
    #[arg(short = 'H', long = "header", value_name = "K: V|@FILE")]
    pub headers: Vec<String>,

    /// User and password for the host of every URL that has none itself (https://user:password@host/file)
    #[arg(short = 'u', long, value_name = "U:P")]
    pub user: Option<String>,

    /// Read users and passwords of hosts from the file that NETRC names, or ~/.netrc. It serves URLs that have no user
    /// themselves, if there is no --user
    #[arg(long)]
    pub netrc: bool,

    /// The same, from this file
    #[arg(long, value_name = "FILE")]
    pub netrc_file: Option<PathBuf>,

    /// Value of the header User-Agent; '' sends none
    #[arg(short = 'A', long, value_name = "AGENT")]
    pub user_agent: Option<String>,

    /// Value of the header Referer
    #[arg(short = 'e', long, value_name = "URL")]
    pub referer: Option<String>,

    /// Send these cookies ('name=value; ...') to the host of every URL, or those of a cookie file (Netscape's format, as
    /// browsers export it) to the hosts that it names
    #[arg(short = 'b', long, value_name = "COOKIES|FILE")]
    pub cookie: Option<String>,

    /// Maximum number of attempts in a row without progress, including the first
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    pub max_attempts: u32,

    /// Maximum delay before the second attempt in milliseconds; doubles with each attempt
    #[arg(long, value_name = "N", default_value_t = 1000)]
    pub retry_base_ms: u64,

    /// Maximum delay in milliseconds, also if the server asks for a longer one
    #[arg(long, value_name = "N", default_value_t = 60_000)]
    pub retry_max_ms: u64,

    /// Abort a connection after this many milliseconds without data
    #[arg(long, value_name = "N", default_value_t = 60_000, value_parser = clap::value_parser!(u64).range(1..))]
    pub idle_timeout_ms: u64,

    /// Limit the total rate to this many bytes per second; k, M and G are powers of 1024
    #[arg(long, value_name = "N", value_parser = rate)]
    pub limit_rate: Option<NonZeroU64>,

    /// Refuse files of more than this many bytes; k, M and G are powers of 1024 [default: 100G]
    #[arg(long, value_name = "N", value_parser = rate)]
    pub max_filesize: Option<NonZeroU64>,

    /// Trust only the certificate authorities in this PEM file
    #[arg(long, value_name = "FILE", conflicts_with = "insecure")]
    pub cacert: Option<PathBuf>,

    /// Accept any certificate: encrypted, but without knowing who the server is
    #[arg(short = 'k', long)]
    pub insecure: bool,

    /// Prove who you are to the hosts of the URLs by this certificate (PEM), if they ask for one
    #[arg(long, value_name = "FILE")]
    pub cert: Option<PathBuf>,

    /// The private key of --cert, unencrypted (PEM), unless that file has it
    #[arg(long, value_name = "FILE", requires = "cert")]
    pub key: Option<PathBuf>,

    /// Connect to IPv4 addresses only
    #[arg(short = '4', long, conflicts_with = "ipv6")]
    pub ipv4: bool,

    /// Connect to IPv6 addresses only
    #[arg(short = '6', long)]
    pub ipv6: bool,

    /// Connect to these addresses for this host (* for every other one) and port instead of looking it up; may be given
    /// several times
    #[arg(long, value_name = "HOST:PORT:ADDR,...")]
    pub resolve: Vec<String>,

    /// Use this proxy: http://user:password@host:port, https://, socks5h:// or socks5:// (host names are resolved here); '' is none. The
    /// default is in http_proxy, https_proxy and all_proxy, in lower or upper case; NO_PROXY lists the hosts to connect to
    /// directly
    #[arg(long, value_name = "URL")]
    pub proxy: Option<String>,

    /// Run this command by `sh -c` after each file that was completed, one at a time and for 10 minutes at most, with
    /// REGRIP_ID, REGRIP_PATH, REGRIP_URL (without its query) and REGRIP_STATUS in its environment; its output goes to
    /// standard error, and its failure is a warning
    #[arg(long, value_name = "COMMAND", value_parser = shell_command)]
    pub on_complete: Option<String>,

    /// What to do if the file exists [default: fail]
    #[arg(long, value_enum)]
    pub on_exists: Option<OnExists>,

    /// Download a file that exists only if the server has a newer or another one, and replace it once that is complete
    #[arg(short = 'N', long, conflicts_with = "force")]
    pub newer: bool,

    /// Download again and replace the file that regrip downloaded, without asking the server if it has changed
    #[arg(long)]
    pub force: bool,

    /// Give the complete file the time of the server's Last-Modified
    #[arg(short = 'R', long)]
    pub remote_time: bool,

    /// Give the complete file these permissions, in octal, whatever the umask is
    #[arg(long, value_name = "MODE", value_parser = file_mode)]
    pub file_mode: Option<u32>,

    /// Name the file as the server's Content-Disposition says; without a usable one, by the URL
    #[arg(long, conflicts_with = "output")]
    pub content_disposition: bool,

    /// Resume a FILE.part that regrip did not create; its tail is compared with the source first
    #[arg(long)]
    pub adopt_part: bool,

    /// The database of downloads [default: regrip/state.db in $XDG_STATE_HOME or ~/.local/state]
    #[arg(long, value_name = "FILE")]
    pub state: Option<PathBuf>,

    /// Check everything and print, for each URL, the file that it would be written to and what is there; no request is made
    /// and nothing is written
    #[arg(long)]
    pub dry_run: bool,

    /// Print one JSON object per line on standard output
    #[arg(long)]
    pub json: bool,

    /// Print errors only
    #[arg(short, long, overrides_with = "verbose")]
    pub quiet: bool,

    /// Print connections and the heads of requests and responses to standard error, without secrets
    #[arg(short, long, overrides_with = "quiet")]
    pub verbose: bool,
}

fn connections(typed: &str) -> Result<Connections, &'static str> {
    Connections::parse(typed).ok_or("a number from 1 to 16, or auto")
}

fn rate(typed: &str) -> Result<NonZeroU64, &'static str> {
    bytes_per_second(typed).ok_or("a number of bytes from 1 on, for example 500k or 2M")
}

/// Reads permissions in octal.
fn file_mode(typed: &str) -> Result<u32, &'static str> {
    permissions(typed).ok_or("permissions in octal that let the owner read and write, for example 640")
}

fn shell_command(typed: &str) -> Result<String, String> {
    match typed.trim() {
        "" => Err("a command for sh -c, for example 'notify-send \"$REGRIP_PATH\"'".to_owned()),
        _ => Ok(typed.to_owned()),
    }
}

/// What to do if a file exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum OnExists {
    /// Report an error
    Fail,
    /// Ask the server for a newer version, and replace the file once that is complete
    Overwrite,
    /// Use another name: film.1.mkv
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

/// The state file or the server that has the downloads.
#[derive(Debug, clap::Args)]
pub(crate) struct BackendArgs {
    /// The database of downloads [default: regrip/state.db in $XDG_STATE_HOME or ~/.local/state]
    #[arg(long, value_name = "FILE")]
    pub state: Option<PathBuf>,

    /// Ask the running server at this URL; REGRIP_API_KEY has its key
    #[arg(long, value_name = "URL", conflicts_with = "state")]
    pub server: Option<String>,

    /// Ask the server with this configuration, or use its ledger while it does not run
    #[arg(long, value_name = "FILE", conflicts_with_all = ["state", "server"])]
    pub config: Option<PathBuf>,
}

/// A known download.
#[derive(Debug, clap::Args)]
pub(crate) struct KnownDownload {
    /// The number in `regrip list`
    #[arg(value_name = "ID")]
    pub id: DownloadId,
    /// The state file or the server that has the downloads.
    #[command(flatten)]
    pub place: BackendArgs,
}

/// Arguments of `list`.
#[derive(Debug, clap::Args)]
#[command(after_help = text::flowing("\
The last changed download comes first. A waiting or failed download has a second line with the reason.
Lines are cut to the width of the terminal, if there is one. Times are relative; --json has UTC.

Examples:
  regrip list                        known downloads and their progress
  regrip list --status failed        failed downloads
  regrip list --json | jq .dest_path
  regrip list --server http://nas    those of a server (its key: REGRIP_API_KEY)

--json prints one object per line, with the columns of the state file: id, status, url,
dest_path, expected_bytes, downloaded_bytes, attempts, error, updated_at and more."))]
pub(crate) struct List {
    /// Only downloads with this status
    #[arg(long, value_name = "S", value_parser = status())]
    pub status: Option<Status>,
    /// Print one JSON object per line
    #[arg(long)]
    pub json: bool,
    /// The state file or the server that has the downloads.
    #[command(flatten)]
    pub place: BackendArgs,
}

fn status() -> impl TypedValueParser<Value = Status> {
    // The value parser lets only names of statuses through.
    PossibleValuesParser::new(Status::ALL.map(Status::name)).map(|name| Status::named(&name).unwrap_or(Status::Queued))
}

/// Arguments of `show`.
#[derive(Debug, clap::Args)]
#[command(after_help = text::flowing("\
The timeline has a row for each attempt. The bars share one time axis: the length of a bar is the
duration of the attempt, the dots after it are the delay before the next one. A bar ends with
# (completed), x (failed), > (in progress) or | (interrupted, cancelled, killed).

Examples:
  regrip show 3
  regrip show 3 --json | jq '.attempts[].code'

--json prints one object: `download` with the state file's columns, `attempts` with the timeline."))]
pub(crate) struct Show {
    /// Which download.
    #[command(flatten)]
    pub known: KnownDownload,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `retry`.
#[derive(Debug, clap::Args)]
#[command(after_help = text::flowing("\
The download resumes from its partial data with a fresh number of attempts, and this command waits for
its end, as `regrip get` does. A server resumes by itself, and this command does not wait. Downloads
that need a user, a password or headers cannot be retried, because those are never stored: run the
`regrip get` again.

Examples:
  regrip list --status failed
  regrip retry 3

Exit codes: 0 completed, 1 failed or cannot be retried, 3 disk or database unusable,
130 interrupted."))]
pub(crate) struct Retry {
    /// Which download.
    #[command(flatten)]
    pub known: KnownDownload,
    /// Print one JSON object per line on standard output
    #[arg(long)]
    pub json: bool,
    /// Print errors only
    #[arg(short, long)]
    pub quiet: bool,
}

const CANCEL_NOTES: &str = "\
Another regrip that is downloading it stops within a second, and this command waits for that. Partial
data is kept for `regrip retry`; `regrip remove` deletes it. A complete download that is about to get
its final name cannot be cancelled any more.

Example:
  regrip cancel 3";

const REMOVE_NOTES: &str = "\
A completed file stays: only its line in the list is removed. While another regrip is downloading it,
nothing is removed; cancel it first.

Example:
  regrip cancel 3 && regrip remove 3";

/// Arguments of `add`.
#[derive(Debug, clap::Args)]
#[command(after_help = text::flowing("\
The server downloads the URL into its completed folder; this command does not wait for the end. A
known URL is not downloaded twice. A list has one URL per line, as `get -i` reads it, with out= and
checksum= below a URL; it is sent in one request, and sending it again adds nothing.

Examples:
  regrip add https://host/film.mkv --config /etc/regrip/config.jsonc
  regrip add -i urls.txt --config /etc/regrip/config.jsonc
  REGRIP_API_KEY=... regrip add https://host/film.mkv --server http://nas:5225

Exit codes: 0 accepted, 1 refused (in part) or no server, 2 wrong usage."))]
pub(crate) struct AddArgs {
    /// What to download: http or https
    #[arg(value_name = "URL", required_unless_present = "input")]
    pub url: Option<String>,
    /// A list of URLs instead; - is standard input
    #[arg(short, long, value_name = "FILE", conflicts_with_all = ["url", "name", "checksum"])]
    pub input: Option<PathBuf>,
    /// The file's name [default: the last segment of the URL]
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// The digest that the file must have: sha256, sha512, sha1 or md5, a colon and its hexadecimal digits
    #[arg(long, alias = "sha256", value_name = "ALGORITHM:HEX")]
    pub checksum: Option<String>,
    /// Print the download, or the result of a list, as one JSON object
    #[arg(long)]
    pub json: bool,
    /// The server.
    #[command(flatten)]
    pub place: BackendArgs,
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
