//! `regrip retry`: takes up a failed or cancelled download, and drives it to its end in this process.

use super::args::Retry;
use super::state_file::StateFile;
use super::{Told, advised, tell};
use crate::cli::report::{Reporter, reporter};
use crate::cli::{Exit, drive, signals};
use crate::host::{Listener, NativeHost};
use crate::workers::Workers;
use regrip_core::io::Ledger;
use regrip_core::record::Row;
use regrip_core::{DownloadId, Engine, Error, Status, display_url};
use std::cell::Cell;
use std::path::PathBuf;
use std::sync::Arc;

/// Runs the command.
pub(crate) fn retry(args: &Retry) -> Exit {
    let place = match StateFile::open(&args.place) {
        Ok(place) => place,
        Err((exit, text)) => {
            say!("regrip: {text}");
            return exit;
        }
    };
    let reporter = reporter(args.json, args.quiet);
    let taken = place
        .engine(Arc::clone(&reporter) as Arc<dyn Listener>)
        .map_err(Told::from)
        .and_then(|engine| Ok((smol::block_on(take_up(&engine, args.id))?, engine)));
    let (row, engine) = match taken {
        Ok(taken) => taken,
        Err(told) => {
            tell(&told, Some(args.id));
            return Exit::from(&told.error);
        }
    };
    to_its_end(&engine, &reporter, &row)
}

/// Puts it back to `queued`, if it can be driven from what is kept.
async fn take_up(engine: &Engine<NativeHost>, id: DownloadId) -> Result<Row, Told> {
    let row = engine.host().ledger.row(id).await?;
    let retriable = matches!(row.status, Status::Failed | Status::Cancelled);
    if retriable && !row.new.header_names.is_empty() {
        let names = row.new.header_names.join(", ");
        return Err(Error::CredentialsMissing { names }.into());
    }
    let refused = |error| advised(error, &|status| Some(not_retried(id, status)));
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

fn to_its_end(engine: &Engine<NativeHost>, reporter: &Arc<dyn Reporter>, row: &Row) -> Exit {
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
