//! SIGHUP reads the configuration again; SIGTERM and Ctrl-C end the server in good order, a second one at once.

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use smol::channel::{Receiver, bounded};
use std::io;
use std::time::Duration;

/// How long the end may take before the process ends all the same.
const END_WITHIN: Duration = Duration::from_millis(9_500);

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
                    // Several at once mean what one means; there is always room for the end.
                    if ask.is_empty() {
                        let _ = ask.try_send(Asked::Reload);
                    }
                } else if ending {
                    tracing::warn!("stopped at once");
                    std::process::exit(130);
                } else {
                    ending = true;
                    // From here on, and not where the end is done: that may hang on a disk.
                    end_in_time();
                    let _ = ask.try_send(Asked::End);
                }
            }
        })?;
    Ok(asked)
}

/// Ends the process after a while, whatever hangs.
fn end_in_time() {
    let wait = || {
        std::thread::sleep(END_WITHIN);
        tracing::error!(
            "something hangs: ended all the same; the next start goes on from what is on the disk"
        );
        std::process::exit(1);
    };
    // Without it the end may take longer.
    let _ = std::thread::Builder::new()
        .name("end".to_owned())
        .spawn(wait);
}
