//! What went wrong, in the core's words.
//!
//! The class follows from the variant (spec §4), so the choice made here is what decides about another attempt: broken
//! connections, timeouts and broken chunks are transient, a broken head and a bad certificate are permanent. Nothing here
//! names a URL with its query or its userinfo.

use super::head::HeadRefused;
use regrip_core::Error;
use regrip_core::error::{Timeout, chain};
use rustix::io::Errno;
use std::io;
use std::time::Duration;

/// A name that did not resolve, a connection that was not made, a handshake that was cut.
pub(super) fn connecting(what: String, error: io::Error) -> Error {
    let short_of_files = [Errno::MFILE, Errno::NFILE].map(|errno| Some(errno.raw_os_error()));
    if short_of_files.contains(&error.raw_os_error()) {
        return Error::TooManyFiles {
            source: Some(Box::new(error)),
        };
    }
    let tls = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match tls {
        Some(
            tls @ (rustls::Error::InvalidCertificate(_) | rustls::Error::NoCertificatesPresented),
        ) => Error::Certificate(format!("{what}: {}", chain(tls))),
        _ => Error::network(what, error),
    }
}

/// A timeout of the transport's own.
pub(super) fn timed_out(timeout: Timeout, after: Duration) -> Error {
    Error::Timeout { timeout, after }
}

/// No response head, or one that cannot be read.
pub(super) fn answer(error: hyper::Error) -> Error {
    if let Some(HeadRefused(why)) = cause(&error) {
        return Error::Protocol(why.clone());
    }
    if error.is_parse() || error.is_user() {
        return Error::Protocol(chain(&error));
    }
    let what = if error.is_incomplete_message() || error.is_canceled() || error.is_closed() {
        "closed before an answer came"
    } else {
        "waiting for the answer"
    };
    Error::network(what, error)
}

/// The error of the socket below that hyper tells of.
fn cause<E: std::error::Error + 'static>(error: &hyper::Error) -> Option<&E> {
    let cause =
        std::error::Error::source(error).and_then(|cause| cause.downcast_ref::<io::Error>());
    cause?.get_ref()?.downcast_ref()
}

/// A body that broke off. Broken chunk framing is transient too: it is what a proxy that lost its own upstream leaves
/// behind, and the bytes before it are kept.
pub(super) fn body(error: hyper::Error) -> Error {
    let cause =
        std::error::Error::source(&error).and_then(|cause| cause.downcast_ref::<io::Error>());
    let what = match cause.map(io::Error::kind) {
        // hyper's own words say no more than that.
        Some(io::ErrorKind::UnexpectedEof) => return cut(),
        Some(io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData) => {
            "the chunks of the body are broken"
        }
        _ => "while the body came",
    };
    Error::network(what, error)
}

/// A body that ended early without hyper saying so.
pub(super) fn cut() -> Error {
    Error::Network {
        what: "the body was cut".to_owned(),
        source: None,
    }
}

/// Packs an error to travel through surf.
pub(super) fn into_surf(error: Error) -> surf::Error {
    surf::Error::new(surf::StatusCode::BadGateway, error)
}

/// Unpacks what came through surf.
pub(super) fn from_surf(error: surf::Error) -> Error {
    error
        .downcast::<Error>()
        .unwrap_or_else(|other| Error::Network {
            what: other.to_string(),
            source: None,
        })
}

/// Packs an error to travel through an `AsyncRead`.
pub(super) fn into_io(error: Error) -> io::Error {
    io::Error::other(error)
}

/// Unpacks what came through an `AsyncRead`.
pub(super) fn from_io(error: io::Error) -> Error {
    match error.downcast::<Error>() {
        Ok(error) => error,
        Err(other) => Error::network("while the body came", other),
    }
}
