//! SIGHUP reads the configuration again; SIGTERM and Ctrl-C end the server in good order, a second one at once.

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use smol::channel::{Receiver, bounded};
use std::io;

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// Read the configuration again.
    Reload,
    /// End.
    End,
}

/// Listens, on a thread of its own.
///
/// # Errors
/// The system refused the handlers.
pub(super) fn listen() -> io::Result<Receiver<Asked>> {
    let mut signals = Signals::new([SIGHUP, SIGINT, SIGTERM])?;
    let (ask, asked) = bounded(4);
    std::thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || {
            let mut ending = false;
            for signal in signals.forever() {
                if signal == SIGHUP {
                    // Several at once mean what one means.
                    let _ = ask.try_send(Asked::Reload);
                } else if ending {
                    tracing::warn!("stopped at once");
                    std::process::exit(130);
                } else {
                    ending = true;
                    let _ = ask.send_blocking(Asked::End);
                }
            }
        })?;
    Ok(asked)
}
