//! Where the state file is, and the ledger in it.

use super::text;
use crate::ledger::SqliteLedger;
use std::env;
use std::path::{Path, PathBuf};

/// `--state`, else `regrip/state.db` in `$XDG_STATE_HOME`, else in `~/.local/state`.
///
/// # Errors
/// A sentence, where there is no home to put it in.
pub(crate) fn path(given: Option<&PathBuf>) -> Result<PathBuf, String> {
    if let Some(path) = given {
        return Ok(path.clone());
    }
    let absolute = |name: &str| {
        env::var_os(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    let folder = absolute("XDG_STATE_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".local/state")));
    let folder = folder.ok_or(
        "neither XDG_STATE_HOME nor HOME says where state belongs; name a file with --state",
    )?;
    Ok(folder.join("regrip/state.db"))
}

/// The ledger in a state file.
pub(crate) type StateLedger = SqliteLedger;

/// Opens the ledger in the state file at `path`, which is made if it is missing.
///
/// # Errors
/// Why the state file cannot be used, and what to do.
pub(crate) fn open(path: &Path) -> Result<StateLedger, String> {
    StateLedger::open(path).map_err(|error| {
        let line = format!(
            "the state file {} cannot be used: {}",
            path.display(),
            regrip_core::error::chain(&error)
        );
        text::with_advice(&line, Some("name another one with --state"))
    })
}
