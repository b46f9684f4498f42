//! What a user sees while downloads run: bars on a terminal, plain lines elsewhere, JSON lines for programs.

mod bar;
mod draw_target;
mod journey;
mod json;
mod plain;
mod progress;
mod quiet;
mod speed;

use super::exit::Exit;
use super::get::Target;
use super::output;
use crate::host::Listener;
use regrip_core::{Error, Row};
use std::sync::Arc;

pub(crate) use json::Json;
pub(crate) use plain::{Lines, why};
pub(crate) use progress::Bars;
pub(crate) use quiet::{Quiet, Silent};

/// How it is known that a file from an earlier run is the one that is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum WasDone {
    /// The server was not asked. When the file was completed, in RFC 3339.
    NotAsked { completed_at: Option<String> },
    /// The server was asked and has no other version.
    Unchanged,
}

/// Shows downloads.
pub(crate) trait Reporter: Listener {
    /// A file from an earlier run is there, complete and unchanged, so nothing was fetched.
    fn was_done(&self, row: &Row, how: &WasDone);
    /// A target was refused before it became a row.
    fn refused(&self, target: &Target, error: &Error);
    /// Everything is over; if it was interrupted, `to_go_on` says how to go on: `run …`.
    fn end(&self, exit: Exit, to_go_on: &str);
}

/// The reporter that fits the flags and the terminal.
pub(crate) fn reporter(json: bool, quiet: bool) -> Arc<dyn Reporter> {
    if json {
        Arc::new(Json::default())
    } else if quiet {
        Arc::new(Quiet)
    } else if output::can_draw(&console::Term::stderr()) {
        Arc::new(Bars::new())
    } else {
        Arc::new(Lines::new())
    }
}
