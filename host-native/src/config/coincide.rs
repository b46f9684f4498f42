//! Which folders may not be the same one: a peer chooses what its files are called, so where downloads go nothing of
//! regrip's own may be.

use super::diagnostics::Notes;
use super::model::Config;
use super::value::Node;
use crate::store::is_same_folder;
use std::path::{Path, PathBuf};

/// A folder that has files of regrip's own, and what put them there.
pub(super) struct OwnFolder {
    /// As the user knows it: `regrip.dataDir`, `the configuration file`.
    pub(super) setting: String,
    pub(super) folder: PathBuf,
}

/// The folders that a file of regrip's own is in, by its name and, if it is a link, by what it leads to.
pub(super) fn folders_of(setting: &str, file: &Path) -> Vec<OwnFolder> {
    let target = file.canonicalize().ok();
    let files = [Some(file), target.as_deref()];
    let folders = files.into_iter().flatten().filter_map(Path::parent);
    let own = folders.map(|folder| OwnFolder {
        setting: setting.to_owned(),
        folder: folder.to_owned(),
    });
    own.collect()
}

/// Notes the folders that coincide with the one that downloads go to.
pub(super) fn check(completed: &Node<'_>, path: &Path, own: &[OwnFolder], notes: &mut Notes) {
    let found = own
        .iter()
        .find(|own| is_same_folder(&own.folder, path))
        .map(|own| clash(path, &own.setting));
    if let Some(what) = found {
        notes.error(completed.at, &completed.key, what);
    }
}

/// What is wrong if the data folder, configured or by default, is the one that downloads go to.
pub fn data_folder_clash(config: &Config, data_folder: &Path) -> Option<String> {
    let completed = &config.downloads.as_ref()?.completed;
    is_same_folder(completed, data_folder).then(|| {
        let what = clash(completed, "regrip.dataDir");
        format!("downloads.completedPath: {what}")
    })
}

fn clash(completed: &Path, setting: &str) -> String {
    format!(
        "found {completed:?}, which is also the folder of {setting}: a download could replace regrip's own files there; \
         name another folder for one of the two"
    )
}
