//! `regrip retry` and `regrip resume`: take up failed, cancelled or paused downloads, in this process or in the server that
//! has them; and `regrip add`.

use super::backend::{Backend, StateFile};
use super::remote::Remote;
use super::{NotDone, of_statuses, print};
use crate::api::BatchReply;
use crate::cli::args::{AddArgs, BackendArgs, Retry};
use crate::cli::get::read_list;
use crate::cli::output::{CommandResult, Exit};
#[cfg(feature = "fleet")]
use crate::cli::report::Silent;
use crate::cli::report::{Reporter, RunEnd, reporter};
use crate::cli::{drive, text};
use crate::host::Workers;
use crate::host::{Listener, NativeHost};
use crate::ledger::NativeLedger;
use futures::future::join_all;
use regrip_core::record::Row;
use regrip_core::{DownloadId, Engine, Error, Status, display_url};
use serde_json::json;
use std::cell::Cell;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

/// One download, or all that the command is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Which {
    /// This one.
    One(DownloadId),
    /// All.
    All,
}

impl fmt::Display for Which {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Which::One(id) => id.fmt(formatter),
            Which::All => formatter.write_str("all"),
        }
    }
}

fn which(typed: &str) -> Result<Which, String> {
    match typed {
        "all" => Ok(Which::All),
        id => id.parse().map(Which::One).map_err(|_| "a number from `regrip list`, or `all`".to_owned()),
    }
}

/// Arguments of `pause`.
#[derive(Debug, clap::Args)]
#[command(after_help = text::flowing("\
A paused download is not driven until `regrip resume`, or `regrip get` of the same URL, also after a
restart of the server. Another regrip that is downloading it stops within a second, and this command
waits for that. `all` pauses every queued, running and waiting download.

Examples:
  regrip pause 3
  regrip pause all --config /etc/regrip/config.jsonc"))]
pub(crate) struct Pause {
    /// The number in `regrip list`, or `all`
    #[arg(value_name = "ID|all", value_parser = which)]
    pub which: Which,
    /// The state file or the server that has the downloads.
    #[command(flatten)]
    pub place: BackendArgs,
}

/// Arguments of `resume`.
#[derive(Debug, clap::Args)]
#[command(after_help = text::flowing("\
The download goes on from its partial data, and this command waits for its end, as `regrip get` does.
A server resumes by itself, and this command does not wait. Downloads that need a user, a password or
headers cannot be resumed here, because those are never stored: run the `regrip get` again.

Examples:
  regrip resume 3
  regrip resume all --server http://nas:5225

Exit codes: 0 completed, 1 failed or cannot be resumed, 3 disk or database unusable,
130 interrupted."))]
pub(crate) struct Resume {
    /// The number in `regrip list`, or `all`
    #[arg(value_name = "ID|all", value_parser = which)]
    pub which: Which,
    /// Print one JSON object per line on standard output
    #[arg(long)]
    pub json: bool,
    /// Print errors only
    #[arg(short, long)]
    pub quiet: bool,
    /// The state file or the server that has the downloads.
    #[command(flatten)]
    pub place: BackendArgs,
}

/// Runs `retry`.
pub(crate) fn retry(args: &Retry) -> CommandResult {
    let again = Again { command: "retry", which: Which::One(args.known.id), json: args.json, quiet: args.quiet };
    again.run(&args.known.place)
}

/// Runs `resume`.
pub(crate) fn resume(args: &Resume) -> CommandResult {
    Again { command: "resume", which: args.which, json: args.json, quiet: args.quiet }.run(&args.place)
}

/// Takes up downloads: `retry` or `resume`.
struct Again {
    command: &'static str,
    which: Which,
    json: bool,
    quiet: bool,
}

impl Again {
    fn run(&self, place: &BackendArgs) -> CommandResult {
        let backend = Backend::open(place)?;
        if let Backend::File(file) = &backend
            && let Some(pid) = file.server()
        {
            let line = format!("`regrip serve` (process {pid}) is using this state file");
            let advice = format!("ask the server: regrip {} {} --config FILE", self.command, self.which);
            return Err((Exit::Failed, text::with_advice(&line, Some(&advice))));
        }
        let ids = match self.which {
            Which::One(id) => Ok(vec![id]),
            Which::All => smol::block_on(of_statuses(&backend, &[Status::Paused])),
        };
        let mut ids = ids.map_err(|fault| NotDone::from(fault).ended(None))?;
        ids.sort_unstable();
        if ids.is_empty() && !self.quiet {
            say!("nothing to resume");
        }
        match backend {
            Backend::Server(server) => self.by_server(&server, &ids),
            Backend::File(file) => self.here(&file, &ids),
            #[cfg(feature = "fleet")]
            Backend::Fleet(fleet) => self.by_fleet(&fleet, &ids),
        }
    }

    fn is_resume(&self) -> bool {
        self.command == "resume"
    }

    /// Prints why one of several downloads cannot be taken up, and returns `true`; `false` if it is the only one.
    fn passes_over(&self, id: DownloadId, not_done: &NotDone) -> bool {
        let passes_over = self.which == Which::All;
        if passes_over {
            say!("regrip: {}", not_done.ended(Some(id)).1);
        }
        passes_over
    }

    fn by_server(&self, server: &Remote, ids: &[DownloadId]) -> CommandResult {
        let mut exit = Exit::Done;
        for &id in ids {
            let download = smol::block_on(async {
                match self.is_resume() {
                    true => server.resume(id).await,
                    false => server.retry(id).await,
                }
            });
            match download.map_err(|fault| NotDone::advised(fault, |status| self.not_taken_up(id, status))) {
                Ok(download) if self.json => exit = exit.max(print([json!(download).to_string()])),
                Ok(_) if self.quiet => {}
                Ok(_) => say!("download {id} is resumed; `regrip show {id}` shows its progress"),
                Err(not_done) if self.passes_over(id, &not_done) => exit = exit.max(Exit::Failed),
                Err(not_done) => return Err(not_done.ended(Some(id))),
            }
        }
        Ok(exit)
    }

    fn here(&self, file: &StateFile, ids: &[DownloadId]) -> CommandResult {
        let reporter = reporter(self.json, self.quiet);
        let engine = file.engine(Arc::clone(&reporter) as Arc<dyn Listener>);
        let engine = engine.map_err(|error| NotDone::from(error).ended(None))?;
        let (mut rows, mut exit) = (Vec::new(), Exit::Done);
        for &id in ids {
            match smol::block_on(self.requeue(&engine, id)) {
                Ok(row) => rows.push(row),
                Err(not_done) if self.passes_over(id, &not_done) => exit = Exit::Failed,
                Err(not_done) => return Err(not_done.ended(Some(id))),
            }
        }
        Ok(exit.max(to_their_ends(&engine, &reporter, &rows)?))
    }

    /// Leaves the rest to whichever worker claims it.
    #[cfg(feature = "fleet")]
    fn by_fleet(&self, fleet: &StateFile<impl NativeLedger>, ids: &[DownloadId]) -> CommandResult {
        let engine = fleet.engine(Arc::new(Silent)).map_err(|error| NotDone::from(error).ended(None))?;
        let mut exit = Exit::Done;
        for &id in ids {
            match smol::block_on(self.requeue(&engine, id)) {
                Ok(_) if self.quiet => {}
                Ok(_) => say!("download {id} is queued for the next worker of the fleet that has room"),
                Err(not_done) if self.passes_over(id, &not_done) => exit = Exit::Failed,
                Err(not_done) => return Err(not_done.ended(Some(id))),
            }
        }
        Ok(exit)
    }

    /// Puts a download back to `queued`, if it needs no credentials, which are not kept.
    async fn requeue(&self, engine: &Engine<NativeHost<impl NativeLedger>>, id: DownloadId) -> Result<Row, NotDone> {
        let row = engine.host().ledger.row(id).await?;
        let fits = match self.is_resume() {
            true => row.status == Status::Paused,
            false => matches!(row.status, Status::Failed | Status::Cancelled),
        };
        if fits && !row.new.header_names.is_empty() {
            let names = row.new.header_names.join(", ");
            return Err(Error::CredentialsMissing { names }.into());
        }
        let requeued = match self.is_resume() {
            true => engine.resume(id).await,
            false => engine.retry(id).await,
        };
        requeued.map_err(|error| NotDone::advised(error.into(), |status| self.not_taken_up(id, status)))?;
        Ok(row)
    }

    fn not_taken_up(&self, id: DownloadId, status: Status) -> String {
        match (self.is_resume(), status) {
            (true, Status::Failed | Status::Cancelled) => format!("`regrip retry {id}` takes it up"),
            (true, _) => "only paused downloads can be resumed".to_owned(),
            (false, Status::Paused) => format!("`regrip resume {id}` resumes it"),
            (false, status) => not_retried(id, status),
        }
    }
}

/// Why a download cannot be retried, by its status.
fn not_retried(id: DownloadId, status: Status) -> String {
    match status {
        Status::Completed | Status::ImportQueued | Status::Imported => {
            format!("it is complete; to download it again, `regrip remove {id}`, then `regrip get` its URL")
        }
        _ => format!(
            "only failed and cancelled downloads can be retried; run its `regrip get` again, or cancel it first: regrip cancel {id}"
        ),
    }
}

fn to_their_ends(
    engine: &Engine<NativeHost<impl NativeLedger>>,
    reporter: &Arc<dyn Reporter>,
    rows: &[Row],
) -> CommandResult {
    let signal = drive::first_signal()?;
    let driven = rows.iter().map(|row| engine.drive(row.id));
    let exit = drive::run(engine, &signal, &Workers::new(1), &Cell::new(false), async {
        let ended = join_all(driven).await.into_iter();
        ended.map(|ended| Exit::from(ended.map(drop))).max().unwrap_or_default()
    });
    reporter.end(&RunEnd { exit, files: rows.len(), unusable: 0, to_resume: &to_resume(rows) });
    Ok(exit)
}

/// How to resume after Ctrl-C: the rows are `queued` then, which `get` resumes.
fn to_resume(rows: &[Row]) -> String {
    let [row] = rows else {
        return "run the `regrip get` of each of them again".to_owned();
    };
    let url = row.new.source.url();
    if display_url(url) != url {
        return "run its `regrip get` again".to_owned();
    }
    format!("run regrip get {} -o {}", text::shell_word(url), text::shell_word(&row.new.destination))
}

/// Adds the downloads of a list. What is refused keeps no other one from being added.
fn add_list(server: &Remote, list: &Path, as_json: bool) -> CommandResult {
    let listed = read_list(list).map_err(|text| (Exit::Usage, text))?;
    for line in listed.warnings.iter().chain(listed.unusable.iter().map(|(_, line)| line)) {
        say!("regrip: {line}");
    }
    let (mut wishes, mut refused) = (Vec::new(), listed.unusable.len());
    for typed in &listed.urls {
        match typed.wish() {
            Ok(wish) => wishes.push((typed, wish)),
            Err(why) => {
                refused += 1;
                say!("regrip: {}", typed.error(&why));
            }
        }
    }
    let lines = wishes.iter().map(|(_, wish)| format!("{wish}\n")).collect();
    let reply = smol::block_on(server.add_all(lines)).map_err(|fault| NotDone::from(fault).ended(None))?;
    for error in &reply.errors {
        if let Some((typed, _)) = wishes.get(error.index) {
            say!("regrip: {}", typed.error(&text::plain(&error.message)));
        }
    }
    let unlisted = reply.refused.saturating_sub(reply.errors.len());
    if unlisted > 0 {
        say!("regrip: {unlisted} more were refused");
    }
    let BatchReply { added, known, .. } = reply;
    refused += reply.refused;
    match as_json {
        true => drop(print([json!({ "added": added, "known": known, "refused": refused }).to_string()])),
        false => say!("{added} added, {known} known already, {refused} refused"),
    }
    Ok(if refused == 0 { Exit::Done } else { Exit::Failed })
}

/// Runs `add`.
pub(crate) fn add(args: &AddArgs) -> CommandResult {
    let Backend::Server(server) = Backend::open(&args.place)? else {
        let line = "there is no running server to ask";
        let advice = "name it with --server URL, or by its configuration with --config FILE";
        return Err((Exit::Failed, text::with_advice(line, Some(advice))));
    };
    if let Some(list) = &args.input {
        return add_list(&server, list, args.json);
    }
    let url = args.url.as_deref().unwrap_or_default(); // clap requires one of the two
    let added = server.add(url, args.name.as_deref(), args.checksum.as_deref());
    let (download, known) = smol::block_on(added).map_err(|fault| NotDone::from(fault).ended(None))?;
    if args.json {
        return Ok(print([json!(download).to_string()]));
    }
    let (id, status) = (download.id, download.status.name());
    let path = text::plain(&download.dest_path);
    match known {
        true => say!("download {id} is known already, {status}: {path}"),
        false => say!("download {id} is {status}: {path}"),
    }
    Ok(Exit::Done)
}
