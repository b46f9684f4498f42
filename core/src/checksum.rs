//! Checksums as people write them: `algorithm:hex`.

use crate::shown::redacted;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::str::FromStr;

/// A hash function.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Algorithm {
    /// SHA-256.
    Sha256,
    /// SHA-512.
    Sha512,
    /// SHA-1.
    Sha1,
    /// MD5.
    Md5,
}

impl Algorithm {
    /// All of them, the strongest usual one first.
    pub const ALL: [Algorithm; 4] = [Algorithm::Sha256, Algorithm::Sha512, Algorithm::Sha1, Algorithm::Md5];

    /// As checksums, the ledger and the configuration spell it.
    pub fn name(self) -> &'static str {
        match self {
            Algorithm::Sha256 => "sha256",
            Algorithm::Sha512 => "sha512",
            Algorithm::Sha1 => "sha1",
            Algorithm::Md5 => "md5",
        }
    }

    /// The size of a digest in bytes.
    pub fn digest_bytes(self) -> usize {
        match self {
            Algorithm::Sha256 => 32,
            Algorithm::Sha512 => 64,
            Algorithm::Sha1 => 20,
            Algorithm::Md5 => 16,
        }
    }

    /// The one that a key of `Repr-Digest` names, if it is one that detects tampering (RFC 9530 §5).
    pub(crate) fn of_repr_digest(key: &str) -> Option<Algorithm> {
        match key {
            "sha-256" => Some(Algorithm::Sha256),
            "sha-512" => Some(Algorithm::Sha512),
            _ => None,
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Algorithm {
    type Err = InvalidChecksum;

    /// In any case; `SHA-256` is `sha256`.
    fn from_str(name: &str) -> Result<Self, InvalidChecksum> {
        let letters = name.chars().filter(|letter| *letter != '-');
        let plain: String = letters.map(|letter| letter.to_ascii_lowercase()).collect();
        Algorithm::ALL
            .into_iter()
            .find(|algorithm| algorithm.name() == plain)
            .ok_or_else(|| InvalidChecksum::Algorithm(redacted(name)))
    }
}

/// The digest of a file and the algorithm that computes it.
///
/// ```
/// use regrip_core::{Algorithm, Checksum};
///
/// let checksum: Checksum = "MD5:D41D8CD98F00B204E9800998ECF8427E".parse()?;
/// assert_eq!(checksum.algorithm, Algorithm::Md5);
/// assert_eq!(checksum.to_string(), "md5:d41d8cd98f00b204e9800998ecf8427e");
/// # Ok::<(), regrip_core::checksum::InvalidChecksum>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checksum {
    /// The algorithm.
    pub algorithm: Algorithm,
    /// The digest, lower-case.
    pub hex: String,
}

impl Checksum {
    /// A digest of that algorithm.
    ///
    /// # Errors
    /// `Digits` unless `hex` has the algorithm's number of hexadecimal digits.
    pub fn new(algorithm: Algorithm, hex: &str) -> Result<Self, InvalidChecksum> {
        let digits = 2 * algorithm.digest_bytes();
        if hex.len() != digits || !hex.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            let found = redacted(hex);
            return Err(InvalidChecksum::Digits { algorithm, digits, found });
        }
        let hex = hex.to_ascii_lowercase();
        Ok(Checksum { algorithm, hex })
    }
}

impl fmt::Display for Checksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.algorithm, self.hex)
    }
}

impl FromStr for Checksum {
    type Err = InvalidChecksum;

    /// `algorithm:hex`; 64 hexadecimal digits alone are a SHA-256.
    fn from_str(text: &str) -> Result<Self, InvalidChecksum> {
        match text.split_once(':') {
            Some((name, hex)) => Checksum::new(name.parse()?, hex),
            None => Checksum::new(Algorithm::Sha256, text).map_err(|_| InvalidChecksum::Form(redacted(text))),
        }
    }
}

impl Serialize for Checksum {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Checksum {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// A text that is no checksum. What was found is not repeated: it may be a secret that belongs elsewhere.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidChecksum {
    /// No algorithm is named, and it is no SHA-256.
    #[error("{0}, expected ALGORITHM:HEX (sha256, sha512, sha1 or md5), or the 64 hexadecimal digits of a SHA-256")]
    Form(String),
    /// An algorithm that is not known.
    #[error("the algorithm is {0}, expected sha256, sha512, sha1 or md5")]
    Algorithm(String),
    /// The digest has another length than the algorithm's, or other characters.
    #[error("the {algorithm} is {found}, expected {digits} hexadecimal digits")]
    Digits {
        /// The algorithm.
        algorithm: Algorithm,
        /// The number of digits it has.
        digits: usize,
        /// What was found instead.
        found: String,
    },
}
