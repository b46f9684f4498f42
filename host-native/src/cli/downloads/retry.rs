//! `regrip retry`: takes up a failed or cancelled download, and drives it to its end in this process; where a server has it,
//! the server does.

use super::args::Retry;
use super::backend::{self, Kept};
use super::remote::Remote;
use super::state_file::StateFile;
use super::{Told, advised, print, tell};
use crate::cli::report::{Reporter, reporter};
use crate::cli::{Exit, drive, signals};
use crate::host::{Listener, NativeHost};
use crate::ledger::NativeLedger;
use crate::workers::Workers;
use regrip_core::record::Row;
use regrip_core::{DownloadId, Engine, Error, Status, display_url};
use serde_json::json;
use std::cell::Cell;
use std::path::PathBuf;
use std::sync::Arc;

/// Runs the command.
pub(crate) fn retry(args: &Retry) -> Exit {
    match backend::open(&args.place) {
        Ok(Kept::Server(server)) => by_server(&server, args),
        Ok(Kept::File(file)) => here(&file, args),
        Err((exit, text)) => {
            say!("regrip: {text}");
            exit
        }
    }
}

fn by_server(server: &Remote, args: &Retry) -> Exit {
    let id = args.id;
    let retried = smol::block_on(server.retry(id));
    let told = |fault| advised(fault, &|status| Some(not_retried(id, status)));
    match retried.map_err(told) {
        Ok(download) if args.json => print([json!(download).to_string()]),
        Ok(_) => {
            if !args.quiet {
                say!("download {id} is taken up again; `regrip show {id}` says how it goes");
            }
            Exit::Done
        }
        Err(told) => {
            tell(&told, Some(id));
            told.exit()
        }
    }
}

fn here(place: &StateFile, args: &Retry) -> Exit {
    if let Some(pid) = place.server() {
        say!(
            "regrip: `regrip serve` (process {pid}) is at work with this state file, and would not know of it\n  \
             ask it: regrip retry {} --config FILE",
            args.id
        );
        return Exit::Failed;
    }
    let reporter = reporter(args.json, args.quiet);
    let taken = place
        .engine(Arc::clone(&reporter) as Arc<dyn Listener>)
        .map_err(Told::from)
        .and_then(|engine| Ok((smol::block_on(take_up(&engine, args.id))?, engine)));
    let (row, engine) = match taken {
        Ok(taken) => taken,
        Err(told) => {
            tell(&told, Some(args.id));
            return told.exit();
        }
    };
    to_its_end(&engine, &reporter, &row)
}

/// Puts it back to `queued`, if it can be driven from what is kept.
async fn take_up(
    engine: &Engine<NativeHost<impl NativeLedger>>,
    id: DownloadId,
) -> Result<Row, Told> {
    let row = engine.host().ledger.row(id).await?;
    let retriable = matches!(row.status, Status::Failed | Status::Cancelled);
    if retriable && !row.new.header_names.is_empty() {
        let names = row.new.header_names.join(", ");
        return Err(Error::CredentialsMissing { names }.into());
    }
    let refused = |error: Error| advised(error.into(), &|status| Some(not_retried(id, status)));
    engine.retry(id).await.map_err(refused)?;
    Ok(row)
}

/// Why a download cannot be retried, by its status.
fn not_retried(id: DownloadId, status: Status) -> String {
    match status {
        Status::Completed | Status::ImportQueued => {
            format!("it is whole; to fetch it anew, `regrip remove {id}` and then `regrip get` it")
        }
        _ => format!(
            "only a failed or cancelled one is retried; its `regrip get` again goes on, or cancel it first: regrip cancel {id}"
        ),
    }
}

fn to_its_end(
    engine: &Engine<NativeHost<impl NativeLedger>>,
    reporter: &Arc<dyn Reporter>,
    row: &Row,
) -> Exit {
    let signal = match signals::first() {
        Ok(signal) => signal,
        Err(error) => {
            say!("regrip: cannot listen for Ctrl-C: {error}");
            return Exit::Unusable;
        }
    };
    let one = drive::one(engine.clone(), row.id, PathBuf::from(&row.new.destination));
    let exit = drive::run(
        engine,
        &signal,
        &Workers::new(1),
        &Cell::new(false),
        async {
            match one.await {
                Ok(()) => Exit::Done,
                Err(error) => Exit::from(&error),
            }
        },
    );
    reporter.end(exit, &go_on(row));
    exit
}

/// How to go on after Ctrl-C: the row is `queued` then, which `get` takes up.
fn go_on(row: &Row) -> String {
    let url = row.new.source.url();
    if display_url(url) != url {
        return "run the `regrip get` that began it again".to_owned();
    }
    format!(
        "run regrip get {} -o {}",
        quoted(url),
        quoted(&row.new.destination)
    )
}

/// As a shell takes it for one word.
fn quoted(word: &str) -> String {
    let safe = |byte: u8| byte.is_ascii_alphanumeric() || b"/:._-+,=@%".contains(&byte);
    if !word.is_empty() && word.bytes().all(safe) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', "'\\''"))
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
