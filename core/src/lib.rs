//! The engine of regrip.
//!
//! This crate opens no socket and no file, asks no clock, starts no thread, needs no executor and draws on no global random
//! source. It decides; a host does. What to do next is a pure function of what is known, and everything else reaches it
//! through the traits of [`host`].
#![forbid(unsafe_code)]
#![warn(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]
#![allow(async_fn_in_trait)] // no `Send` bound on purpose, see `host`

pub mod bounds;
pub mod checksum;
pub mod classify;
pub mod config;
pub mod error;
pub mod error_code;
pub mod event;
pub mod host;
pub mod ledger;
pub mod name;
pub mod random;
pub mod record;
pub mod retry;
pub mod send_ledger;
pub mod shown;
pub mod store;
pub mod stub;
pub mod time;
pub mod transport;

pub use checksum::{Algorithm, Checksum};
pub use classify::{Class, class, is_transient};
pub use config::{DownloadsConfig, OnExists};
pub use engine::Engine;
pub use error::Error;
pub use error_code::ErrorCode;
pub use event::{Event, Summary, What, display_url, redacted};
pub use host::Host;
pub use name::SafeName;
pub use record::{Change, DownloadId, Row, Source, Status};
pub use retry::{RetryPolicy, retry};
pub use shown::shown;
pub use stub::{PeerId, Stub};

mod bencode;
pub mod engine;
mod finish;
#[cfg(feature = "hash")]
pub mod hasher;
pub mod http;
mod job;
mod mutex;
mod origin;
pub mod peer;
mod pump;
pub mod resume;
pub mod semaphore;
mod taking;
#[cfg(feature = "testing")]
pub mod testing;
mod transfer;
