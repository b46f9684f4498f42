//! The HTTP server: hyper's HTTP/1.1 on smol sockets, a table of routes, and files sent straight from disk.
//!
//! Where a byte goes: [`Server`] accepts, a connection parses the request (hyper), [`Router`] finds the handler and says no
//! to whom its [`Guard`] does not let in, the handler makes a [`Reply`], and its bytes, or the [`FileSpan`] it names, leave
//! by the socket. Everything a stranger sends is bounded by [`Limits`]. It decides nothing about what is served.

mod access;
mod guesses;
mod listener;
mod places;
mod reply;
mod router;
mod socket;

pub use access::{Access, CurrentKeys, Entry, Guard, Keys, KeysError, X_API_KEY, is_own_origin, unauthorized};
pub(crate) use access::{only, random};
pub(crate) use guesses::ClientNetwork;
pub use listener::{Limits, Server};
pub use reply::{BodyLines, Payload, Refusal, Reply};
pub(crate) use reply::{Object, is_json, is_of_type, not_json, parsed};
pub use router::{Answer, Asked, Handler, Route, Router};
pub use socket::{FileSpan, Threads};
