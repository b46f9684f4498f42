//! What a user sees while downloads run: bars on a terminal, plain lines elsewhere, JSON lines for programs.

mod bars;
mod json;
mod lines;
mod quiet;

use super::exit::Exit;
use super::get::Target;
use crate::host::Listener;
use regrip_core::{Error, Row};
use std::io::{IsTerminal, stderr};
use std::sync::Arc;

pub(crate) use bars::Bars;
pub(crate) use json::Json;
pub(crate) use lines::Lines;
pub(crate) use quiet::Quiet;

/// Shows downloads.
pub(crate) trait Reporter: Listener {
    /// A file was there, whole and unchanged, so nothing was fetched.
    fn was_done(&self, row: &Row);
    /// A target was refused before it became a row.
    fn refused(&self, target: &Target, error: &Error);
    /// Everything is over.
    fn end(&self, exit: Exit);
}

/// The reporter that fits the flags and the terminal.
pub(crate) fn reporter(json: bool, quiet: bool) -> Arc<dyn Reporter> {
    let dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
    if json {
        Arc::new(Json::default())
    } else if quiet {
        Arc::new(Quiet)
    } else if stderr().is_terminal() && !dumb {
        Arc::new(Bars::default())
    } else {
        Arc::new(Lines)
    }
}
