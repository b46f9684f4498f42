//! Errors, and nothing else.

use super::{Reporter, WasDone, plain};
use crate::cli::exit::Exit;
use crate::cli::get::Target;
use crate::host::Listener;
use regrip_core::{Error, Event, Row, What};

/// Says nothing but errors.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Quiet;

impl Listener for Quiet {
    fn hear(&self, event: &Event<'_>) {
        if let What::Failed(summary) = &event.what {
            say!("{}", plain::failed(event.path, summary));
        }
    }
}

impl Reporter for Quiet {
    fn was_done(&self, _row: &Row, _how: &WasDone) {}
    fn refused(&self, target: &Target, error: &Error) {
        say!("{}", plain::refused(target, error));
    }
    fn end(&self, _exit: Exit, _to_go_on: &str) {}
}

/// Hears what happens, and says nothing at all.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Silent;

impl Listener for Silent {
    fn hear(&self, _event: &Event<'_>) {}
}
