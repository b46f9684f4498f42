//! Peers: friends' servers that have the items which stubs name.
//!
//! [`PeerClient`] speaks the peer wire. What it asks goes through the same transport as the files, so a peer's
//! credentials reach its own origin and no other; it waits by the same line as the peer's downloads.

mod client;
mod release;

pub use crate::config::{LinkRefused, QuickLink, id_of};
pub use client::PeerClient;
pub(crate) use client::source_of;
pub(crate) use client::{ENCODED, KnownPeer, PeerClients};
pub use release::{Query, Release};
