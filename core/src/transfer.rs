//! One attempt: from a part on the disk to all of its bytes, or an error.
//!
//! Invariant: before the first byte of a version is written, the ledger knows its validators; a byte is appended only after
//! the verdict (and the comparison, where one is due) said so; at most one restart, whose plain GET belongs to this attempt.
//!
//! It does not decide about further attempts ([`bounds`](crate::bounds)) and gives no file its final name
//! ([`finish`](crate::finish)).

use crate::error::{Error, Failed};
use crate::event::What;
use crate::host::Host;
use crate::http::Head;
use crate::job::{BodyOf, Job, PartOf};
use crate::pump::{Compared, Pump};
use crate::record::{Change, KnownSize, RestartReason, SizeSource};
use crate::resume::{Ask, Held, Plan, Usable, Verdict, plan, usable, verdict, verdict_on_plain};
use crate::store::Part;
use crate::time::Clock;
use crate::transport::{BodyEnd, ByteRange, Request, Response, Transport};

/// The least that is compared of an adopted part.
const ADOPTED_OVERLAP_BYTES: u64 = 65_536;

/// All bytes of a file, counted, in its part.
#[derive(Debug)]
pub(crate) struct Whole {
    /// Size of the file.
    pub(crate) size: u64,
    /// Its digest, where one is computed.
    pub(crate) sha256: Option<String>,
}

/// Where a response led.
enum Step {
    /// To the whole file.
    Whole(Whole),
    /// To nothing: the part is to be discarded, and the whole file asked for.
    StartOver(RestartReason),
}

/// How many bytes of the part are to be kept, or why none.
pub(crate) type Stock = Result<u64, RestartReason>;

/// Counts the part's bytes before the attempt starts, and cuts it back to what is durable if the rest may be lost.
pub(crate) async fn take_stock<H: Host>(
    job: &mut Job<'_, H>,
    part: &mut PartOf<H>,
) -> Result<Stock, Failed> {
    let length = part.length().await?;
    if job.row.new.adopt && job.row.epoch.is_none() && length > 0 {
        adopt(job, part, length).await?;
        return Ok(Ok(length));
    }
    let recorded = job.row.epoch.as_deref();
    let unbroken = recorded.map(|epoch| part.is_of_epoch(epoch));
    match usable(length, job.row.durable, unbroken) {
        Usable::All => Ok(Ok(length)),
        Usable::First(durable) => {
            part.truncate(durable).await?;
            Ok(Ok(durable))
        }
        Usable::None => Ok(Err(RestartReason::PartChanged)),
    }
}

/// Takes up a part of unknown origin: its bytes are made durable and recorded, without a validator, so that nothing is
/// appended before its tail was compared.
async fn adopt<H: Host>(
    job: &mut Job<'_, H>,
    part: &mut PartOf<H>,
    length: u64,
) -> Result<(), Failed> {
    let durable = part.flush().await?;
    job.record(Change::Checkpoint {
        downloaded: length,
        durable,
        epoch: part.epoch(),
        digest: None,
    })
    .await
}

/// Runs one attempt. `stock` is what [`take_stock`] found.
pub(crate) async fn attempt<H: Host>(
    job: &mut Job<'_, H>,
    part: &mut PartOf<H>,
    stock: Stock,
) -> Result<Whole, Failed> {
    let reason = match first_request(job, part, stock).await? {
        Step::Whole(whole) => return Ok(whole),
        Step::StartOver(reason) => reason,
    };
    job.restart(part, reason).await?;
    match plain(job, part).await? {
        Step::Whole(whole) => Ok(whole),
        // A plain GET discards nothing: all its bytes are of one response.
        Step::StartOver(_) => {
            Err(Error::Protocol("a second misfit in one attempt".to_owned()).into())
        }
    }
}

async fn first_request<H: Host>(
    job: &mut Job<'_, H>,
    part: &mut PartOf<H>,
    stock: Stock,
) -> Result<Step, Failed> {
    let offset = match stock {
        Ok(offset) => offset,
        Err(reason) => return Ok(Step::StartOver(reason)),
    };
    let requests = job.host.transport().rules(job.row.new.source.url());
    match plan(held(job, offset), overlap(job), requests, part.rules()) {
        Plan::Plain => plain(job, part).await,
        Plan::Discard(reason) => Ok(Step::StartOver(reason)),
        Plan::Finish => {
            let known = job.row.known_size();
            finish_what_is_there(job, part, offset, known).await
        }
        Plan::Prove(ask) => match proven(job, part, offset).await? {
            Some(whole) => Ok(Step::Whole(whole)),
            None => ranged(job, part, ask).await,
        },
        Plan::Ranged(ask) => ranged(job, part, ask).await,
        Plan::NotResumable => Err(Error::NotResumable.into()),
    }
}

fn held<'j, H: Host>(job: &'j Job<'_, H>, offset: u64) -> Held<'j> {
    Held {
        offset,
        size: job.row.size.map(|size| size.bytes),
        announced: job.row.new.release_size,
        validators: &job.row.validators,
    }
}

/// The part as the whole file, if a digest says so.
async fn proven<H: Host>(
    job: &Job<'_, H>,
    part: &mut PartOf<H>,
    size: u64,
) -> Result<Option<Whole>, Failed> {
    let Some(wanted) = wanted(job).filter(|_| job.digests) else {
        return Ok(None);
    };
    let sha256 = Pump::resume(job, part, size).await?.finish();
    if sha256.as_ref() != Some(wanted) {
        return Ok(None);
    }
    job.emit(headers_event(job.row.known_size(), job.row.mismatch));
    Ok(Some(Whole { size, sha256 }))
}

/// An adopted part is compared even where comparing is turned off: nothing else vouches for it.
fn overlap<H: Host>(job: &Job<'_, H>) -> u64 {
    let configured = job.config.resume_overlap_bytes;
    let adopted = job.row.new.adopt && job.row.responses == 0;
    if adopted {
        configured.max(ADOPTED_OVERLAP_BYTES)
    } else {
        configured
    }
}

/// Asks for the whole file.
async fn plain<H: Host>(job: &mut Job<'_, H>, part: &mut PartOf<H>) -> Result<Step, Failed> {
    let rules = job.host.transport().rules(job.row.new.source.url());
    let (head, body) = send(job, rules.range_always.then_some(0), None).await?;
    match verdict_on_plain(rules, &head) {
        Verdict::Fresh { end, size, restart } => {
            take_fresh(
                job,
                part,
                Answer {
                    head,
                    end,
                    size,
                    restart,
                },
                body,
            )
            .await
        }
        Verdict::Fail(error) => Err(error.into()),
        Verdict::Append { .. } | Verdict::Restart(_) | Verdict::Complete => {
            Err(Error::Protocol("a range where none was asked for".to_owned()).into())
        }
    }
}

/// Asks for the rest.
async fn ranged<H: Host>(
    job: &mut Job<'_, H>,
    part: &mut PartOf<H>,
    ask: Ask,
) -> Result<Step, Failed> {
    // Before the request, so that no connection stands idle while a long part is read again.
    let pump = Pump::resume(job, part, ask.offset).await?;
    let if_range = ask.if_range.as_ref().map(|value| value.value());
    let (head, body) = send(job, Some(ask.first), if_range).await?;
    let from_range = |bytes| KnownSize {
        bytes,
        source: SizeSource::ContentRange,
    };
    match verdict(&ask, held(job, ask.offset), &head) {
        Verdict::Append { end, total } => {
            let size = total.map(from_range);
            check_before_writing(job, &head, size)?;
            append(
                job,
                part,
                pump,
                Range {
                    first: ask.first,
                    end,
                    size,
                    head,
                },
                body,
            )
            .await
        }
        Verdict::Fresh { end, size, restart } => {
            take_fresh(
                job,
                part,
                Answer {
                    head,
                    end,
                    size,
                    restart,
                },
                body,
            )
            .await
        }
        Verdict::Restart(reason) => Ok(Step::StartOver(reason)),
        Verdict::Complete => {
            drop(body);
            let size = Some(from_range(ask.offset));
            finish_what_is_there(job, part, ask.offset, size).await
        }
        Verdict::Fail(error) => Err(error.into()),
    }
}

async fn send<H: Host>(
    job: &Job<'_, H>,
    first: Option<u64>,
    if_range: Option<&str>,
) -> Result<(Head, BodyOf<H>), Failed> {
    let request = Request {
        url: job.row.new.source.url(),
        range: first.map(ByteRange::from),
        if_range,
    };
    let answer = job.host.transport().get(request).await;
    job.note(&answer);
    let Response {
        status,
        headers,
        end,
        body,
    } = answer?;
    let head = Head::read(status, &headers, end, job.host.clock().wall());
    Ok((head, body))
}

/// A response that is the file from its first byte.
struct Answer {
    head: Head,
    end: BodyEnd,
    size: Option<KnownSize>,
    restart: Option<RestartReason>,
}

async fn take_fresh<H: Host>(
    job: &mut Job<'_, H>,
    part: &mut PartOf<H>,
    answer: Answer,
    body: BodyOf<H>,
) -> Result<Step, Failed> {
    let Answer {
        head,
        end,
        size,
        restart,
    } = answer;
    let release = job.row.new.release_size;
    let known = size.or(release.map(|bytes| KnownSize {
        bytes,
        source: SizeSource::ReleaseSize,
    }));
    if known.is_none() && end != BodyEnd::Marked {
        return Err(Error::UnknownSize.into());
    }
    check_before_writing(job, &head, size)?;
    if let Some(reason) = restart {
        job.restart(part, reason).await?;
    }
    let mismatch = mismatches(release, size);
    job.record(Change::Fresh {
        validators: head.validators,
        size,
        mismatch,
        epoch: part.epoch(),
    })
    .await?;
    job.emit(headers_event(known, mismatch));
    if let Some(size) = size {
        part.reserve(size.bytes).await?;
    }
    let pump = Pump::resume(job, part, 0).await?;
    let (end, ends_file) = match end {
        BodyEnd::Length(bytes) => (Some(bytes), false),
        BodyEnd::Marked => (None, true),
        BodyEnd::Unmarked => (None, false),
    };
    let sha256 = pump.append(job, part, body, end).await?;
    whole(job, part, End { size, ends_file }, sha256).await
}

/// What a transfer says about the end of the file.
struct End {
    /// Its size, by a header.
    size: Option<KnownSize>,
    /// A last chunk was received: the file ends there.
    ends_file: bool,
}

/// A response whose body goes on where the part ends, after the bytes from `first` on were compared.
struct Range {
    first: u64,
    end: u64,
    size: Option<KnownSize>,
    head: Head,
}

async fn append<H: Host>(
    job: &mut Job<'_, H>,
    part: &mut PartOf<H>,
    pump: Pump<H>,
    range: Range,
    body: BodyOf<H>,
) -> Result<Step, Failed> {
    let Range {
        first,
        end,
        size,
        head,
    } = range;
    let mismatch = mismatches(job.row.new.release_size, size);
    let size = job.row.size.or(size);
    // A size that the part has already would complete it at the next attempt, also where this comparison is cut short.
    let recorded = size.filter(|size| size.bytes > pump.offset());
    job.record(Change::Resumed {
        size: recorded,
        mismatch,
        sha256: head.validators.sha256,
        epoch: part.epoch(),
    })
    .await?;
    job.emit(headers_event(
        size.or(job.row.known_size()),
        job.row.mismatch,
    ));
    if let Some(size) = size {
        part.reserve(size.bytes).await?;
    }
    let compared = pump
        .compare_then_append(job, part, body, first, end)
        .await?;
    let ends_file = false; // the end of one range of an unknown whole
    match compared {
        Compared::Equal(sha256) => whole(job, part, End { size, ends_file }, sha256).await,
        Compared::Different => Ok(Step::StartOver(RestartReason::OverlapMismatch)),
    }
}

/// All that moved, held against the size and the digest.
///
/// The transfer counts. The size that the release announced only proves an end that nothing in the transfer marks; it
/// never cuts a body, so one that goes on beyond it is not complete.
async fn whole<H: Host>(
    job: &Job<'_, H>,
    part: &mut PartOf<H>,
    end: End,
    sha256: Option<String>,
) -> Result<Step, Failed> {
    // What the part holds, not what was meant to be written, is what counts.
    let got = part.length().await?;
    let release = job.row.new.release_size;
    let expected = match end.size {
        Some(size) => Some(size.bytes),
        None if end.ends_file => Some(got),
        None => release,
    };
    if end.size.is_some_and(|size| size.bytes < got) {
        let why = "the body is longer than its Content-Range says".to_owned();
        return Err(Error::Protocol(why).into());
    }
    if expected != Some(got) {
        let expected = expected.filter(|&expected| expected > got);
        return Err(Error::Incomplete { got, expected }.into());
    }
    if end.size.is_none() && release.is_some_and(|release| release != got) {
        job.emit(What::Headers {
            expected_bytes: Some(got),
            source: None,
            mismatch: true,
        });
    }
    verify(job, got, sha256)
}

/// All bytes are there without another one from the source.
async fn finish_what_is_there<H: Host>(
    job: &mut Job<'_, H>,
    part: &mut PartOf<H>,
    size: u64,
    known: Option<KnownSize>,
) -> Result<Step, Failed> {
    let mismatch = job.row.mismatch || mismatches(job.row.new.release_size, known);
    job.emit(headers_event(known, mismatch));
    let sha256 = Pump::resume(job, part, size).await?.finish();
    verify(job, size, sha256)
}

/// Holds the file against the digest it must have. Where its bytes came in several responses a mismatch is worth one more
/// try from the start, ever.
fn verify<H: Host>(job: &Job<'_, H>, size: u64, sha256: Option<String>) -> Result<Step, Failed> {
    match (&sha256, wanted(job)) {
        (Some(got), Some(wanted)) if got != wanted => {
            if job.row.responses != 1 && !job.row.digest_restarted {
                return Ok(Step::StartOver(RestartReason::DigestMismatch));
            }
            Err(Error::DigestMismatch {
                wanted: wanted.clone(),
                got: got.clone(),
            }
            .into())
        }
        _ => Ok(Step::Whole(Whole { size, sha256 })),
    }
}

/// The digest that the file must have.
fn wanted<'j, H: Host>(job: &'j Job<'_, H>) -> Option<&'j String> {
    let stated = job.row.validators.sha256.as_ref();
    job.row.new.sha256.as_ref().or(stated)
}

/// Refuses what is too large, and what its source says is another file than the one that was asked for, before a byte of it
/// is written or one of the part is discarded.
fn check_before_writing<H: Host>(
    job: &Job<'_, H>,
    head: &Head,
    size: Option<KnownSize>,
) -> Result<(), Failed> {
    let limit = job.config.max_download_bytes;
    if let Some(size) = size.filter(|size| size.bytes > limit) {
        return Err(Error::TooLarge {
            bytes: size.bytes,
            limit,
        }
        .into());
    }
    match (&job.row.new.sha256, &head.validators.sha256) {
        (Some(wanted), Some(stated)) if job.digests && wanted != stated => {
            Err(Error::DigestConflict {
                first: wanted.clone(),
                first_source: "the caller or the release",
                second: stated.clone(),
                second_source: "Repr-Digest",
            }
            .into())
        }
        _ => Ok(()),
    }
}

fn mismatches(release: Option<u64>, size: Option<KnownSize>) -> bool {
    matches!((release, size), (Some(release), Some(size)) if release != size.bytes)
}

fn headers_event(known: Option<KnownSize>, mismatch: bool) -> What {
    let (expected_bytes, source) = (
        known.map(|known| known.bytes),
        known.map(|known| known.source),
    );
    What::Headers {
        expected_bytes,
        source,
        mismatch,
    }
}
