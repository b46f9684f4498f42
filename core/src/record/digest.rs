//! The digests of a download: those it must have, those that were asked for, and what is known of each.

use super::change::Change;
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
        [
            DigestSource::Caller,
            DigestSource::Peer,
            DigestSource::ReprDigest,
            DigestSource::Asked,
        ]
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
    /// Who named it.
    pub source: DigestSource,
    /// What it must be, in lower-case hex; `None` if it was only asked for.
    pub wanted: Option<String>,
    /// The hash of the first bytes of the part.
    #[serde(default)]
    pub state: Option<DigestState>,
    /// What it is, in lower-case hex, once all bytes were hashed.
    #[serde(default)]
    pub got: Option<String>,
}

impl DigestRow {
    /// A digest that the file must have.
    pub fn wanted(checksum: Checksum, source: DigestSource) -> Self {
        DigestRow {
            wanted: Some(checksum.hex),
            source,
            ..DigestRow::asked(checksum.algorithm)
        }
    }

    /// A digest that is to be computed.
    pub fn asked(algorithm: Algorithm) -> Self {
        DigestRow {
            algorithm,
            source: DigestSource::Asked,
            wanted: None,
            state: None,
            got: None,
        }
    }

    /// What the file must have.
    pub fn checksum(&self) -> Option<Checksum> {
        let (algorithm, hex) = (self.algorithm, self.wanted.clone()?);
        Some(Checksum { algorithm, hex })
    }

    /// What a change means for the digests of its row. A database that keeps them in a table of their own calls it, too.
    pub fn apply(rows: &mut Vec<DigestRow>, change: &Change) {
        match change {
            Change::Fresh { kept, stated, .. } => {
                let old = std::mem::take(rows);
                let others = |row: &&DigestRow| row.source != DigestSource::ReprDigest;
                rows.extend(old.iter().filter(others).cloned());
                rows.extend(stated.iter().map(|checksum| stated_row(checksum, &old)));
                for row in rows {
                    row.state = row.state.take().filter(|state| state.offset <= *kept);
                    row.got = None;
                }
            }
            Change::Resumed { stated, .. } => {
                for checksum in stated {
                    let is_stated = |row: &DigestRow| {
                        row.source == DigestSource::ReprDigest
                            && row.algorithm == checksum.algorithm
                    };
                    if !rows.iter().any(is_stated) {
                        rows.push(stated_row(checksum, rows));
                    }
                }
            }
            Change::Checkpoint { digests, .. } => {
                for row in rows {
                    let saved = digests.iter().find(|(name, _)| *name == row.algorithm);
                    if let Some((_, state)) = saved {
                        row.state = Some(state.clone());
                    }
                    row.got = None;
                }
            }
            Change::Restart(_) => {
                rows.retain(|row| row.source != DigestSource::ReprDigest);
                for row in rows {
                    (row.state, row.got) = (None, None);
                }
            }
            Change::Committing { digests, .. } => {
                for row in rows {
                    let got = digests.iter().find(|got| got.algorithm == row.algorithm);
                    row.got = got.map(|got| got.hex.clone());
                }
            }
            Change::Terms(terms) | Change::Moved { terms, .. } => {
                let old = std::mem::take(rows);
                rows.extend(terms.digests.iter().map(|row| like(row.clone(), &old)));
                let stated = |row: &DigestRow| row.source == DigestSource::ReprDigest;
                rows.extend(old.into_iter().filter(stated));
            }
            Change::Claimed(_)
            | Change::Learned(_)
            | Change::AttemptEnded { .. }
            | Change::Waits(_)
            | Change::Queued
            | Change::Completed { .. }
            | Change::Failed(_)
            | Change::Cancelled
            | Change::Retried => {}
        }
    }
}

fn stated_row(checksum: &Checksum, rows: &[DigestRow]) -> DigestRow {
    let row = DigestRow::wanted(checksum.clone(), DigestSource::ReprDigest);
    like(row, rows)
}

/// A row with the state and the result of those of its algorithm.
fn like(row: DigestRow, rows: &[DigestRow]) -> DigestRow {
    let known = rows.iter().find(|known| known.algorithm == row.algorithm);
    DigestRow {
        state: known.and_then(|known| known.state.clone()),
        got: known.and_then(|known| known.got.clone()),
        ..row
    }
}
