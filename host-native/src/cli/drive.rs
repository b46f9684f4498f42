//! Drives downloads while signals and other processes are listened to.
//!
//! A state file is shared. When another process cancels or removes a download that is driven here, it does so in the
//! ledger: the row is `cancelled`, or gone. So this process looks twice a second whether anybody else has written
//! (`PRAGMA data_version`, which reads no row), and only then at the rows it drives ([`Engine::heed`]). That makes the end
//! prompt; that of a cancel and a commit that meet only one counts, the ledger sees to.

use crate::host::NativeHost;
use crate::ledger::NativeLedger;
use crate::store::FileStamp;
use crate::workers::Workers;
use regrip_core::{DownloadId, Engine, Error};
use smol::Timer;
use smol::channel::Receiver;
use smol::future::FutureExt;
use std::cell::Cell;
use std::future::pending;
use std::path::PathBuf;
use std::time::Duration;

/// How often changes by others are looked for.
const LOOK: Duration = Duration::from_millis(500);

/// How often the end of the process is told to whoever has only begun.
const TELL_EVERY: Duration = Duration::from_millis(20);

/// Runs `work`, in which the engine's downloads are driven, to its end. The first signal sets `ending` and ends them early.
pub(crate) fn run<T>(
    engine: &Engine<NativeHost<impl NativeLedger>>,
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
    workers.run(work.or(end_on_signal).or(heed_others(engine)))
}

/// Never ends by itself.
async fn heed_others<T>(engine: &Engine<NativeHost<impl NativeLedger>>) -> T {
    let mut seen = None;
    loop {
        // A look that fails says nothing; if the ledger is broken the drives will tell.
        if let Ok(version) = engine.host().ledger.version().await
            && seen != Some(version)
            && engine.heed().await.is_ok()
        {
            seen = Some(version);
        }
        Timer::after(LOOK).await;
    }
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
