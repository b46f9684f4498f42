//! `regrip retry`: resumes a failed or cancelled download, in this process or in the server that has it; and `regrip add`.

use super::backend::{Backend, StateFile};
use super::remote::Remote;
use super::{NotDone, print};
use crate::cli::args::{AddArgs, Retry};
use crate::cli::output::{CommandResult, Exit};
use crate::cli::report::{Reporter, reporter};
use crate::cli::{drive, text};
use crate::host::{Listener, NativeHost};
use crate::ledger::NativeLedger;
use crate::workers::Workers;
use regrip_core::record::Row;
use regrip_core::{DownloadId, Engine, Error, Status, display_url};
use serde_json::json;
use std::cell::Cell;
use std::sync::Arc;

/// Runs the command.
pub(crate) fn retry(args: &Retry) -> CommandResult {
    match Backend::open(&args.known.place)? {
        Backend::Server(server) => by_server(&server, args),
        Backend::File(file) => here(&file, args),
    }
}

fn by_server(server: &Remote, args: &Retry) -> CommandResult {
    let id = args.known.id;
    let download = smol::block_on(server.retry(id))
        .map_err(|fault| NotDone::advised(fault, |status| not_retried(id, status)).ended(Some(id)))?;
    if args.json {
        return Ok(print([json!(download).to_string()]));
    }
    if !args.quiet {
        say!("download {id} is resumed; `regrip show {id}` shows its progress");
    }
    Ok(Exit::Done)
}

fn here(file: &StateFile, args: &Retry) -> CommandResult {
    let id = args.known.id;
    if let Some(pid) = file.server() {
        let line = format!("`regrip serve` (process {pid}) is using this state file");
        let advice = format!("ask the server: regrip retry {id} --config FILE");
        return Err((Exit::Failed, text::with_advice(&line, Some(&advice))));
    }
    let reporter = reporter(args.json, args.quiet);
    let engine = file.engine(Arc::clone(&reporter) as Arc<dyn Listener>);
    let requeued = engine.map_err(NotDone::from).and_then(|engine| Ok((smol::block_on(requeue(&engine, id))?, engine)));
    let (row, engine) = requeued.map_err(|not_done| not_done.ended(Some(id)))?;
    to_its_end(&engine, &reporter, &row)
}

/// Puts a download back to `queued`, if it needs no credentials, which are not kept.
async fn requeue(engine: &Engine<NativeHost<impl NativeLedger>>, id: DownloadId) -> Result<Row, NotDone> {
    let row = engine.host().ledger.row(id).await?;
    let retriable = matches!(row.status, Status::Failed | Status::Cancelled);
    if retriable && !row.new.header_names.is_empty() {
        let names = row.new.header_names.join(", ");
        return Err(Error::CredentialsMissing { names }.into());
    }
    let retried = engine.retry(id).await;
    retried.map_err(|error| NotDone::advised(error.into(), |status| not_retried(id, status)))?;
    Ok(row)
}

/// Why a download cannot be retried, by its status.
fn not_retried(id: DownloadId, status: Status) -> String {
    match status {
        Status::Completed | Status::ImportQueued => {
            format!("it is complete; to download it again, `regrip remove {id}`, then `regrip get` its URL")
        }
        _ => format!(
            "only failed and cancelled downloads can be retried; run its `regrip get` again, or cancel it first: regrip cancel {id}"
        ),
    }
}

fn to_its_end(
    engine: &Engine<NativeHost<impl NativeLedger>>,
    reporter: &Arc<dyn Reporter>,
    row: &Row,
) -> CommandResult {
    let signal = drive::first_signal()?;
    let one = drive::one(engine.clone(), row.id);
    let exit = drive::run(engine, &signal, &Workers::new(1), &Cell::new(false), async {
        match one.await {
            Ok(()) => Exit::Done,
            Err(error) => Exit::from(&error),
        }
    });
    reporter.end(exit, &to_resume(row));
    Ok(exit)
}

/// How to resume after Ctrl-C: the row is `queued` then, which `get` resumes.
fn to_resume(row: &Row) -> String {
    let url = row.new.source.url();
    if display_url(url) != url {
        return "run its `regrip get` again".to_owned();
    }
    format!("run regrip get {} -o {}", quoted(url), quoted(&row.new.destination))
}

/// Quoted, so that a shell reads one word.
fn quoted(word: &str) -> String {
    let safe = |byte: u8| byte.is_ascii_alphanumeric() || b"/:._-+,=@%".contains(&byte);
    if !word.is_empty() && word.bytes().all(safe) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', "'\\''"))
}

/// Runs `add`.
pub(crate) fn add(args: &AddArgs) -> CommandResult {
    let Backend::Server(server) = Backend::open(&args.place)? else {
        let line = "there is no running server to ask";
        let advice = "name it with --server URL, or by its configuration with --config FILE";
        return Err((Exit::Failed, text::with_advice(line, Some(advice))));
    };
    let added = server.add(&args.url, args.name.as_deref(), args.checksum.as_deref());
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_quoted_where_a_shell_would_read_more_into_it() {
        let table = [
            ("/films/a.mkv", "/films/a.mkv"),
            ("/films/a film.mkv", "'/films/a film.mkv'"),
            ("it's", "'it'\\''s'"),
            ("$HOME", "'$HOME'"),
            ("", "''"),
        ];
        for (word, shown) in table {
            assert_eq!(quoted(word), shown);
        }
    }
}
