//! Peers: friends' servers that have the items which stubs name.

mod id;

pub use id::id_of;
