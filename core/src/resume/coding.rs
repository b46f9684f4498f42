//! Content codings that are stored as sent (RFC 9110 §8.4).
//!
//! Many servers send `film.tar.gz` with `Content-Encoding: gzip`: there the coded bytes are the file. Other servers code
//! whatever they send, and then the coded bytes are not the file.

use crate::name::extension;

/// Extensions, and the coding that files with such a name have anyway.
const EXTENSIONS: [(&str, &[&str]); 6] = [
    ("gzip", &["gz", "tgz", "taz", "svgz", "cpgz", "emz", "wmz", "gzip", "vgz", "dz", "adz"]),
    ("br", &["br"]),
    ("zstd", &["zst", "tzst", "zstd"]),
    ("bzip2", &["bz2", "bz", "tbz", "tbz2", "tb2"]),
    ("xz", &["xz", "txz"]),
    ("compress", &["z", "taz"]),
];

/// Returns `true` if bytes with this coding are the file. `names` are the name of the file and the last segment of its URL.
pub fn stored_as_sent<'a>(coding: &str, names: impl IntoIterator<Item = &'a str>) -> bool {
    let coding = coding.to_ascii_lowercase();
    let coding = coding.strip_prefix("x-").unwrap_or(&coding);
    let Some((_, extensions)) = EXTENSIONS.iter().find(|(name, _)| *name == coding) else {
        return false;
    };
    names.into_iter().filter_map(extension).any(|extension| {
        let mut known = extensions.iter();
        known.any(|known| extension.eq_ignore_ascii_case(known))
    })
}
