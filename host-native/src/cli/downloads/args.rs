//! What was typed after `list`, `show`, `retry`, `cancel` and `remove`.

use clap::builder::{PossibleValuesParser, TypedValueParser};
use regrip_core::{DownloadId, Status};
use std::path::PathBuf;

/// Where the downloads are kept.
#[derive(Debug, clap::Args)]
pub struct Place {
    /// The database that remembers downloads [default: regrip/state.db in $XDG_STATE_HOME or ~/.local/state]
    #[arg(long, value_name = "FILE")]
    pub state: Option<PathBuf>,
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
command stays until it has ended, as `regrip get` does. One that needs a user, a password or headers
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
