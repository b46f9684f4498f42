//! `regrip share`: folders for peers, until a signal. SIGHUP has the key file read and the folders looked through again.

use super::args::Share as Args;
use super::signals::Signal;
use super::{Exit, signals, state, text};
use crate::ledger::SqliteLedger;
use crate::server::{Access, Keys, Limits, ReloadableAccess, Server, Threads};
use crate::share::{Census, Share, ShareOptions};
use regrip_core::error::chain;
use rustix::fs::OFlags;
use std::error::Error;
use std::fs::OpenOptions;
use std::io::{self, Read, Write, stdout};
use std::os::unix::fs::OpenOptionsExt;
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
    let access = access(args).map_err(|text| (Exit::Usage, text))?;
    let access = ReloadableAccess::new(access);
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
    let signals = signals::with_reload().map_err(unusable("cannot listen for Ctrl-C"))?;
    let threads = Threads::start().map_err(unusable("cannot start a thread"))?;
    // Listens first: whether the address is free is known at once, and how long the folders take is not.
    let server = Server::bind(args.listen, Limits::default()).map_err(|error| {
        (
            Exit::Usage,
            format!("cannot listen at {}: {error}", args.listen),
        )
    })?;
    let mut options = ShareOptions::new(args.dirs.clone());
    options.own_files = [state].into_iter().chain(args.key_file.clone()).collect();
    let share = Share::start(&options, ledger).map_err(|error| (Exit::Usage, chain(&error)))?;
    announce(&share.census(), &server);
    let stopped = async {
        // The channel closes only with the process.
        while let Ok(Signal::Reload) = signals.recv().await {
            reload(args, &access).await;
            share.look_again();
        }
    };
    let answer = share.router(access.clone()).answer();
    threads.run(server.run(threads.executor(), answer, stopped));
    Ok(())
}

/// Puts the keys in force that the key file has now. One that is wrong changes nothing.
async fn reload(args: &Args, access: &ReloadableAccess) {
    let of_now = args.clone();
    // On a thread of its own: the file may be on a disk that hangs.
    match smol::unblock(move || self::access(&of_now)).await {
        Ok(now) => {
            access.replace(now);
            say!("regrip: keys and folders are read again");
        }
        Err(text) => say!("regrip: the keys before stay in force: {text}"),
    }
}

fn unusable<E: Error>(what: &str) -> impl FnOnce(E) -> (Exit, String) {
    move |error| (Exit::Unusable, format!("{what}: {error}"))
}

/// Keys from the file or the variable; without any, only this machine is served, and so only it may be listened to.
fn access(args: &Args) -> Result<Access, String> {
    let (place, text) = match (&args.key_file, &args.key_env) {
        (Some(file), _) => {
            let place = format!("the key file {}", file.display());
            let text = read(file);
            (
                place.clone(),
                text.map_err(|error| format!("{place} cannot be read: {error}"))?,
            )
        }
        (None, Some(name)) => {
            let text = std::env::var(name);
            (
                name.clone(),
                text.map_err(|_| format!("the environment variable {name} is not set"))?,
            )
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
    let keys = Keys::parse(&text);
    keys.map(Access::Keys)
        .map_err(|error| format!("{place}: {error}"))
}

/// The text of a key file. Not of a pipe: opening one waits until somebody writes into it, and reads what it has once.
fn read(file: &Path) -> io::Result<String> {
    let flags = OFlags::NONBLOCK.bits().cast_signed();
    let open = OpenOptions::new()
        .read(true)
        .custom_flags(flags)
        .open(file)?;
    if !open.metadata()?.is_file() {
        let what = "it is no regular file; give the key by --key-env";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, what));
    }
    let mut text = String::new();
    open.take(LARGEST_KEY_FILE).read_to_string(&mut text)?;
    Ok(text)
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
