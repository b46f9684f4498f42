//! Part files on a real disk: opened and locked, written, digested, and given their final names.
//!
//! Invariant: a file gets its final name only after its bytes were synced, by one rename within one folder; whatever is at
//! the part's or the destination's name and is not a regular file is refused, never followed and never changed.
//!
//! Read [`DiskStore`] first, then [`DiskPart`]. What a download may do with a part (how many of its bytes count, when it
//! is discarded) is decided in the core.

mod commit;
mod disk;
#[cfg(test)]
mod faults;
mod lock;
mod lock_file;
#[cfg(test)]
mod lock_tests;
#[cfg(feature = "fleet")]
mod object;
mod part;
mod path;
#[cfg(test)]
#[path = "../../tests/store/power_loss.rs"]
mod power_loss;
mod stdout;
mod version;

pub(crate) use commit::rename_new;
pub use disk::{DiskStore, checksum_of, look_at};
pub use lock::writer;
#[cfg(feature = "fleet")]
pub use object::{
    FilePart, FileStore, ObjectName, ObjectPart, ObjectStore, S3Settings, Upload, UploadEnd, UploadLedger, UploadedPart,
};
pub use part::{DiskDigest, DiskPart};
pub(crate) use path::{NAME_BYTES, checked_object, file_in, resolved};
pub use path::{OwnFiles, destination, is_object, is_same_folder, part_path};
pub use stdout::{STDOUT, StdoutPart, StdoutStore};
pub use version::{FileId, FileStamp, FileVersion};

/// The store of a host. With the feature `fleet` it has object storage beside the disk.
#[cfg(not(feature = "fleet"))]
pub type FileStore = DiskStore;
