//! `regrip share`: serves folders to peers until a signal. SIGHUP reads the key file and the folders again.

use super::args::ShareArgs;
use super::drive::{self, Signal};
use super::output::{CommandResult, Exit, failed};
use super::{state, text};
use crate::serve::{LogFormat, start_log};
use crate::server::{CurrentKeys, Keys, Limits, Server, Threads};
use crate::share::{Census, Share, ShareOptions};
use crate::text_file;
use regrip_core::error::chain;
use std::io::{Write, stdout};

/// Most bytes of a key file that are read: more keys than anybody has peers.
const LARGEST_KEY_FILE: u64 = 1 << 20;

/// Runs the command.
pub(crate) fn main(args: &ShareArgs) -> CommandResult {
    let keys = keys(args).map_err(|text| (Exit::Usage, text))?;
    let keys = CurrentKeys::new(keys);
    let state = state::path(args.state.as_ref()).map_err(|text| (Exit::Unusable, text))?;
    let ledger = state::open_at(&state).map_err(|text| (Exit::Unusable, text))?;
    let signals = drive::signals_with_reload()?;
    let threads = Threads::start().map_err(failed(Exit::Unusable, "cannot start a thread"))?;
    // Listens first: a busy address is found at once, while the folders may take long.
    let at = format!("cannot listen at {}", args.listen);
    let server = Server::bind(args.listen, Limits::default()).map_err(failed(Exit::Usage, &at))?;
    let options = ShareOptions::new(args.dirs.clone());
    options.own_files.add_database(&state);
    if let Some(file) = &args.key_file {
        options.own_files.add(file);
    }
    let share = Share::start(&options, ledger).map_err(|error| (Exit::Usage, chain(&error)))?;
    announce(&share.census(), &server);
    start_log(LogFormat::Text);
    let stopped = async {
        // The channel closes only with the process.
        while let Ok(Signal::Reload) = signals.recv().await {
            reload(args, &keys).await;
            share.look_again();
        }
    };
    let answer = share.router(keys.clone()).answer();
    smol::block_on(server.run(threads.executor(), answer, stopped));
    Ok(Exit::Done)
}

/// Reads the key file again. A wrong one changes nothing.
async fn reload(args: &ShareArgs, keys: &CurrentKeys) {
    let of_now = args.clone();
    // On a thread of its own: the file may be on a disk that hangs.
    match smol::unblock(move || self::keys(&of_now)).await {
        Ok(now) => {
            keys.replace(now);
            say!("regrip: reloaded keys and folders");
        }
        Err(text) => say!("regrip: kept the previous keys: {text}"),
    }
}

/// Keys from the file or the variable. Without any, the address must be a loopback address.
fn keys(args: &ShareArgs) -> Result<Option<Keys>, String> {
    let (place, keys) = match (&args.key_file, &args.key_env) {
        (Some(file), _) => {
            let text = text_file::read(file, LARGEST_KEY_FILE)
                .map_err(|error| format!("the key file cannot be read: {error}"))?;
            ("the key file", Keys::parse(&text))
        }
        (None, Some(name)) => {
            let text = std::env::var(name).map_err(|_| "the environment has no variable of the name in --key-env")?;
            // A single line is the key itself; several are those of a file.
            let keys = match text.trim().contains('\n') {
                true => Keys::parse(&text),
                false => Keys::new([text.as_str()]),
            };
            ("the variable of --key-env", keys)
        }
        (None, None) if args.listen.ip().is_loopback() => return Ok(None),
        (None, None) => {
            let line = format!("{} is not a loopback address, which requires a key", args.listen);
            return Err(text::with_advice(&line, Some("name keys with --key-file or --key-env")));
        }
    };
    keys.map(Some).map_err(|error| format!("{place}: {error}"))
}

/// Prints what is shared and at which address, and what is left out.
fn announce(census: &Census, server: &Server) {
    let files = text::count(u32::try_from(census.files).unwrap_or(u32::MAX), "file");
    let line = format!("sharing {files}, {}, at http://{}", text::bytes(census.bytes), server.address());
    // Nobody reads it: serving goes on.
    let _ = writeln!(stdout(), "{line}").and_then(|()| stdout().flush());
    let left_out = [
        (census.refused_names, "left out: peers refuse such a name", "file"),
        (census.shadowed, "left out: another folder has the same path", "file"),
        (census.unreadable, "left out: not readable", "folder"),
    ];
    for (count, why, thing) in left_out {
        if count > 0 {
            say!("regrip: {} {why}", text::count(u32::try_from(count).unwrap_or(u32::MAX), thing));
        }
    }
    if census.cut_short {
        say!("regrip: the folders have more files, or deeper ones, than can be shared");
    }
}
