//! The engine of [regrip](https://github.com/regrip/regrip): downloads that are retried, resumed, bounded and recorded.
//!
//! This crate decides; a host acts. It opens no socket and no file, reads no clock, starts no thread, needs no executor and
//! has no global random source. Time, randomness, network, disk and ledger come in through the traits of [`host`], so it
//! runs natively, in browsers, and in tests without any of them ([`testing`]). The host decides whether a download may move
//! between threads, how TLS, proxies and redirects work, and where rows are kept. There is a native host (the crate
//! `regrip`), one for JavaScript (the npm package `regrip`), and one on tokio and reqwest to copy (`examples/tokio`).
//!
//! There are four entry points. Each can be used without the ones below it.
//!
//! # Retry an operation
//!
//! [`retry()`] makes a bounded number of attempts, with full jitter or the delay that a server asked for. [`RetryRules`]
//! tells it which errors are worth another attempt.
//!
//! [`RetryRules`]: retry::RetryRules
//!
//! ```
//! use regrip_core::{RetryPolicy, retry, retry::RetryRules, testing::{Constant, VirtualClock}};
//! use std::time::Duration;
//!
//! struct AlwaysTransient;
//! impl RetryRules<&'static str> for AlwaysTransient {
//!     fn is_retryable(&self, _: &&'static str) -> bool { true }
//!     fn retry_after(&self, _: &&'static str) -> Option<Duration> { None }
//! }
//!
//! let clock = VirtualClock::default();
//! let policy = RetryPolicy::new(5, Duration::from_secs(1), Duration::from_secs(60))?;
//! // `Constant(100)` draws the longest delay each time; a program passes a `fastrand::Rng`.
//! let result = clock.run(retry(&policy, &clock, &mut Constant(100), &mut AlwaysTransient, async |attempt| {
//!     if attempt < 4 { Err("connection reset") } else { Ok("done") }
//! }));
//! assert_eq!(result, Some(Ok("done")));
//! assert_eq!(clock.elapsed(), Duration::from_secs(1 + 2 + 4));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Limit what runs at once
//!
//! [`Semaphore`](semaphore::Semaphore) is fair, can be resized while it is in use, and loses no permit when a waiter is
//! dropped.
//!
//! ```
//! use futures::future::join_all;
//! use regrip_core::{semaphore::Semaphore, testing::VirtualClock, time::Clock};
//! use std::time::Duration;
//!
//! let (clock, semaphore) = (VirtualClock::default(), Semaphore::new(2)?);
//! let tasks = (0..6).map(|_| async {
//!     let _permit = semaphore.acquire().await;
//!     clock.sleep(Duration::from_secs(1)).await;
//! });
//! clock.run(join_all(tasks)).ok_or("deadlock")?;
//! assert_eq!(clock.elapsed(), Duration::from_secs(3)); // six tasks, two at a time
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Resume without mixing two versions
//!
//! [`resume::plan`] says what to request for a partial file, [`resume::verdict`] what to do with the response. Both are pure
//! functions for an HTTP client of your own.
//!
//! ```
//! use regrip_core::http::{Head, body_end};
//! use regrip_core::record::{Behaviour, Validators};
//! use regrip_core::resume::{Held, Plan, Verdict, plan, verdict};
//! use regrip_core::{store::StoreRules, transport::{Headers, RequestRules}};
//! use std::time::SystemTime;
//!
//! // 700 of 1000 bytes of the version "v1" are on disk.
//! let validators = Validators { etag: Some("\"v1\"".into()), ..Validators::default() };
//! let behaviour = Behaviour::default();
//! let held = Held { offset: 700, size: Some(1000), announced: None, validators: &validators, digests: &[], behaviour: &behaviour };
//! let Plan::Ranged(ask) = plan(held, 65536, RequestRules::FREE, StoreRules::FILE) else { panic!() };
//! assert_eq!((ask.first, ask.if_range.as_ref().map(|value| value.value())), (700, Some("\"v1\"")));
//!
//! let respond = |etag| {
//!     let fields = [("content-range", "bytes 700-999/1000"), ("content-length", "300"), ("etag", etag)];
//!     let headers: Headers = fields.into_iter().collect();
//!     Head::read(206, &headers, body_end(&headers), SystemTime::UNIX_EPOCH)
//! };
//! assert!(matches!(verdict(&ask, held, &respond("\"v1\"")), Verdict::Append { end: 1000, .. }));
//! assert!(matches!(verdict(&ask, held, &respond("\"v2\"")), Verdict::AskWhole { .. }));
//! ```
//!
//! # Run downloads
//!
//! [`Engine`] does all of it for many downloads: it claims destinations, hands out permits, retries, resumes, verifies,
//! commits, and resumes after a crash. It needs a [`Host`].
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
pub use retry::{RetryPolicy, retry};
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
