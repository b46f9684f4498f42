//! The digests of a download: those it must have, those that were asked for, and what is known of each.

use crate::checksum::{Algorithm, Checksum};
use crate::store::DigestState;
use serde::{Deserialize, Serialize};

/// Who named a digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DigestSource {
    /// Whoever asked for the download.
    Caller,
    /// The release of a peer.
    Peer,
    /// A response.
    ReprDigest,
    /// Nobody: it is to be computed.
    Asked,
}

impl DigestSource {
    /// As the ledger and the API spell it.
    pub fn name(self) -> &'static str {
        match self {
            DigestSource::Caller => "caller",
            DigestSource::Peer => "peer",
            DigestSource::ReprDigest => "repr_digest",
            DigestSource::Asked => "asked",
        }
    }

    /// The source of that name.
    pub fn named(name: &str) -> Option<DigestSource> {
        [DigestSource::Caller, DigestSource::Peer, DigestSource::ReprDigest, DigestSource::Asked]
            .into_iter()
            .find(|source| source.name() == name)
    }

    /// As a text calls it.
    pub fn title(self) -> &'static str {
        match self {
            DigestSource::Caller | DigestSource::Asked => "the caller",
            DigestSource::Peer => "the peer",
            DigestSource::ReprDigest => "Repr-Digest",
        }
    }
}

/// A digest that a file must have, or that was asked for. Rows of one algorithm have the same state and result.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DigestRow {
    /// What computes it.
    pub algorithm: Algorithm,
    /// Who stated or requested it.
    pub source: DigestSource,
    /// The expected value, in lower-case hex; `None` if it was only requested.
    pub wanted: Option<String>,
    /// The hash of the first bytes of the part.
    #[serde(default)]
    pub state: Option<DigestState>,
    /// The actual value, in lower-case hex, once all bytes were hashed.
    #[serde(default)]
    pub got: Option<String>,
}

impl DigestRow {
    /// A digest that the file must have.
    pub fn wanted(checksum: Checksum, source: DigestSource) -> Self {
        DigestRow { wanted: Some(checksum.hex), source, ..DigestRow::asked(checksum.algorithm) }
    }

    /// A digest to compute.
    pub fn asked(algorithm: Algorithm) -> Self {
        DigestRow { algorithm, source: DigestSource::Asked, wanted: None, state: None, got: None }
    }

    /// The checksum that the file must have.
    pub fn checksum(&self) -> Option<Checksum> {
        let (algorithm, hex) = (self.algorithm, self.wanted.clone()?);
        Some(Checksum { algorithm, hex })
    }
}
