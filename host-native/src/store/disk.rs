//! The part store of the native host.

use super::failure::disk;
use super::folders::Folders;
use super::lock::{self, file_id};
use super::own_files::OwnFiles;
use super::part::DiskPart;
use super::stamp::is_absent;
use super::system::System;
use super::{commit, epoch};
use regrip_core::Error;
use regrip_core::store::Committing;
use regrip_core::store::{Committed, Found, OpenPart, PartStore, Replace};
use std::fs::Metadata;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Keeps part files on disk.
#[derive(Clone, Debug)]
pub struct DiskStore {
    boot_id: Arc<str>,
    system: System,
    folders: Arc<Folders>,
    own: OwnFiles,
    replaces_delivered_only: Arc<AtomicBool>,
}

impl DiskStore {
    /// A store on this machine.
    pub fn new() -> Self {
        DiskStore::with_boot_id(epoch::boot_id())
    }

    /// A store that takes the machine to be in its boot `boot_id`: with another one a test has a reboot.
    pub fn with_boot_id(boot_id: impl Into<Arc<str>>) -> Self {
        DiskStore {
            boot_id: boot_id.into(),
            system: System::default(),
            folders: Arc::default(),
            own: OwnFiles::default(),
            replaces_delivered_only: Arc::default(),
        }
    }

    /// Files of regrip's own, to which no download is written.
    pub fn own(&self) -> &OwnFiles {
        &self.own
    }

    /// Says whether `overwrite` replaces only what regrip itself delivered: so it is if the user did not ask for it.
    pub fn replace_delivered_only(&self, only: bool) {
        self.replaces_delivered_only.store(only, Ordering::Relaxed);
    }

    pub(crate) fn replaces_delivered_only(&self) -> bool {
        self.replaces_delivered_only.load(Ordering::Relaxed)
    }

    #[cfg(test)]
    pub(super) fn on(system: System) -> Self {
        DiskStore {
            system,
            ..DiskStore::with_boot_id("a boot")
        }
    }
}

impl Default for DiskStore {
    fn default() -> Self {
        DiskStore::new()
    }
}

impl PartStore for DiskStore {
    type Part = DiskPart;

    async fn exists(&self, part: &str) -> Result<bool, Error> {
        match std::fs::symlink_metadata(part) {
            Ok(_) => Ok(true),
            Err(error) if is_absent(&error) => Ok(false),
            Err(error) => Err(disk("look at", part.as_ref(), error)),
        }
    }

    async fn open(&self, part: &str, how: OpenPart) -> Result<DiskPart, Error> {
        let path = Path::new(part);
        self.own.check(path)?;
        DiskPart::new(
            lock::open(path, how, &self.system)?,
            path.to_owned(),
            self.system,
            Arc::clone(&self.folders),
            Arc::clone(&self.boot_id),
        )
    }

    async fn commit(
        &self,
        part: DiskPart,
        destination: &str,
        replace: Replace,
    ) -> Result<Committed, Error> {
        let destination = Path::new(destination);
        self.own.check(destination)?;
        commit::commit(part, destination, replace).await
    }

    async fn find(
        &self,
        part: &str,
        destination: &str,
        committing: &Committing,
    ) -> Result<Found, Error> {
        let (at_part, at_destination) = (look_at(part)?, look_at(destination)?);
        let is_file = |there: &Metadata| file_id(there).token() == committing.token;
        Ok(if at_part.as_ref().is_some_and(is_file) {
            Found::Part
        } else if at_destination
            .is_some_and(|there| is_file(&there) && there.len() == committing.size)
        {
            Found::Destination
        } else if at_part.is_some() {
            // Another inode, as a restored backup has it: its bytes are verified before it is committed.
            Found::Part
        } else {
            Found::Nothing
        })
    }

    async fn remove(&self, part: &str) -> Result<(), Error> {
        let path = Path::new(part);
        self.own.check(path)?;
        // Locked while it goes, so that whoever opened it meanwhile finds the name gone and begins anew.
        let Some(_locked) = lock::open_existing(path, &self.system)? else {
            return Ok(());
        };
        std::fs::remove_file(path).map_err(|error| disk("remove", path, error))?;
        let synced = self.folders.sync_folder_of(path, &self.system).await;
        synced.map_err(|error| disk("sync the folder of", path, error))
    }
}

/// The file of that name, links not followed. A part that is not a regular file is nobody's part.
fn look_at(path: &str) -> Result<Option<Metadata>, Error> {
    match std::fs::symlink_metadata(path) {
        Ok(metadata) => Ok(metadata.is_file().then_some(metadata)),
        Err(error) if is_absent(&error) => Ok(None),
        Err(error) => Err(disk("look at", path.as_ref(), error)),
    }
}
