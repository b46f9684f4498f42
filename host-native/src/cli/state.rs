//! Where the state file is.

use super::text;
use crate::ledger::OpenError;
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

/// Why the state file cannot be used, and what to do.
pub(crate) fn unusable(path: &Path, error: &OpenError) -> String {
    let line = format!(
        "the state file {} cannot be used: {}",
        path.display(),
        regrip_core::error::chain(error)
    );
    text::with_advice(&line, Some("name another one with --state"))
}
