//! Ctrl-C and SIGTERM: the first ends the work in good order, the second ends the process at once. SIGHUP ends it too, except
//! for a command that reads its keys again.

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGXFSZ};
use signal_hook::iterator::Signals;
use smol::channel::{Receiver, bounded};
use std::io;
use std::sync::Arc;

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Signal {
    /// Read again what can change.
    Reload,
    /// End.
    End,
}

/// Listens, on a thread of its own; the first signal comes through the channel.
///
/// # Errors
/// The system refused the handlers.
pub(crate) fn first() -> io::Result<Receiver<()>> {
    listen(Signals::new([SIGINT, SIGTERM])?, |_| ())
}

/// As [`first`], with SIGHUP as a reload.
///
/// # Errors
/// The system refused the handlers.
pub(crate) fn with_reload() -> io::Result<Receiver<Signal>> {
    listen(Signals::new([SIGHUP, SIGINT, SIGTERM])?, |signal| signal)
}

/// Makes a write beyond the largest file that this process may write (`ulimit -f`) an error, EFBIG, instead of the end of the
/// process.
pub(crate) fn survive_too_large_files() {
    // Without a handler such a write kills the process, as it always does.
    let _ = signal_hook::flag::register(SIGXFSZ, Arc::default());
}

fn listen<T: Send + 'static>(
    mut signals: Signals,
    meaning: fn(Signal) -> T,
) -> io::Result<Receiver<T>> {
    // Room for a reload that waits and for the end.
    let (send, sent) = bounded(2);
    std::thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || {
            let mut ending = false;
            for signal in signals.forever() {
                if signal == SIGHUP {
                    // Several at once mean what one means.
                    if send.is_empty() {
                        let _ = send.try_send(meaning(Signal::Reload));
                    }
                } else if ending {
                    // Below the bars that may be there.
                    say!("\nregrip: stopped at once");
                    std::process::exit(130);
                } else {
                    ending = true;
                    // Nobody listens any more: everything is over anyway.
                    let _ = send.try_send(meaning(Signal::End));
                }
            }
        })?;
    Ok(sent)
}
