//! What went wrong, in the core's words.
//!
//! The class follows from the variant, so the choice made here is what decides about another attempt: broken
//! connections, timeouts and broken chunks are transient, a broken head and a bad certificate are permanent. Nothing here
//! names a URL with its query or its userinfo.

use super::head::HeadRefused;
use regrip_core::Error;
use regrip_core::error::{Timeout, chain};
use rustix::io::Errno;
use rustls::{AlertDescription, PeerIncompatible};
use std::io;
use std::time::Duration;

/// A name that did not resolve, a connection that was not made, a handshake that was cut.
pub(super) fn connecting(what: String, error: io::Error) -> Error {
    let short_of_files = [Errno::MFILE, Errno::NFILE].map(|errno| Some(errno.raw_os_error()));
    if short_of_files.contains(&error.raw_os_error()) {
        return Error::TooManyFiles { source: Some(Box::new(error)) };
    }
    let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match tls.and_then(|tls| tls_failure(&what, tls)) {
        Some(permanent) => permanent,
        None => Error::network(what, error),
    }
}

/// A failure of TLS that the next handshake would run into, too. `None` if the network may have caused it.
fn tls_failure(what: &str, error: &rustls::Error) -> Option<Error> {
    use rustls::PeerMisbehaved::{
        SelectedUnofferedCipherSuite, SelectedUnofferedKxGroup, SelectedUnusableCipherSuiteForVersion,
    };
    let lacks = match error {
        rustls::Error::InvalidCertificate(_) | rustls::Error::NoCertificatesPresented => {
            return Some(Error::Certificate(format!("{what}: {}", chain(error))));
        }
        rustls::Error::AlertReceived(alert) => refused_by_alert(*alert)?,
        rustls::Error::PeerIncompatible(incompatible) => lacked_by_peer(incompatible),
        rustls::Error::PeerMisbehaved(
            SelectedUnofferedCipherSuite | SelectedUnofferedKxGroup | SelectedUnusableCipherSuiteForVersion,
        ) => NO_CIPHER,
        _ => return None,
    };
    Some(Error::Tls(format!("{what}: {lacks} ({})", chain(error))))
}

const NO_CIPHER: &str = "the server offers no cipher suite or key exchange that regrip supports \
                         (TLS 1.2 with ECDHE or TLS 1.3 is needed)";
const NO_VERSION: &str = "the server offers no TLS version that regrip supports (TLS 1.2 or TLS 1.3 is needed)";
const NO_CLIENT_CERTIFICATE: &str = "the server wants a client certificate, or another one than it got";

/// What an alert says that would come again (RFC 8446 §6.2, RFC 5246 §7.2.2); `None` of one that may be due to the network
/// or to a fault of the moment.
fn refused_by_alert(alert: AlertDescription) -> Option<&'static str> {
    Some(match alert {
        AlertDescription::HandshakeFailure | AlertDescription::InsufficientSecurity => NO_CIPHER,
        AlertDescription::ProtocolVersion => NO_VERSION,
        AlertDescription::NoApplicationProtocol => "the server offers no HTTP/1.1 over TLS",
        AlertDescription::UnrecognisedName => "the server has no certificate for this name",
        AlertDescription::CertificateRequired
        | AlertDescription::NoCertificate
        | AlertDescription::BadCertificate
        | AlertDescription::CertificateRevoked
        | AlertDescription::CertificateExpired
        | AlertDescription::CertificateUnknown
        | AlertDescription::UnknownCA
        | AlertDescription::AccessDenied => NO_CLIENT_CERTIFICATE,
        AlertDescription::UnsupportedCertificate => "the server and regrip have no type of certificate in common",
        AlertDescription::ExportRestriction
        | AlertDescription::InappropriateFallback
        | AlertDescription::MissingExtension
        | AlertDescription::UnsupportedExtension
        | AlertDescription::IllegalParameter
        | AlertDescription::UnknownPSKIdentity
        | AlertDescription::EncryptedClientHelloRequired => {
            "the server does not accept the handshake that regrip offers"
        }
        _ => return None,
    })
}

fn lacked_by_peer(incompatible: &PeerIncompatible) -> &'static str {
    match incompatible {
        PeerIncompatible::ServerDoesNotSupportTls12Or13
        | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig
        | PeerIncompatible::SupportedVersionsExtensionRequired => NO_VERSION,
        PeerIncompatible::NoSignatureSchemesInCommon
        | PeerIncompatible::NoCertificateRequestSignatureSchemesInCommon
        | PeerIncompatible::IncorrectCertificateTypeExtension
        | PeerIncompatible::UnsolicitedCertificateTypeExtension => {
            "the server has no type of certificate or signature that regrip supports"
        }
        _ => NO_CIPHER,
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
    // In TLS 1.3 a server refuses a client's certificate only after the client believes the handshake to be over.
    if let Some(permanent) = cause(&error).and_then(|tls| tls_failure("the TLS handshake", tls)) {
        return permanent;
    }
    let what = if error.is_incomplete_message() || error.is_canceled() || error.is_closed() {
        "connection closed before a response"
    } else {
        "waiting for the answer"
    };
    Error::network(what, error)
}

/// The error of the socket below an error of hyper, at any depth: a request that was cancelled by it has it further down.
fn cause<E: std::error::Error + 'static>(error: &hyper::Error) -> Option<&E> {
    let mut causes = std::iter::successors(std::error::Error::source(error), |cause| cause.source());
    causes.find_map(|cause| cause.downcast_ref::<io::Error>())?.get_ref()?.downcast_ref()
}

/// A body that broke off. Broken chunk framing is transient too: it is what a proxy that lost its own upstream leaves
/// behind, and the bytes before it are kept.
pub(super) fn body(error: hyper::Error) -> Error {
    let cause = std::error::Error::source(&error).and_then(|cause| cause.downcast_ref::<io::Error>());
    let what = match cause.map(io::Error::kind) {
        // hyper's own words say no more than that.
        Some(io::ErrorKind::UnexpectedEof) => return cut(),
        Some(io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData) => "the chunks of the body are broken",
        _ => "while reading the response body",
    };
    Error::network(what, error)
}

/// A body that ended early without hyper saying so.
pub(super) fn cut() -> Error {
    Error::Network { what: "the body was cut".to_owned(), source: None }
}

/// Packs an error to travel through surf.
pub(super) fn into_surf(error: Error) -> surf::Error {
    surf::Error::new(surf::StatusCode::BadGateway, error)
}

/// Unpacks an error that surf passed on.
pub(super) fn from_surf(error: surf::Error) -> Error {
    error.downcast::<Error>().unwrap_or_else(|other| Error::Network { what: other.to_string(), source: None })
}

/// Packs an error to travel through an `AsyncRead`.
pub(super) fn into_io(error: Error) -> io::Error {
    io::Error::other(error)
}

/// Unpacks an error that an `AsyncRead` passed on.
pub(super) fn from_io(error: io::Error) -> Error {
    match error.downcast::<Error>() {
        Ok(error) => error,
        Err(other) => Error::network("while reading the response body", other),
    }
}
