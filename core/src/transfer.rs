//! One attempt: from a part to all bytes of the file, or an error.
//!
//! Invariant: before the first byte of a version is written, the ledger knows its validators; a byte is appended only after
//! the verdict (and the comparison, if one is due) allows it; an attempt makes at most two requests after its first.
//!
//! It does not decide about further attempts ([`bounds`](crate::bounds)) and gives no file its final name
//! ([`finish`](crate::finish)).

use crate::calls;
use crate::checksum::Checksum;
use crate::error::{Error, Failed};
use crate::event::{What, without_query};
use crate::host::{BodyOf, Host, PartOf, unless_alone};
use crate::http::Head;
use crate::job::Job;
use crate::pump::{Pump, Pumped};
use crate::record::{Behaviour, Change, DigestRow, KnownSize, RestartReason, SizeSource, Validators};
use crate::resume::{
    Ask, Held, Plan, Usable, Verdict, is_held_version, is_odd_page, is_unproven, plan, stored_as_sent, usable, verdict,
    verdict_on_plain,
};
use crate::sources::{drop_liars, table};
use crate::store::Part;
use crate::stripe::feed;
use crate::taking::{Differing, Taking, another_file, believe, check_candidate, headers_event, mismatches};
use crate::time::Clock;
use crate::transport::{BodyEnd, ByteRange, Request, Response, Transport};
use crate::verify::{cannot_be_hashed, check_digests, proven, verify};
use futures::future::{Either, select};
use std::future::Future;
use std::pin::{Pin, pin};
use std::time::Duration;

/// The shortest comparison if nothing else vouches for the bytes of a part: an adopted one, or one for another URL.
const LEAST_OVERLAP_BYTES: u64 = 65_536;
/// The longest comparison if the last bytes of the part are all the same.
const WIDEST_OVERLAP_BYTES: u64 = 16 << 20;
/// The number of requests of one attempt after its first.
const EXTRA_REQUESTS: u32 = 2;

/// All bytes of a file, counted, in its part.
#[derive(Debug)]
pub(crate) struct Whole {
    /// Size of the file.
    pub(crate) size: u64,
    /// The digests that were computed.
    pub(crate) digests: Vec<Checksum>,
}

/// The result of a response.
enum Step {
    /// The part is the whole file.
    Whole(Whole),
    /// Another request follows.
    Ask(Next),
}

/// What to request next.
enum Next {
    /// The rest.
    Rest(Ask),
    /// The whole file. The reason applies if it differs from the part. The error is the one that a range was refused with.
    Whole(RestartReason, Option<Failed>),
    /// The whole file, after the part was discarded.
    StartOver(RestartReason),
}

/// The number of bytes of the part that are kept, or why none is.
pub(crate) type Stock = Result<u64, RestartReason>;

/// Counts the bytes of the part before an attempt, and cuts it back to the durable offset if the rest may be lost.
pub(crate) async fn take_stock<H: Host>(job: &mut Job<'_, H>, part: &mut PartOf<H>) -> Result<Stock, Failed> {
    let length = calls::length(part).await?;
    if job.row.new.adopt && job.row.epoch.is_none() && length > 0 {
        adopt(job, part, length).await?;
        return Ok(Ok(length));
    }
    if job.row.epoch.is_none() && job.row.restarts > 0 {
        // Left of bytes that are recorded as discarded.
        calls::truncate(part, 0).await?;
        return Ok(Ok(0));
    }
    let recorded = job.row.epoch.as_deref();
    let unbroken = recorded.map(|epoch| part.is_of_epoch(epoch));
    match usable(length, job.row.durable, unbroken) {
        Usable::All => Ok(Ok(length)),
        Usable::First(durable) => {
            calls::truncate(part, durable).await?;
            Ok(Ok(durable))
        }
        Usable::None => Ok(Err(RestartReason::PartChanged)),
    }
}

/// Adopts a part of unknown origin: makes its bytes durable and records them without a validator, so that nothing is appended
/// before its tail was compared.
async fn adopt<H: Host>(job: &mut Job<'_, H>, part: &mut PartOf<H>, length: u64) -> Result<(), Failed> {
    let durable = calls::flush(part).await?;
    job.checkpoint(part, length, durable, Vec::new()).await
}

/// Runs one attempt. `stock` is what [`take_stock`] found.
pub(crate) async fn attempt<H: Host>(
    job: &mut Job<'_, H>,
    part: &mut PartOf<H>,
    stock: Stock,
) -> Result<Whole, Failed> {
    check_digests(job, &[])?;
    let mut step = match stock {
        Ok(offset) if cannot_be_hashed(job, part, offset).await? => {
            whole_or_over(Plan::compared(RestartReason::PartChanged, part.rules()), None)?;
            Step::Ask(Next::StartOver(RestartReason::PartChanged))
        }
        Ok(offset) => first_step(job, part, offset).await?,
        Err(reason) => Step::Ask(Next::StartOver(reason)),
    };
    // One more than the extra requests, for the first one.
    for _ in 0..=EXTRA_REQUESTS {
        let next = match step {
            Step::Whole(whole) => return Ok(whole),
            Step::Ask(next) => next,
        };
        let (reason, refused) = match next {
            Next::Rest(ask) => {
                step = rest(job, part, ask).await?;
                continue;
            }
            Next::Whole(reason, refused) => (reason, refused),
            Next::StartOver(reason) => {
                job.restart(part, reason).await?;
                (reason, None)
            }
        };
        step = whole_file(job, part, reason, refused).await?;
    }
    match step {
        Step::Whole(whole) => Ok(whole),
        // What was learned from the responses is recorded; the next attempt continues from there.
        Step::Ask(_) => {
            let got = calls::length(part).await?;
            Err(Error::Incomplete { got, expected: job.row.known_size().map(|size| size.bytes) }.into())
        }
    }
}

async fn first_step<H: Host>(job: &mut Job<'_, H>, part: &mut PartOf<H>, offset: u64) -> Result<Step, Failed> {
    let requests = job.host.transport().rules(job.url());
    let planned = plan(held(job, offset), overlap(job), requests, part.rules());
    let next = match planned {
        Plan::Plain => Next::Whole(RestartReason::RangeIgnored, None),
        Plan::Full(reason) => Next::Whole(reason, None),
        Plan::Discard(reason) => Next::StartOver(reason),
        Plan::Finish => {
            job.take_terms_of_candidate().await?;
            return finish_what_is_there(job, part, offset, job.row.known_size()).await;
        }
        Plan::Prove(ask) => {
            if let Some(digests) = proven(job, part, offset).await? {
                job.emit(headers_event(job.row.known_size(), job.row.mismatch));
                job.take_terms_of_candidate().await?;
                return Ok(Step::Whole(Whole { size: offset, digests }));
            }
            if job.candidate.is_none() && job.row.behaviour.refuses_ranges {
                Next::Whole(RestartReason::RangeRefused, None)
            } else if is_unproven(&job.row.validators, overlap(job)) {
                Next::Whole(RestartReason::OverlapMismatch, None)
            } else {
                Next::Rest(ask)
            }
        }
        Plan::Ranged(ask) => Next::Rest(ask),
        Plan::NotResumable => return Err(Error::NotResumable.into()),
    };
    Ok(Step::Ask(match next {
        Next::Rest(ask) => widened::<H>(part, ask).await?,
        next => next,
    }))
}

/// Nothing is known yet about a URL with another path.
static NO_VALIDATORS: Validators =
    Validators { etag: None, last_modified: None, last_modified_strong: false, content_type: None };
static NO_BEHAVIOUR: Behaviour = Behaviour { ignores_if_range: false, refuses_ranges: false, shrunk: None };

/// The held data that the response of the current URL may be compared with.
fn held<'j, H: Host>(job: &'j Job<'_, H>, offset: u64) -> Held<'j> {
    let of_row = Held {
        offset,
        size: job.row.size.map(|size| size.bytes),
        announced: job.row.new.release_size,
        validators: &job.row.validators,
        digests: &job.row.digests,
        behaviour: &job.row.behaviour,
    };
    match &job.candidate {
        None => of_row,
        Some(candidate) if candidate.same_path => Held { behaviour: &NO_BEHAVIOUR, ..of_row },
        Some(_) => Held {
            size: None,
            announced: None,
            validators: &NO_VALIDATORS,
            digests: &[],
            behaviour: &NO_BEHAVIOUR,
            ..of_row
        },
    }
}

/// The length of the comparison. An adopted part and one for another URL are compared even if comparing is turned off: nothing
/// else vouches for them.
fn overlap<H: Host>(job: &Job<'_, H>) -> u64 {
    let configured = job.config.resume_overlap_bytes;
    let adopted = job.row.new.adopt && job.row.responses == 0;
    if adopted || job.candidate.is_some() { configured.max(LEAST_OVERLAP_BYTES) } else { configured }
}

/// Extends a comparison that alone vouches for the part until its bytes are not one repeated byte: other files have that, too.
async fn widened<H: Host>(part: &mut PartOf<H>, ask: Ask) -> Result<Next, Failed> {
    let Ask { first, offset, .. } = ask;
    if ask.if_range.is_some() || first == offset {
        return Ok(Next::Rest(ask));
    }
    let mut first = first;
    let floor = WIDEST_OVERLAP_BYTES.min(part.rules().read_back_bytes);
    let floor = offset.saturating_sub(floor).min(first);
    while part.is_uniform(first, offset).await? {
        if first == floor {
            return match Plan::compared(RestartReason::OverlapMismatch, part.rules()) {
                Plan::Full(reason) => Ok(Next::Whole(reason, None)),
                _ => Err(Error::NotResumable.into()),
            };
        }
        first = offset.saturating_sub((offset - first).saturating_mul(4)).max(floor);
    }
    Ok(Next::Rest(Ask { first, ..ask }))
}

/// Requests the whole file and compares it with the part. If a range was `refused` before, a client that sends a range with every
/// request sends none.
async fn whole_file<H: Host>(
    job: &mut Job<'_, H>,
    part: &mut PartOf<H>,
    reason: RestartReason,
    refused: Option<Failed>,
) -> Result<Step, Failed> {
    let offset = calls::length(part).await?;
    let requests = job.host.transport().rules(job.url());
    let bare = refused.is_some() || { offset > 0 && job.candidate.is_none() && job.row.behaviour.refuses_ranges };
    let range = (requests.range_always && !bare).then_some(0);
    let (head, body) = send(job, range, None).await?;
    let verdict = verdict_on_plain(requests, bare, held(job, offset), &head, reason);
    let (taken, knows_ranges) = match verdict {
        Verdict::Full { end, size, reason } => {
            let answer = Answer { head, end, size, reason };
            if refused.is_some() {
                refuses_ranges(job, true).await?;
            }
            let taken = full(job, part, offset, answer, body).await;
            // If it broke before the end of the part, the next attempt tries a range again.
            let broke = taken.is_err() && bare && calls::length(part).await? == offset;
            (taken, broke)
        }
        // `fetch` may have undone a coding, or the known length is that of another version: ranges are tried again, and after
        // a 416, which shows that the source knows them, at once.
        Verdict::Fail(error) if bare && requests.range_always && head.status == 200 => match refused.as_deref() {
            Some(Error::Status { status: 416, .. }) => (Ok(Step::Ask(Next::Whole(reason, None))), true),
            _ => (Err(error.into()), true),
        },
        Verdict::Fail(error) => return Err(error.into()),
        Verdict::Append { .. } | Verdict::IgnoredIfRange { .. } | Verdict::AskWhole { .. } | Verdict::Complete => {
            return Err(Error::Protocol("a range where none was asked for".to_owned()).into());
        }
    };
    if knows_ranges {
        refuses_ranges(job, false).await?;
    }
    taken
}

async fn refuses_ranges<H: Host>(job: &mut Job<'_, H>, refuses: bool) -> Result<(), Failed> {
    if job.candidate.is_some() || job.row.behaviour.refuses_ranges == refuses {
        return Ok(());
    }
    let behaviour = Behaviour { refuses_ranges: refuses, ..job.row.behaviour.clone() };
    job.record(Change::Learned(behaviour)).await
}

/// Requests the rest.
async fn rest<H: Host>(job: &mut Job<'_, H>, part: &mut PartOf<H>, ask: Ask) -> Result<Step, Failed> {
    // Before the request, so that no connection is idle while a long part is read again.
    let pump = Pump::resume(job, part, ask.offset).await?;
    let if_range = ask.if_range.as_ref().map(|value| value.value());
    let (head, body) = send(job, Some(ask.first), if_range).await?;
    let from_range = |bytes| KnownSize { bytes, source: SizeSource::ContentRange };
    let verdict = verdict(&ask, held(job, ask.offset), &head);
    let taking = match verdict {
        Verdict::Append { end, total } => {
            let size = total.map(from_range);
            check_before_writing(job, &head, size)?;
            check_candidate(job, ask.offset, total, &head.stated)?;
            Taking {
                first: ask.first,
                end: Some(end),
                marked: false, // the end of one range of an unknown whole
                compare: true,
                differing: on_difference(job, Differing::AskWhole),
                validators: head.validators,
                stated: head.stated,
                size,
            }
        }
        Verdict::Full { end, size, reason } => {
            let answer = Answer { head, end, size, reason };
            return full(job, part, ask.offset, answer, body).await;
        }
        Verdict::IgnoredIfRange { .. } if part.rules().read_back_bytes >= ask.offset => {
            drop(body);
            if job.candidate.is_none() {
                let behaviour = Behaviour { ignores_if_range: true, ..job.row.behaviour.clone() };
                job.record(Change::Learned(behaviour)).await?;
            }
            return Ok(Step::Ask(Next::Rest(Ask { if_range: None, ..ask })));
        }
        Verdict::IgnoredIfRange { end, size } => {
            let (end, marked) = ends(end);
            Taking {
                first: 0,
                end,
                marked,
                compare: false,
                differing: Differing::AskWhole,
                validators: head.validators,
                stated: head.stated,
                size,
            }
        }
        Verdict::AskWhole { reason, refused } => {
            drop(body);
            let known = job.row.size.is_some() || job.row.new.release_size.is_some();
            let requests = job.host.transport().rules(job.url());
            let refused = match refused.map(Failed::from) {
                // Without a range, `fetch` may change the bytes: only a known size could show it.
                Some(_) if requests.range_always && !known && head.status == 416 => None,
                Some(error) if requests.range_always && !known => return Err(error),
                refused => refused,
            };
            let plan = match refused {
                Some(_) => Plan::refused(reason, part.rules(), &job.row.validators),
                None => Plan::compared(reason, part.rules()),
            };
            return whole_or_over(plan, refused);
        }
        Verdict::Complete => {
            drop(body);
            let size = Some(from_range(ask.offset));
            let validators = job.row.validators.clone();
            job.move_to_candidate(validators).await?;
            return finish_what_is_there(job, part, ask.offset, size).await;
        }
        Verdict::Fail(error) => return Err(error.into()),
    };
    take_up(job, part, pump, body, taking).await
}

/// Requests the whole file next, if it is of use: to compare it with the part, or to replace the part if it cannot be compared.
fn whole_or_over(plan: Plan, refused: Option<Failed>) -> Result<Step, Failed> {
    match plan {
        Plan::Full(reason) => Ok(Step::Ask(Next::Whole(reason, refused))),
        _ => Err(refused.unwrap_or_else(|| Error::NotResumable.into())),
    }
}

async fn send<H: Host>(
    job: &mut Job<'_, H>,
    first: Option<u64>,
    if_range: Option<&str>,
) -> Result<(Head, BodyOf<H>), Failed> {
    let (transport, clock) = (job.host.transport(), job.host.clock());
    let url = job.url().to_owned();
    let request = Request { url: &url, range: first.map(ByteRange::from), if_range };
    let mut answer = pin!(transport.get(request));
    let answer = match job.pending_left(clock.now()) {
        Some(left) => unless_alone::<H, _>(recorded_after(job, left, answer.as_mut())).await?,
        None => answer.await,
    };
    job.note(&answer);
    let Response { status, headers, end, body } = answer?;
    let mut head = Head::read(status, &headers, end, job.host.clock().wall());
    if !transport.rules(job.url()).decodes && wants_coded(job, &head) {
        head.coding = None; // the coded bytes are the file
    }
    Ok((head, body))
}

/// Records what is pending if the answer takes longer than `left`.
async fn recorded_after<H: Host, A: Future>(
    job: &mut Job<'_, H>,
    left: Duration,
    mut answer: Pin<&mut A>,
) -> Result<A::Output, Failed> {
    match select(answer.as_mut(), pin!(job.host.clock().sleep(left))).await {
        Either::Left((answer, _)) => Ok(answer),
        Either::Right(_) => {
            job.record_pending().await?;
            Ok(answer.await)
        }
    }
}

/// Returns `true` if the coding of a response belongs to the file, according to its name or to a size or digest of the caller.
fn wants_coded<H: Host>(job: &Job<'_, H>, head: &Head) -> bool {
    let Some(coding) = &head.coding else {
        return false;
    };
    let path = without_query(job.url());
    let announced = job.row.new.release_size;
    let has_size = announced.is_some() && head.end == announced.map(BodyEnd::Length).ok_or_else(String::new);
    has_size || job.digests().any(DigestRow::is_given) || stored_as_sent(coding, [job.file_name(), path])
}

/// A response with the file from its first byte.
struct Answer {
    head: Head,
    end: BodyEnd,
    size: Option<KnownSize>,
    reason: RestartReason,
}

/// Uses a full response: compares it with the `offset` bytes of the part, and continues with it where they differ.
async fn full<H: Host>(
    job: &mut Job<'_, H>,
    part: &mut PartOf<H>,
    offset: u64,
    answer: Answer,
    body: BodyOf<H>,
) -> Result<Step, Failed> {
    let Answer { head, end, size, reason } = answer;
    if size.is_none() && job.row.new.release_size.is_none() && end != BodyEnd::Marked {
        return Err(Error::UnknownSize.into());
    }
    check_before_writing(job, &head, size)?;
    if offset > 0 {
        let bytes = size.map(|size| size.bytes);
        check_candidate(job, offset, bytes, &head.stated)?;
    }
    let mut compare = true;
    if offset > 0 {
        believe(job, offset, &head.validators, size.map(|size| size.bytes)).await?;
        let readable = part.rules().read_back_bytes >= offset;
        compare = part.rules().truncate;
        let is_same = || job.candidate.is_none() && is_held_version(held(job, offset), &head, size);
        if (!compare && !is_same()) || (!readable && job.candidate.is_some()) {
            return Err(Error::NotResumable.into());
        }
    } else if is_odd_page(head.validators.content_type.as_deref(), job.file_name()) {
        let content_type = head.validators.content_type.clone().unwrap_or_default();
        job.warning = Some(Error::UnexpectedPage { content_type });
    }
    let pump = Pump::at(job, offset);
    let (end, marked) = ends(end);
    let taking = Taking {
        first: 0,
        end,
        marked,
        compare,
        differing: on_difference(job, Differing::Cut(reason)),
        validators: head.validators,
        stated: head.stated,
        size,
    };
    take_up(job, part, pump, body, taking).await
}

/// The offset after the last byte, if it is known, and whether a mark ends the body.
fn ends(end: BodyEnd) -> (Option<u64>, bool) {
    match end {
        BodyEnd::Length(bytes) => (Some(bytes), false),
        BodyEnd::Marked => (None, true),
        BodyEnd::Unmarked => (None, false),
    }
}

/// The response of a URL with another path must have the same bytes.
fn on_difference<H: Host>(job: &Job<'_, H>, usual: Differing) -> Differing {
    match &job.candidate {
        Some(candidate) if !candidate.same_path => Differing::GiveUp,
        _ => usual,
    }
}

async fn take_up<H: Host>(
    job: &mut Job<'_, H>,
    part: &mut PartOf<H>,
    pump: Pump<H>,
    body: BodyOf<H>,
    taking: Taking,
) -> Result<Step, Failed> {
    let end = End { size: taking.size, ends_file: taking.marked };
    let differing = taking.differing;
    let table = table(job, &taking, pump.offset);
    let pumped = pump.run(job, part, feed(table.as_ref(), body), taking).await;
    if !H::ALONE
        && let Some(table) = &table
    {
        drop_liars(job, table.liars()).await?;
    }
    let pumped = pumped?;
    let ended_early = table.is_some_and(|table| table.ended_early());
    match pumped {
        Pumped::All(_) if ended_early => {
            job.one_connection = true;
            let offset = calls::length(part).await?;
            first_step(job, part, offset).await
        }
        Pumped::All(digests) => whole(job, part, end, digests).await,
        Pumped::Different if differing == Differing::GiveUp => Err(another_file(job).into()),
        Pumped::Different => whole_or_over(Plan::compared(RestartReason::OverlapMismatch, part.rules()), None),
    }
}

/// What a transfer states about the end of the file.
struct End {
    /// Its size, from a header.
    size: Option<KnownSize>,
    /// The transport marked the end of the body: the file ends there.
    ends_file: bool,
}

/// Checks the transferred file against its size and digests.
///
/// The transfer counts. The size that the release announced only proves an end that nothing in the transfer marks; it
/// never cuts a body, so one that goes on beyond it is not complete.
async fn whole<H: Host>(
    job: &Job<'_, H>,
    part: &mut PartOf<H>,
    end: End,
    digests: Vec<Checksum>,
) -> Result<Step, Failed> {
    // The length of the part counts, not the number of bytes written.
    let got = calls::length(part).await?;
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
        job.emit(What::Headers { expected_bytes: Some(got), source: None, mismatch: true });
    }
    checked(job, got, digests)
}

/// Finishes a file whose bytes are all there, without a request.
async fn finish_what_is_there<H: Host>(
    job: &mut Job<'_, H>,
    part: &mut PartOf<H>,
    size: u64,
    known: Option<KnownSize>,
) -> Result<Step, Failed> {
    let mismatch = job.row.mismatch || mismatches(job.row.new.release_size, known);
    job.emit(headers_event(known, mismatch));
    let digests = Pump::resume(job, part, size).await?.finish();
    checked(job, size, digests)
}

/// The file, or a request for all of it if it has the wrong digest.
fn checked<H: Host>(job: &Job<'_, H>, size: u64, digests: Vec<Checksum>) -> Result<Step, Failed> {
    Ok(match verify(job, &digests)? {
        true => Step::Whole(Whole { size, digests }),
        false => Step::Ask(Next::StartOver(RestartReason::DigestMismatch)),
    })
}

/// Refuses a file that is too large or whose stated digest shows that it is another one, before a byte of it is written or one of
/// the part is discarded.
fn check_before_writing<H: Host>(job: &Job<'_, H>, head: &Head, size: Option<KnownSize>) -> Result<(), Failed> {
    let limit = job.config.max_download_bytes;
    if let Some(size) = size.filter(|size| size.bytes > limit) {
        return Err(Error::TooLarge { bytes: size.bytes, limit }.into());
    }
    check_digests(job, &head.stated)
}
