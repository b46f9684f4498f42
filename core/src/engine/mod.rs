//! Runs many downloads at once: accepts, drives, cancels and retries them.
//!
//! [`Engine`] claims destinations, grants permits, retries, resumes, verifies and commits, and resumes after a crash. It needs a
//! [`Host`](crate::Host), which does what the engine decides; [`testing`](crate::testing) has one without network and disk.
//!
//! ```
//! use regrip_core::testing::{FakeHost, Served, new_download};
//! use regrip_core::{DownloadsConfig, Engine};
//!
//! // The server drops the connection once, after 100,000 of 300,000 bytes.
//! let host = FakeHost::serving(Served::new(vec![7; 300_000]).etag("\"v1\"").cut_after(100_000));
//! let clock = host.clock.clone();
//! let engine = Engine::new(host, DownloadsConfig::default(), true)?;
//! let summary = clock.run(async {
//!     let accepted = engine.accept(new_download("http://peer.example/film.mkv", "/films/film.mkv")).await?;
//!     engine.drive(accepted.id).await
//! }).ok_or("deadlock")??;
//! assert_eq!((summary.bytes, summary.attempts), (300_000, 2));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # When not to use it
//!
//! - To download files in a program on Linux or macOS: the crate `regrip` is this engine with a host.
//! - For bytes that are processed as they arrive and never stored: use [`resume`](crate::resume), which needs no ledger.
//! - For responses of a few kilobytes: [`retry`](crate::RetryPolicy::retry) them.
//! - For uploads, or protocols other than HTTP.

mod admission;
mod claim;
mod downloads;
mod drive;
mod line;
mod peers;
mod permits;
mod shared;
mod stop;

pub use admission::{Accepted, Admission, NewUrl, admission};
pub use downloads::{Engine, Recovered};
