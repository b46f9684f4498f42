//! Ctrl-C and SIGTERM: the first ends the downloads with their parts synced, the second ends the process at once.

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use smol::channel::{Receiver, bounded};
use std::io;

/// Listens, on a thread of its own; the first signal comes through the channel.
///
/// # Errors
/// The system refused the handlers.
pub(crate) fn first() -> io::Result<Receiver<()>> {
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    let (first, heard) = bounded(1);
    std::thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || {
            let mut signals = signals.forever();
            if signals.next().is_some() {
                // Nobody listens any more: everything is over anyway.
                let _ = first.try_send(());
            }
            if signals.next().is_some() {
                // Below the bars that may be there.
                say!("\nregrip: stopped at once");
                std::process::exit(130);
            }
        })?;
    Ok(heard)
}
