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

mod address_policy;
mod client;
mod connection;
mod cookies;
mod dial;
mod errors;
mod head;
mod http_transport;
mod options;
mod proxy;
mod redirect;
mod roots;

pub use cookies::{CookieJar, NotACookie};
pub use head::Trace;
pub use http_transport::{HttpBody, HttpTransport};
pub use options::{Credentials, Header, HeaderRefused, NotAnOrigin, Origin, TransportOptions};
pub use proxy::{NamedProxy, NoProxy, Proxies, Proxy, ProxyUnusable};
#[cfg(feature = "fleet")]
pub(crate) use roots::client_config as tls_config;
pub use roots::{Identity, Roots};
