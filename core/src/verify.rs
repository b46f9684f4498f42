//! The digests of a file: those it must have are compared with those that were computed.

use crate::checksum::Checksum;
use crate::error::{Error, Failed};
use crate::host::{Host, PartOf};
use crate::job::Job;
use crate::pump::Pump;
use crate::record::{DigestRow, DigestSource};
use crate::store::Part;

/// Refuses two digests of one algorithm that differ, including those that a response states: one of them is wrong.
pub(crate) fn check_digests<H: Host>(job: &Job<'_, H>, stated: &[Checksum]) -> Result<(), Failed> {
    // A digest that an earlier response stated belongs to its version: the file may be another one now.
    let given = job.digests().filter(|row| row.source != DigestSource::ReprDigest);
    let mut known: Vec<(Checksum, DigestSource)> = Vec::new();
    known.extend(given.filter_map(|row| Some((row.checksum()?, row.source))));
    known.extend(stated.iter().filter(|_| job.digests).map(|one| (one.clone(), DigestSource::ReprDigest)));
    for (second, second_source) in &known {
        let same = |(first, _): &&(Checksum, _)| first.algorithm == second.algorithm;
        if let Some((first, first_source)) = known.iter().find(same)
            && first != second
        {
            return Err(Error::DigestConflict {
                first: first.clone(),
                first_source: first_source.title(),
                second: second.clone(),
                second_source: second_source.title(),
            }
            .into());
        }
    }
    Ok(())
}

/// Returns `true` if the part has to be fetched again for a digest that was given after its first bytes: they cannot be read back.
pub(crate) async fn cannot_be_hashed<H: Host>(
    job: &Job<'_, H>,
    part: &mut PartOf<H>,
    offset: u64,
) -> Result<bool, Failed> {
    if part.rules().read_back_bytes >= offset {
        return Ok(false);
    }
    for row in job.digests() {
        let needed = row.is_given();
        let saved = job.row.digest_state(row.algorithm);
        if needed && part.digest(row.algorithm, saved, offset).await?.is_none() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The digests of the part, if they prove that it is the whole file.
pub(crate) async fn proven<H: Host>(
    job: &Job<'_, H>,
    part: &mut PartOf<H>,
    size: u64,
) -> Result<Option<Vec<Checksum>>, Failed> {
    if job.digests().all(|row| row.wanted.is_none()) {
        return Ok(None);
    }
    let digests = Pump::resume(job, part, size).await?.finish();
    let same = |row: &DigestRow| got(&digests, row).map(|got| &got.hex) == row.wanted.as_ref();
    let fits = job.digests().all(|row| row.wanted.is_none() || same(row));
    Ok(fits.then_some(digests))
}

/// Compares the digests of a file with those it must have. Returns `false` if it is to be fetched again from the start: once per
/// download, and only if its bytes are from several responses. A digest that only a response stated is not verified if the bytes
/// cannot be read for it.
///
/// # Errors
/// `DigestMismatch`; `NotResumable` if a digest of the caller could not be computed.
pub(crate) fn verify<H: Host>(job: &Job<'_, H>, digests: &[Checksum]) -> Result<bool, Failed> {
    for row in job.digests() {
        let Some(wanted) = row.checksum() else {
            continue;
        };
        match got(digests, row) {
            Some(got) if got.hex == wanted.hex => {}
            Some(_) if job.row.responses != 1 && !job.row.digest_restarted => return Ok(false),
            Some(got) => return Err(Error::DigestMismatch { wanted, got: got.hex.clone() }.into()),
            None if row.source == DigestSource::ReprDigest => {}
            None => return Err(Error::NotResumable.into()),
        }
    }
    Ok(true)
}

fn got<'d>(digests: &'d [Checksum], row: &DigestRow) -> Option<&'d Checksum> {
    digests.iter().find(|got| got.algorithm == row.algorithm)
}
