//! HTTP: how the engine's requests reach the network, and how their bytes come back.
//!
//! ```text
//! HttpTransport ── surf::Client ── AddCredentials ── FollowRedirects ── Cookies ── HyperClient ──┬── Pool   an idle connection, or
//!                                                                                                └── dial   name, reach, TCP, tunnel, TLS
//!                                                                                                     │
//! HttpBody ◄─────────────────── surf::Body ◄──────────────────────── BodyReader ◄──────────────── Connection ── Socket ── HeadReader
//! ```
//!
//! Read [`HttpTransport`] first, then `client.rs`. Two invariants: **credentials and connections go only where they were
//! vetted for**, and **a byte of one response is never taken for a byte of another**.
//!
//! It decodes no content coding, knows no idle timeout (the core has it) and retries nothing but a
//! connection from the pool that turns out to be closed.

mod addresses;
mod body;
mod client;
mod connection;
mod cookies;
mod credentials;
mod dial;
mod errors;
mod head;
mod http_transport;
mod no_proxy;
mod options;
mod origin;
mod pool;
mod proxy;
mod rate;
mod reach;
mod redirect;
mod roots;
mod socket;
mod timeouts;
mod tunnel;
mod wire;

pub use http_transport::{HttpBody, HttpTransport};
pub use no_proxy::NoProxy;
pub use options::{Credentials, Header, HeaderRefused, TransportOptions};
pub use origin::{NotAnOrigin, Origin};
pub use proxy::{NamedProxy, Proxies, Proxy, ProxyUnusable};
pub use roots::Roots;
