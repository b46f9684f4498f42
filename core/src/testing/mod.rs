//! Fakes for tests: a host without network, disk, database or real time.
//!
//! Time is virtual: [`VirtualClock::run`] polls a future until nothing makes progress, then jumps to the next timer. A download that
//! waits a minute between attempts takes no time, and the same seed gives the same run.
//!
//! ```
//! use regrip_core::testing::{FakeHost, Served, new_download};
//! use regrip_core::{DownloadsConfig, Engine};
//!
//! // A file of 300,000 bytes, on a server that drops the connection once after 100,000.
//! let content: Vec<u8> = (0..300_000_u32).map(|n| (n % 251) as u8).collect();
//! let host = FakeHost::serving(Served::new(content.clone()).etag("\"v1\"").cut_after(100_000));
//! let clock = host.clock.clone();
//!
//! let engine = Engine::new(host, DownloadsConfig::default(), true)?;
//! let summary = clock.run(async {
//!     let accepted = engine.accept(new_download("http://peer.example/film.mkv", "/films/film.mkv")).await?;
//!     engine.drive(accepted.id).await
//! }).ok_or("nothing moves any more")??;
//!
//! assert_eq!(summary.attempts, 2);
//! assert_eq!(engine.host().store.file("/films/film.mkv"), Some(content));
//! // The second request asked for the rest of the same version.
//! let asked = engine.host().transport.requests();
//! assert_eq!(asked[1].first, Some(100_000));
//! assert_eq!(asked[1].if_range.as_deref(), Some("\"v1\""));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod clock;
pub mod contract;
mod host;
mod ledger;
mod store;
mod transport;

pub use crate::schedule::switch_at_locks;
pub use clock::{Sleep, VirtualClock};
pub use host::{Constant, FakeHost, new_download};
pub use ledger::{Line, MemoryLedger};
pub use store::{MemoryPart, MemoryStore};
pub use transport::{Asked, FakeBody, FakeTransport, Piece, Reply, Served};
