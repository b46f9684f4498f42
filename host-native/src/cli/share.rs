//! `regrip share`: folders for peers, until a signal.

use super::args::Share as Args;
use super::{Exit, signals, state, text};
use crate::ledger::SqliteLedger;
use crate::serve::{LogFormat, start_log};
use crate::server::{Access, Keys, Limits, Server, Threads};
use crate::share::{Census, Share, ShareOptions};
use regrip_core::error::chain;
use std::error::Error;
use std::io::{Write, stdout};

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
    let access = access(args).map_err(|text| (Exit::Usage, text))?;
    let state = state::path(args.state.as_ref()).map_err(|text| (Exit::Unusable, text))?;
    let ledger = SqliteLedger::open(&state).map_err(|error| {
        let line = format!(
            "the state file {} cannot be used: {}",
            state.display(),
            chain(&error)
        );
        (
            Exit::Unusable,
            text::with_advice(&line, Some("name another one with --state")),
        )
    })?;
    let stop = signals::first().map_err(unusable("cannot listen for Ctrl-C"))?;
    let threads = Threads::start().map_err(unusable("cannot start a thread"))?;
    // Listens first: whether the address is free is known at once, and how long the folders take is not.
    let server = Server::bind(args.listen, Limits::default()).map_err(|error| {
        (
            Exit::Usage,
            format!("cannot listen at {}: {error}", args.listen),
        )
    })?;
    let share = Share::start(&ShareOptions::new(args.dirs.clone()), ledger)
        .map_err(|error| (Exit::Usage, chain(&error)))?;
    announce(&share.census(), &server);
    start_log(LogFormat::Text);
    let stopped = async {
        // The channel closes only with the process.
        let _ = stop.recv().await;
    };
    threads.run(server.run(threads.executor(), share.router(access).answer(), stopped));
    Ok(())
}

fn unusable<E: Error>(what: &str) -> impl FnOnce(E) -> (Exit, String) {
    move |error| (Exit::Unusable, format!("{what}: {error}"))
}

/// Keys from the file or the variable; without any, only this machine is served, and so only it may be listened to.
fn access(args: &Args) -> Result<Access, String> {
    let (place, keys) = match (&args.key_file, &args.key_env) {
        (Some(file), _) => {
            let text = std::fs::read_to_string(file)
                .map_err(|error| format!("the key file cannot be read: {error}"))?;
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
        (None, None) if args.listen.ip().is_loopback() => return Ok(Access::Loopback),
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
    keys.map(Access::Keys)
        .map_err(|error| format!("{place}: {error}"))
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
