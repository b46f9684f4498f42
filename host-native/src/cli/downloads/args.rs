//! What was typed after `list`, `show`, `retry`, `cancel`, `remove` and `add`.

use clap::builder::{PossibleValuesParser, TypedValueParser};
use regrip_core::{DownloadId, Status};
use std::path::PathBuf;

/// Where the downloads are kept.
#[derive(Debug, clap::Args)]
pub struct Place {
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
pub struct List {
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
pub struct Show {
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
pub struct Retry {
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
pub struct Cancel {
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
pub struct Remove {
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
pub struct Add {
    /// What to download: http or https
    #[arg(value_name = "URL")]
    pub url: String,
    /// The file's name [default: the last segment of the URL]
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// The digest that the file must have: sha256, sha512, sha1 or md5, a colon and its hexadecimal digits
    #[arg(long, alias = "sha256", value_name = "ALGORITHM:HEX")]
    pub checksum: Option<String>,
    /// One JSON object: the download
    #[arg(long)]
    pub json: bool,
    /// Which server.
    #[command(flatten)]
    pub place: Place,
}
