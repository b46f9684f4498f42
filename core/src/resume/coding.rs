//! Content codings that are stored as they were sent (RFC 9110 §8.4).
//!
//! Many servers send `film.tar.gz` with `Content-Encoding: gzip`: the coding is the file. Others code whatever they send,
//! and then the bytes are not the file's.

use crate::name::extension;

/// By extension, the coding that a file of that name is in anyway.
const EXTENSIONS: [(&str, &[&str]); 6] = [
    (
        "gzip",
        &[
            "gz", "tgz", "taz", "svgz", "cpgz", "emz", "wmz", "gzip", "vgz", "dz", "adz",
        ],
    ),
    ("br", &["br"]),
    ("zstd", &["zst", "tzst", "zstd"]),
    ("bzip2", &["bz2", "bz", "tbz", "tbz2", "tb2"]),
    ("xz", &["xz", "txz"]),
    ("compress", &["z", "taz"]),
];

/// Whether bytes in this coding are the ones wanted: its names are a file's name and the last segment of its URL.
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
