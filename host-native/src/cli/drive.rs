//! Drives downloads while signals and other processes are listened to.
//!
//! A state file is shared. When another process cancels or removes a download that is driven here, it does so in the
//! ledger: the row is `cancelled`, or gone. [`Engine::follow_changes`] makes that end prompt.

use crate::host::NativeHost;
use crate::ledger::NativeLedger;
use crate::store::FileStamp;
use crate::workers::Workers;
use regrip_core::host::Host;
use regrip_core::{DownloadId, Engine, Error};
use smol::Timer;
use smol::channel::Receiver;
use smol::future::FutureExt;
use std::cell::Cell;
use std::future::pending;
use std::path::PathBuf;
use std::time::Duration;

/// How often the end of the process is told to whoever has only begun.
const TELL_EVERY: Duration = Duration::from_millis(20);

/// Runs `work`, in which the engine's downloads are driven, to its end. The first signal sets `ending` and ends them early.
pub(crate) fn run<T, H: Host>(
    engine: &Engine<H>,
    signal: &Receiver<()>,
    workers: &Workers,
    ending: &Cell<bool>,
    work: impl Future<Output = T>,
) -> T {
    let end_on_signal = async {
        if signal.recv().await.is_err() {
            // No signal ever: the channel is closed only at the end.
            pending().await
        }
        ending.set(true);
        loop {
            engine.end();
            Timer::after(TELL_EVERY).await;
        }
    };
    workers.run(work.or(end_on_signal).or(engine.follow_changes()))
}

/// Drives one download, and notes its file as it is left.
///
/// # Errors
/// As [`Engine::drive`].
pub(crate) async fn one(
    engine: Engine<NativeHost<impl NativeLedger>>,
    id: DownloadId,
    path: PathBuf,
) -> Result<(), Error> {
    engine.drive(id).await?;
    // So that the next run knows the file is as it was left. Without it that run reads the file instead.
    if let Ok(Some(stamp)) = FileStamp::of(&path) {
        let _ = engine.host().ledger.stamp(id, stamp).await; // the file is whole all the same
    }
    Ok(())
}
