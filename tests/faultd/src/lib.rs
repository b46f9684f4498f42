//! An HTTP/1.1 server that misbehaves on purpose, by script.
//!
//! It serves content that is computed from a seed, honestly unless the script says otherwise, and with the
//! faults of the script otherwise. It is for tests and for `regrip demo`; files it serves only as the page of a
//! browser test or demo ([`Pages`]), it parses no bodies, and it listens on loopback by default.
//!
//! Read first: [`Reply`], the value that says exactly what goes on the wire, and [`Site`], which makes one
//! from each [`Request`] and has no socket. [`Server`] puts replies on real sockets; an in-memory transport
//! can carry out the same value on a virtual clock. [`Fault`] lists what can go wrong.
//!
//! ```
//! use regrip_faultd::faults::Cut;
//! use regrip_faultd::{FileScript, Request, Script, Site, Version};
//!
//! let file = FileScript::honest(Version::new(1, 5000).etag("\"v1\"")).answer([Cut::after(1000)]);
//! let site = Site::new(Script::one("/file", file));
//! assert_eq!(site.answer(&Request::get("/file")).payload_len(), 1000);
//! assert_eq!(site.answer(&Request::get("/file")).payload_len(), 5000);
//! ```

mod connection;
mod content;
pub mod control;
mod digest;
mod edit;
pub mod faults;
pub mod honest;
mod log;
mod pages;
mod range;
mod reply;
mod request;
mod script;
mod send;
mod server;
mod site;
mod stream;
mod tls;

pub use content::{Content, Edit};
pub use faults::{Fault, Misbehave};
pub use log::LogEntry;
pub use pages::Pages;
pub use reply::{End, Framing, Head, Op, Reply};
pub use request::{BadRequest, HEAD_LIMIT, HEADER_LIMIT, Request};
pub use script::{FileScript, RequiredHeader, Script, ScriptError, Version};
pub use server::{Options, Server};
pub use site::{Exchange, Site};
pub use tls::TlsIdentity;
