//! The engine of [regrip](https://github.com/regrip/regrip): downloads that are retried, resumed, bounded and recorded.
//!
//! This crate decides; a host acts. It opens no socket and no file, reads no clock, starts no thread, needs no executor and
//! has no global random source. Time, randomness, network, disk and ledger come in through the traits of [`host`], so it
//! runs natively, in browsers, and in tests without any of them ([`testing`]). The host decides whether a download may move
//! between threads, how TLS, proxies and redirects work, and where rows are kept. There is a native host (the crate
//! `regrip`), one for JavaScript (the npm package `regrip`), and one on tokio and reqwest to copy (`examples/tokio`).
//!
//! There are four entry points. Each can be used without the ones below it, and each has a page with examples and the cases
//! in which something else is the better choice.
//!
//! | entry point | does | page |
//! |---|---|---|
//! | [`RetryPolicy::retry`] | a bounded number of attempts with full jitter, or the delay that a server asked for | [`retry`] |
//! | [`Semaphore`] | limits what runs at once; fair, can be resized, loses no permit when a waiter is dropped | [`semaphore`] |
//! | [`resume::plan`], [`resume::verdict`] | what to request for partial data, and what to do with the response | [`resume`] |
//! | [`Engine`] | all of it, for many downloads, with a record that survives crashes | [`engine`] |
//!
//! ```
//! use regrip_core::{RetryPolicy, Semaphore};
//! use std::io;
//!
//! # async fn get(_url: &str) -> io::Result<Vec<u8>> { Ok(vec![1]) }
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let at_once = Semaphore::new(4)?;
//! let _permit = at_once.acquire().await;
//! let page = RetryPolicy::default()
//!     .retry(tokio::time::sleep, fastrand::Rng::with_seed(1), async |_attempt| get("http://host/page").await)
//!     .when(|error| error.kind() != io::ErrorKind::NotFound)
//!     .await?;
//! # assert_eq!(page, [1]);
//! # Ok(())
//! # }
//! ```
#![forbid(unsafe_code)]
#![warn(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
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
pub use config::{Connections, DownloadsConfig, OnExists};
pub use engine::Engine;
pub use error::Error;
pub use error_code::ErrorCode;
pub use event::{Event, Summary, What, display_url};
pub use host::Host;
pub use name::SafeName;
pub use record::{Change, DownloadId, Row, Source, Status};
pub use retry::RetryPolicy;
pub use semaphore::Semaphore;
pub use shown::{redacted, shown};
pub use stub::{PeerId, Stub};

mod bencode;
mod calls;
pub mod engine;
mod finish;
#[cfg(feature = "hash")]
pub mod hasher;
pub mod http;
mod job;
mod mutex;
mod origin;
pub mod peer;
mod pieces;
mod pump;
pub mod resume;
#[cfg(feature = "testing")]
mod schedule;
pub mod semaphore;
mod sources;
mod split;
mod stripe;
mod taking;
#[cfg(feature = "testing")]
pub mod testing;
mod transfer;
mod verify;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
