//! Where the state file is, and the ledger in it.

use crate::ledger::{OpenError, SqliteLedger};
use std::env;
use std::path::{Path, PathBuf};

/// `--state`, else `regrip/state.db` in `$XDG_STATE_HOME`, else in `~/.local/state`.
///
/// # Errors
/// A sentence, if the environment names no folder for it.
pub(crate) fn path(given: Option<&PathBuf>) -> Result<PathBuf, String> {
    if let Some(path) = given {
        return Ok(path.clone());
    }
    let absolute = |name: &str| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let folder = absolute("XDG_STATE_HOME").or_else(|| absolute("HOME").map(|home| home.join(".local/state")));
    let folder = folder.ok_or("neither XDG_STATE_HOME nor HOME is set; name a state file with --state")?;
    Ok(folder.join("regrip/state.db"))
}

/// The ledger in a state file.
pub(crate) type StateLedger = SqliteLedger;

/// The state file of `get` if its usual place cannot be used. Hidden, so that it is never shared.
const BESIDE_NAME: &str = ".regrip-state.db";

/// An open state file.
pub(crate) struct Opened {
    pub(crate) path: PathBuf,
    pub(crate) ledger: StateLedger,
    /// Why it is not in its usual folder, and what to do.
    pub(crate) warning: Option<String>,
}

/// Opens the state file that was `given`, else the usual one. If there is no usual place (no home, or one that cannot be
/// written) the state file is in `folder`, beside what is downloaded, so that a later run in that folder resumes.
///
/// # Errors
/// Why no state file can be used, and what to do.
pub(crate) fn open(given: Option<&PathBuf>, folder: &Path) -> Result<Opened, String> {
    let usual = path(given).map(|path| (StateLedger::open(&path), path));
    let why = match usual {
        Ok((Ok(ledger), path)) => {
            return Ok(Opened { path, ledger, warning: None });
        }
        Ok((Err(error), path)) if given.is_some() || !error.is_of_its_place() => {
            return Err(unusable(&path, &error));
        }
        Ok((Err(error), _)) => regrip_core::error::chain(&error),
        Err(why) => why,
    };
    let path = folder.join(BESIDE_NAME);
    let ledger = StateLedger::open(&path).map_err(|error| format!("{why}\n{}", unusable(&path, &error)))?;
    let warning = Some(format!(
        "warning: {why}\n  the state file of this run is {}; name another one with --state",
        path.display()
    ));
    Ok(Opened { path, ledger, warning })
}

/// Opens the state file that [`open`] would open, if it exists and can be used.
pub(crate) fn existing(given: Option<&PathBuf>, folder: &Path) -> Option<StateLedger> {
    let files = [path(given).ok(), given.is_none().then(|| folder.join(BESIDE_NAME))];
    let file = files.into_iter().flatten().find(|file| file.exists())?;
    StateLedger::open(&file).ok()
}

/// Opens the ledger in the state file at `path`, which is made if it is missing.
///
/// # Errors
/// Why the state file cannot be used, and what to do.
pub(crate) fn open_at(path: &Path) -> Result<StateLedger, String> {
    StateLedger::open(path).map_err(|error| unusable(path, &error))
}

fn unusable(path: &Path, error: &OpenError) -> String {
    let why = regrip_core::error::chain(error);
    format!("the state file {} cannot be used: {why}\n  name another one with --state", path.display())
}
