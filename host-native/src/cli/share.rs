//! `regrip share`: folders for peers, until a signal. SIGHUP has the key file read and the folders looked through again.

use super::args::Share as Args;
use super::signals::Signal;
use super::{Exit, signals, state, text};
use crate::config::text_file;
use crate::serve::{LogFormat, start_log};
use crate::server::{CurrentKeys, Keys, Limits, Server, Threads};
use crate::share::{Census, Share, ShareOptions};
use regrip_core::error::chain;
use std::error::Error;
use std::io::{self, Write, stdout};
use std::path::Path;

/// Most bytes of a key file that are read: more keys than anybody has peers.
const LARGEST_KEY_FILE: u64 = 1 << 20;

/// Runs the command.
pub(crate) fn main(args: &Args) -> Exit {
    match run(args) {
        Ok(()) => Exit::Done,
        Err((exit, text)) => {
            say!("regrip: {text}");
            exit
        }
    }
}

fn run(args: &Args) -> Result<(), (Exit, String)> {
    let keys = keys(args).map_err(|text| (Exit::Usage, text))?;
    let keys = CurrentKeys::new(keys);
    let state = state::path(args.state.as_ref()).map_err(|text| (Exit::Unusable, text))?;
    let ledger = state::open_at(&state).map_err(|text| (Exit::Unusable, text))?;
    let signals = signals::with_reload().map_err(unusable("cannot listen for Ctrl-C"))?;
    let threads = Threads::start().map_err(unusable("cannot start a thread"))?;
    // Listens first: whether the address is free is known at once, and how long the folders take is not.
    let server = Server::bind(args.listen, Limits::default()).map_err(|error| {
        (
            Exit::Usage,
            format!("cannot listen at {}: {error}", args.listen),
        )
    })?;
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
    threads.run(server.run(threads.executor(), answer, stopped));
    Ok(())
}

/// Puts the keys in force that the key file has now. One that is wrong changes nothing.
async fn reload(args: &Args, keys: &CurrentKeys) {
    let of_now = args.clone();
    // On a thread of its own: the file may be on a disk that hangs.
    match smol::unblock(move || self::keys(&of_now)).await {
        Ok(now) => {
            keys.replace(now);
            say!("regrip: keys and folders are read again");
        }
        Err(text) => say!("regrip: the keys before stay in force: {text}"),
    }
}

fn unusable<E: Error>(what: &str) -> impl FnOnce(E) -> (Exit, String) {
    move |error| (Exit::Unusable, format!("{what}: {error}"))
}

/// Keys from the file or the variable; without any, only this machine is served, and so only it may be listened to.
fn keys(args: &Args) -> Result<Option<Keys>, String> {
    let (place, keys) = match (&args.key_file, &args.key_env) {
        (Some(file), _) => {
            let text =
                read(file).map_err(|error| format!("the key file cannot be read: {error}"))?;
            ("the key file", Keys::parse(&text))
        }
        (None, Some(name)) => {
            let text = std::env::var(name)
                .map_err(|_| "the environment has no variable of the name in --key-env")?;
            // A single line is the key itself; several are those of a file.
            let keys = match text.trim().contains('\n') {
                true => Keys::parse(&text),
                false => Keys::new([text.as_str()]),
            };
            ("the variable of --key-env", keys)
        }
        (None, None) if args.listen.ip().is_loopback() => return Ok(None),
        (None, None) => {
            let line = format!(
                "without a key only loopback is served, and {} is not",
                args.listen
            );
            return Err(text::with_advice(
                &line,
                Some("name keys with --key-file or --key-env"),
            ));
        }
    };
    keys.map(Some).map_err(|error| format!("{place}: {error}"))
}

fn read(file: &Path) -> io::Result<String> {
    let bytes = text_file::read(file, LARGEST_KEY_FILE)?;
    String::from_utf8(bytes).map_err(|_| io::Error::other("it is not UTF-8"))
}

/// One line for what is shared and where, and one for each thing left out.
fn announce(census: &Census, server: &Server) {
    let files = text::count(u32::try_from(census.files).unwrap_or(u32::MAX), "file");
    let line = format!(
        "sharing {files}, {}, at http://{}",
        text::bytes(census.bytes),
        server.address()
    );
    // Nobody reads it: serving goes on.
    let _ = writeln!(stdout(), "{line}").and_then(|()| stdout().flush());
    let left_out = [
        (
            census.refused_names,
            "left out: no peer takes such a name",
            "file",
        ),
        (
            census.shadowed,
            "left out: another folder has the same path",
            "file",
        ),
        (census.unreadable, "left out: not readable", "folder"),
    ];
    for (count, why, thing) in left_out {
        if count > 0 {
            say!(
                "regrip: {} {why}",
                text::count(u32::try_from(count).unwrap_or(u32::MAX), thing)
            );
        }
    }
    if census.cut_short {
        say!("regrip: there is more in the folders than is shared: too many files, or too deep");
    }
}
