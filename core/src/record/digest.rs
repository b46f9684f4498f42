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
    /// Whoever asked, before bytes of several sources were mixed in the part. It stays as long as they are there.
    SeveralSources,
}

impl DigestSource {
    /// As the ledger and the API spell it.
    pub fn name(self) -> &'static str {
        match self {
            DigestSource::Caller => "caller",
            DigestSource::Peer => "peer",
            DigestSource::ReprDigest => "repr_digest",
            DigestSource::Asked => "asked",
            DigestSource::SeveralSources => "several_sources",
        }
    }

    /// The source of that name.
    pub fn named(name: &str) -> Option<DigestSource> {
        use DigestSource::{Asked, Caller, Peer, ReprDigest, SeveralSources};
        [Caller, Peer, ReprDigest, Asked, SeveralSources].into_iter().find(|source| source.name() == name)
    }

    /// Returns `true` if it says something of the bytes in the part, and goes with them.
    pub(crate) fn is_of_part(self) -> bool {
        matches!(self, DigestSource::ReprDigest | DigestSource::SeveralSources)
    }

    /// As a text calls it.
    pub fn title(self) -> &'static str {
        match self {
            DigestSource::Caller | DigestSource::Asked | DigestSource::SeveralSources => "the caller",
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

    /// Returns `true` if the caller or a release states it: it vouches for the whole file.
    pub(crate) fn is_given(&self) -> bool {
        self.wanted.is_some() && self.source != DigestSource::ReprDigest
    }

    /// The checksum that the file must have.
    pub fn checksum(&self) -> Option<Checksum> {
        let (algorithm, hex) = (self.algorithm, self.wanted.clone()?);
        Some(Checksum { algorithm, hex })
    }
}
