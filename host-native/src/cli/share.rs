//! `regrip share`: serves folders to peers until a signal. SIGHUP reads the key file and the folders again.

use super::drive::{self, Signal};
use super::output::{CommandResult, Exit, failed};
use super::{state, text};
use crate::serve::{LogFormat, start_log};
use crate::server::{CurrentKeys, Keys, Limits, Server, Threads};
use crate::share::{Census, Share, ShareOptions};
use crate::text_file;
use regrip_core::error::chain;
use std::io::{Write, stdout};
use std::net::SocketAddr;
use std::path::PathBuf;

/// Most bytes of a key file that are read: more keys than anybody has peers.
const LARGEST_KEY_FILE: u64 = 1 << 20;

/// Arguments of `share`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Every regular file in the folders is shared, at any depth, except links, hidden files, partial files
(.part, .!qB, .crdownload, files with a .aria2 file beside them, ...), files that accompany a film
(subtitles, pictures, .nfo), and regrip's own files (the database, the key file). Ids and episodes are
read from names as Radarr and Sonarr write them: `Film (2020) {tmdb-123}`, `Show S01E02`.

SIGTERM and Ctrl-C stop the server within 10 s, with exit code 0; a second signal stops it at once.
SIGHUP reloads the key file and the folders; a wrong key file changes nothing.

Examples:
  regrip share /films
  regrip share /films /series --listen 0.0.0.0:5226 --key-file keys")]
pub(crate) struct ShareArgs {
    /// The folders to share
    #[arg(value_name = "DIR", required = true)]
    pub dirs: Vec<PathBuf>,

    /// Address to listen on; without a key it must be a loopback address
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:5226")]
    pub listen: SocketAddr,

    /// A file with the keys that peers send in X-Api-Key, one per line and peer
    #[arg(long, value_name = "FILE", conflicts_with = "key_env")]
    pub key_file: Option<PathBuf>,

    /// The environment variable with the key, or several, one per line
    #[arg(long, value_name = "NAME")]
    pub key_env: Option<String>,

    /// The database of SHA-256 digests [default: regrip/state.db in $XDG_STATE_HOME or ~/.local/state]
    #[arg(long, value_name = "FILE")]
    pub state: Option<PathBuf>,
}

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
