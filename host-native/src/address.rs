//! The URL, file name and digest of a download, as typed; lists of digests, as `sha256sum` and BSD's `sha256` write them.
//!
//! No error contains userinfo, a query, or text that is not a URL: it may be a secret.

use crate::text_file::without_mark;
use percent_encoding::percent_decode_str;
use regrip_core::checksum::InvalidChecksum;
use regrip_core::{Algorithm, Checksum};
use regrip_core::{Error, SafeName, display_url, shown};
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

/// The digests of a list, in its order.
#[derive(Debug)]
pub(crate) struct ChecksumList {
    /// With the name of each; the only one may have none.
    listed: Vec<(Option<String>, Checksum)>,
}

/// Most names that an error shows.
const MOST_NAMES: usize = 8;

impl ChecksumList {
    /// Reads a list: `HEX  name` and `HEX *name` (GNU), `SHA256 (name) = HEX` (BSD), or a digest alone. Other lines do not count,
    /// such as comments, signatures, and digests by other algorithms.
    ///
    /// # Errors
    /// If there is no digest in it.
    pub(crate) fn parse(text: &str) -> Result<ChecksumList, &'static str> {
        if text.contains('\0') {
            return Err("it is not text");
        }
        let mut listed: Vec<_> = text.lines().filter_map(checksum_line).collect();
        match &listed[..] {
            [] => {
                return Err(
                    "no digest in it\n  its lines are `HEX  NAME` or `SHA256 (NAME) = HEX` (sha256, sha512, sha1 or md5)",
                );
            }
            [_] => {}
            // In a list with names, hexadecimal digits alone are not the digest of a file.
            _ => listed.retain(|(name, _)| name.is_some()),
        }
        match listed.is_empty() {
            true => Err("several digests without names"),
            false => Ok(ChecksumList { listed }),
        }
    }

    /// The digests of the file that has one of these names; the first one that is listed counts. A name in a folder counts if no
    /// other folder has one like it. A digest without a name is that of the `only` file.
    ///
    /// # Errors
    /// Which names are listed instead, or which of them have the name of the file.
    pub(crate) fn of(&self, names: &[&str], only: bool) -> Result<Vec<Checksum>, String> {
        if let [(None, checksum)] = &self.listed[..] {
            return match only {
                true => Ok(vec![checksum.clone()]),
                false => Err("its digest has no name, but there are several URLs".to_owned()),
            };
        }
        let entries = || self.listed.iter().filter_map(|(name, checksum)| Some((name.as_deref()?, checksum)));
        for name in names {
            let exact: Vec<_> =
                entries().filter(|(listed, _)| listed.strip_prefix("./").unwrap_or(listed) == *name).collect();
            let found = match exact.is_empty() {
                true => entries().filter(|(listed, _)| listed.rsplit('/').next() == Some(name)).collect(),
                false => exact,
            };
            let mut checksums: Vec<Checksum> = Vec::new();
            for (_, checksum) in &found {
                if !add_checksum(&mut checksums, (*checksum).clone()) {
                    let listed = found.iter().map(|(listed, _)| *listed);
                    return Err(format!("it has several digests for {name}: {}", bounded(listed)));
                }
            }
            if !checksums.is_empty() {
                return Ok(checksums);
            }
        }
        let name = names.first().copied().unwrap_or_default();
        Err(format!("{} is not in it\n  it has {}", shown(name), bounded(entries().map(|(listed, _)| listed))))
    }
}

/// Adds a digest of a file to those that are known. Returns `false` if another one by its algorithm is.
pub(crate) fn add_checksum(known: &mut Vec<Checksum>, checksum: Checksum) -> bool {
    match known.iter().find(|known| known.algorithm == checksum.algorithm) {
        Some(known) => *known == checksum,
        None => {
            known.push(checksum);
            true
        }
    }
}

fn bounded<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let mut names: Vec<String> = names.map(|name| shown(name).to_string()).collect();
    names.dedup();
    let more = names.len().saturating_sub(MOST_NAMES);
    names.truncate(MOST_NAMES);
    match more {
        0 => names.join(", "),
        more => format!("{} and {more} more", names.join(", ")),
    }
}

/// The name and digest on a line, if it has one.
fn checksum_line(line: &str) -> Option<(Option<String>, Checksum)> {
    let line = without_mark(line).trim_end_matches('\r');
    // A backslash says that the name is escaped.
    let (line, escaped) = line.strip_prefix('\\').map_or((line, false), |line| (line, true));
    let named = |name: &str| Some(if escaped { unescaped(name) } else { name.to_owned() });
    let digits = line.find(|letter: char| !letter.is_ascii_hexdigit()).unwrap_or(line.len());
    let (hex, rest) = line.split_at(digits);
    let by_length = Algorithm::ALL.into_iter().find(|algorithm| 2 * algorithm.digest_bytes() == hex.len());
    if let Some(algorithm) = by_length {
        let checksum = Checksum::new(algorithm, hex).ok()?;
        let name = rest.strip_prefix([' ', '\t']).map(|name| name.strip_prefix([' ', '*', '\t']).unwrap_or(name));
        return match name {
            Some(name) if !name.trim().is_empty() => Some((named(name), checksum)),
            _ => rest.trim().is_empty().then_some((None, checksum)),
        };
    }
    let (tag, rest) = line.split_once('(')?;
    let (name, hex) = rest.rsplit_once(')')?;
    let hex = hex.trim().strip_prefix('=')?.trim();
    // OpenSSL writes SHA2-256.
    let algorithm = tag.trim().replace("SHA2-", "SHA").parse().ok()?;
    Some((named(name), Checksum::new(algorithm, hex).ok()?))
}

/// A name as GNU's programs escape it.
fn unescaped(name: &str) -> String {
    let mut plain = String::new();
    let mut letters = name.chars();
    while let Some(letter) = letters.next() {
        plain.push(match letter {
            '\\' => match letters.next() {
                Some('n') => '\n',
                Some('r') => '\r',
                other => other.unwrap_or('\\'),
            },
            letter => letter,
        });
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_read_as_gnu_and_bsd_write_them() {
        let (md5, sha1, sha256) = ("0".repeat(32), "1".repeat(40), "A".repeat(64));
        let table = [
            (format!("{md5}  film"), "film", "md5:00"),
            (format!("{md5} *film\r"), "film", "md5:00"),
            (format!("{md5} film"), "film", "md5:00"),
            (format!("{md5}\tfilm"), "film", "md5:00"),
            (format!("{md5}   film"), " film", "md5:00"),
            (format!("\\{sha1}  a\\nb\\\\c"), "a\nb\\c", "sha1:11"),
            (format!("SHA256 (a (1).mkv) = {sha256}"), "a (1).mkv", "sha256:aa"),
            (format!("SHA2-256(film)= {sha256}"), "film", "sha256:aa"),
            (format!("MD5 (film) = {md5}"), "film", "md5:00"),
            (format!("\u{feff}# of today\r\n{sha1}  film\r\n"), "film", "sha1:11"),
            (format!("-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\n{sha1}  d/film\n"), "film", "sha1:11"),
            (format!("{sha1}\n"), "anything", "sha1:11"),
            (format!("SHA1 (x) = {sha1}\nMD5 (film) = {md5}"), "film", "md5:00"),
        ];
        for (text, name, start) in table {
            let list = ChecksumList::parse(&text).unwrap();
            let found = list.of(&[name], true).unwrap();
            assert!(matches!(&found[..], [one] if one.to_string().starts_with(start)), "{text:?}: {found:?}");
        }
    }

    #[test]
    fn a_file_that_is_not_listed_or_is_ambiguous_is_an_error() {
        let (one, other) = ("0".repeat(64), "1".repeat(64));
        let of = |text: &str, name: &str, only| ChecksumList::parse(text).map_err(str::to_owned)?.of(&[name], only);
        let table = [
            (String::new(), "no digest"),
            ("\0".repeat(9), "not text"),
            (format!("{one}00  film"), "no digest"),
            (format!("SHA384 (film) = {}", "0".repeat(96)), "no digest"),
            (format!("BLAKE2b (film) = {}", "0".repeat(128)), "no digest"),
            (format!("SHA256 (film) = {}", "0".repeat(32)), "no digest"),
            (format!("{one}\n{other}\n"), "without names"),
            (format!("{one}  other\n"), "film is not in it\n  it has other"),
            (format!("{one}  a/film\n{other}  b/film\n"), "several digests for film: a/film, b/film"),
        ];
        for (text, why) in table {
            let error = of(&text, "film", true).unwrap_err();
            assert!(error.contains(why), "{text:?}: {error}");
        }
        assert!(of(&one, "film", false).unwrap_err().contains("several URLs"));
        let listed: String = (0..20).map(|number| format!("{one}  file {number}\n")).collect();
        assert!(of(&listed, "film", true).unwrap_err().ends_with("and 12 more"));
        // The name itself counts more than one in a folder; equal digests are no question.
        let text = format!("{one}  a/film\n{other}  film\n{one}  b/same\n{one}  c/same\n");
        assert_eq!(of(&text, "film", true).unwrap()[0].hex, other);
        assert_eq!(of(&text, "same", true).unwrap()[0].hex, one);
    }
}
