//! Full responses while partial data is held, and pages in place of files.

use crate::error::Error;
use crate::name::extension;
use crate::record::{Behaviour, Validators};
use crate::split::members;
use std::iter::once;

/// What to do with a full response.
#[derive(Debug)]
pub enum Full {
    /// Compare it with the part.
    Compare,
    /// It is smaller than the part. Record it; the next one like it is compared.
    Remember(Behaviour, Error),
    /// Reject it.
    Refuse(Error),
}

/// Decides what to do with a full response if `offset` bytes are held.
///
/// `size` is the length of the response, if known; `name` the name of the file.
pub fn full_response(
    offset: u64,
    held: &Validators,
    behaviour: &Behaviour,
    now: &Validators,
    size: Option<u64>,
    name: &str,
) -> Full {
    let smaller = size.filter(|&size| size < offset);
    // By the time the end of a response of unknown length shows that it is smaller, the part may be cut already.
    let page = match page_in_place_of(held, now, smaller.is_some(), name) {
        None if size.is_none() => text_in_place_of(held, now),
        page => page,
    };
    if let Some(page) = page {
        let content_type = page.to_owned();
        return Full::Refuse(Error::UnexpectedPage { content_type });
    }
    let Some(bytes) = smaller else {
        return Full::Compare;
    };
    let seen = fingerprint(bytes, now);
    if behaviour.shrunk.as_ref() == Some(&seen) {
        return Full::Compare;
    }
    let behaviour = Behaviour { shrunk: Some(seen), ..behaviour.clone() };
    let held = offset;
    Full::Remember(behaviour, Error::Shrunk { bytes, held })
}

/// The media type, if a response is a page instead of the file: HTML in place of anything else or, if the response is smaller than
/// the part, any type other than the recorded one. A page that is held may be replaced by a file. The type of an adopted
/// part, or of a response without Content-Type, is unknown.
fn page_in_place_of<'a>(held: &Validators, now: &'a Validators, smaller: bool, name: &str) -> Option<&'a str> {
    let now = now.content_type.as_deref()?;
    let page = match held.content_type.as_deref() {
        Some(before) if before == now => false,
        Some(before) if is_text(before) && !is_text(now) && !is_html_name(name) => false,
        Some(_) if smaller => true,
        Some(_) => is_html(now) && !is_html_name(name),
        None => is_odd_page(Some(now), name) || (smaller && is_text(now) && !is_html_name(name)),
    };
    page.then_some(now)
}

/// The media type, if it is text and the recorded one is not.
fn text_in_place_of<'a>(held: &Validators, now: &'a Validators) -> Option<&'a str> {
    let (before, now) = (held.content_type.as_deref()?, now.content_type.as_deref()?);
    (is_text(now) && !is_text(before)).then_some(now)
}

/// Returns `true` if a first response is probably a page: HTML under the name of a film, an archive or the like.
pub fn is_odd_page(content_type: Option<&str>, name: &str) -> bool {
    content_type.is_some_and(is_html) && has_extension(name, BINARY_EXTENSIONS)
}

/// Separated by commas.
const BINARY_EXTENSIONS: &str = "7z,apk,appimage,avi,bin,bz2,cab,deb,dmg,docx,epub,exe,flac,gguf,gif,gz,img,iso,jar,\
    jpeg,jpg,m4a,m4v,mkv,mov,mp3,mp4,msi,ogg,onnx,pdf,png,pt,rar,rpm,safetensors,tar,tgz,torrent,webm,whl,xz,zip,\
    zst";

fn is_html(content_type: &str) -> bool {
    matches!(content_type, "text/html" | "application/xhtml+xml")
}

fn is_text(content_type: &str) -> bool {
    let subtype = content_type.strip_prefix("application/");
    content_type.starts_with("text/") || subtype.is_some_and(|name| name.ends_with("json") || name.ends_with("xml"))
}

fn is_html_name(name: &str) -> bool {
    has_extension(name, "html,htm,xhtml,xht,shtml,mhtml")
}

fn has_extension(name: &str, known: &str) -> bool {
    let known = members(once(known));
    extension(name).is_some_and(|extension| known.iter().any(|known| extension.eq_ignore_ascii_case(known)))
}

/// What two small responses must have in common to be the same one.
fn fingerprint(bytes: u64, validators: &Validators) -> String {
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    format!("{bytes} {} {}", text(&validators.etag), text(&validators.last_modified))
}
