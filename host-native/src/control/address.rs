//! The URL, file name and digest of a download, as typed.
//!
//! No error contains userinfo, a query, or text that is not a URL: it may be a secret.

use crate::text_file::without_mark;
use percent_encoding::percent_decode_str;
use regrip_core::Checksum;
use regrip_core::checksum::InvalidChecksum;
use regrip_core::{Error, SafeName, display_url};
use url::Url;

/// Longer ones are no addresses, and the state file does not take them.
const LONGEST_URL_BYTES: usize = 65_536;

/// Why something typed names no download.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BadAddress {
    /// It cannot be read.
    #[error("{shown} is not a URL: {why}")]
    NotAUrl {
        /// As far as it can be shown.
        shown: String,
        /// What is wrong.
        why: url::ParseError,
    },
    /// Neither http nor https.
    #[error("{0} is not an http or https URL")]
    Scheme(String),
    /// Too long.
    #[error("a URL of {0} bytes; the limit is {LONGEST_URL_BYTES}")]
    TooLong(usize),
    /// Without a host.
    #[error("{0} has no host")]
    NoHost(String),
    /// Percent signs that stand for no text.
    #[error("{0} has a user or password that cannot be decoded")]
    Userinfo(String),
    /// The path ends with a slash.
    #[error("{0} does not name a file")]
    NoName(String),
    /// Percent signs that stand for no text.
    #[error("the name in {0} is not UTF-8")]
    NameNotText(String),
    /// Not a plain safe name.
    #[error(transparent)]
    Name(Error),
}

/// User and password.
pub(crate) type Userinfo = (String, String);

/// Reads a URL: http or https, with a host. Its userinfo is taken out of it and returned beside it, its fragment dropped.
///
/// # Errors
/// [`BadAddress`].
pub(crate) fn parse_url(typed: &str) -> Result<(Url, Option<Userinfo>), BadAddress> {
    let mut url = Url::parse(typed).map_err(|why| BadAddress::NotAUrl { shown: display_url(typed), why })?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(BadAddress::Scheme(display_url(typed)));
    }
    if typed.len() > LONGEST_URL_BYTES {
        return Err(BadAddress::TooLong(typed.len()));
    }
    let shown = display_url(url.as_str());
    if url.host_str().is_none_or(str::is_empty) {
        return Err(BadAddress::NoHost(shown));
    }
    let decode = |text: &str| Some(percent_decode_str(text).decode_utf8().ok()?.into_owned());
    let userinfo = match (url.username(), url.password()) {
        ("", None) => None,
        (user, password) => {
            Some(decode(user).zip(decode(password.unwrap_or_default())).ok_or(BadAddress::Userinfo(shown))?)
        }
    };
    // Neither fails on a URL that has a host.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.set_fragment(None);
    Ok((url, userinfo))
}

/// The last segment of a URL's path, percent-decoded. The user chose it, so it may be a name that only other systems
/// forbid.
///
/// # Errors
/// If it is not a safe name.
pub(crate) fn file_name(url: &Url) -> Result<SafeName, BadAddress> {
    let shown = || display_url(url.as_str());
    let segment = url.path().rsplit('/').next().unwrap_or_default();
    if segment.is_empty() {
        return Err(BadAddress::NoName(shown()));
    }
    let name = percent_decode_str(segment).decode_utf8();
    let name = name.map_err(|_| BadAddress::NameNotText(shown()))?;
    SafeName::on_this_system(&name).map_err(BadAddress::Name)
}

/// Reads a checksum. White space and a byte order mark around it, as a copied text has them, are left out.
///
/// # Errors
/// If it is not one.
pub(crate) fn parse_checksum(typed: &str) -> Result<Checksum, InvalidChecksum> {
    without_mark(typed.trim()).trim().parse()
}
