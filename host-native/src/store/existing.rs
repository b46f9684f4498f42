//! What is at a destination before a download is accepted.

use super::commit::refused;
use super::failure::disk;
use super::stamp::{FileStamp, is_absent};
use regrip_core::hasher::Hasher;
use regrip_core::store::Digest;
use regrip_core::{Algorithm, Checksum, Error};
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// How much is read at once.
const BLOCK_BYTES: usize = 256 << 10;

/// The stamp of the file at a destination; `None` where nothing is there.
///
/// # Errors
/// `DestinationRefused` where it is a link, a folder or a device; `Disk`.
pub fn look_at(destination: &Path) -> Result<Option<FileStamp>, Error> {
    let there = match std::fs::symlink_metadata(destination) {
        Ok(there) => there,
        Err(error) if is_absent(&error) => return Ok(None),
        Err(error) => return Err(disk("look at", destination, error)),
    };
    match refused(there.file_type()) {
        Some(what) => Err(Error::DestinationRefused {
            path: destination.display().to_string(),
            what,
        }),
        None => FileStamp::of(destination),
    }
}

/// The checksum of a file.
///
/// # Errors
/// `Disk` if it cannot be read.
pub fn checksum_of(path: &Path, algorithm: Algorithm) -> Result<Checksum, Error> {
    let mut file = File::open(path).map_err(|error| disk("open", path, error))?;
    let mut digest = Hasher::new(algorithm);
    let mut block = vec![0; BLOCK_BYTES];
    loop {
        let read = file.read(&mut block);
        match read.map_err(|error| disk("read", path, error))? {
            0 => {
                let hex = digest.finish();
                return Ok(Checksum { algorithm, hex });
            }
            read => digest.update(&block[..read]),
        }
    }
}
