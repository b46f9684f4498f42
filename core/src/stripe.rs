//! Several connections for one file: pieces by range, put in order in memory, one stream to the pump.
//!
//! Invariant: the pump gets the bytes in order, and every piece was judged as a response to a ranged request is. So part,
//! digests, checkpoints and crash rules are those of one connection; a crash loses at most the bytes that wait in memory.
//!
//! The first piece is the body of the response that began the transfer. The pieces after it are requested by Range and
//! If-Range, so there must be a strong ETag and a known size. A piece reserves its whole size in the [`Window`] before it is
//! requested; the piece at the front needs no reservation, so nothing can wait for itself. An idle connection requests the
//! rest of a front piece that stands still, and half of the largest piece once nothing else is left.
//!
//! If an answer does not fit, striping ends: the bytes up to the first gap are kept, the rest is dropped, and the transfer
//! goes on with one request. It does not decide about attempts ([`bounds`](crate::bounds)).

use crate::error::Error;
use crate::host::{BodyOf, Host};
use crate::http::Head;
use crate::mutex::lock;
use crate::origin::{Extra, Extras};
use crate::record::{Behaviour, Validators};
use crate::resume::{Ask, Held, IfRange, Verdict, verdict};
use crate::time::{Clock, Instant};
use crate::transport::{Body, ByteRange, Chunk, Request, Response, Transport};
use futures::future::{AbortHandle, AbortRegistration, Abortable, Aborted, select};
use futures::stream::{FuturesUnordered, StreamExt};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

/// A piece is what its connection transfers in this time, by its rate so far.
const PIECE_TIME_SECS: u64 = 2;
/// The smallest piece; a piece is not split below twice this.
const LEAST_PIECE_BYTES: u64 = 256 << 10;
/// How often a front piece is looked at while nothing arrives for it.
const TICK: Duration = Duration::from_millis(500);
/// A front piece without data for this long is requested again.
const STALL: Duration = Duration::from_secs(2);
/// So is one that is slower than the average connection by this factor.
const SLOW_FACTOR: u64 = 4;
/// Pieces in a row that may break without progress.
const MOST_BROKEN: u32 = 3;

/// The memory for bytes that wait for their turn, shared by all downloads of an engine.
#[derive(Clone, Debug)]
pub(crate) struct Window(Arc<Mutex<u64>>);

impl Window {
    /// With this many bytes.
    pub(crate) fn new(bytes: u64) -> Window {
        Window(Arc::new(Mutex::new(bytes)))
    }

    fn reserve(&self, bytes: u64) -> bool {
        let mut left = lock(&self.0);
        match left.checked_sub(bytes) {
            Some(rest) => {
                *left = rest;
                true
            }
            None => false,
        }
    }

    fn release(&self, bytes: u64) {
        let mut left = lock(&self.0);
        *left = left.saturating_add(bytes);
    }
}

type KeptOf<H> = <BodyOf<H> as Body>::Kept;

/// What the transfer is, and the limits of its connections.
pub(crate) struct Terms {
    /// The URL of all pieces.
    pub(crate) url: String,
    /// The version, with a strong ETag.
    pub(crate) validators: Validators,
    /// The size of the file in bytes.
    pub(crate) size: u64,
    /// What is known of the source.
    pub(crate) behaviour: Behaviour,
    /// The most connections at once.
    pub(crate) connections: usize,
    /// Connections are added while that helps.
    pub(crate) auto: bool,
    /// Received bytes that count as progress.
    pub(crate) progress_bytes: u64,
    /// Bytes of memory that one connection may reserve.
    pub(crate) share_bytes: u64,
    /// The memory.
    pub(crate) window: Window,
    /// The connections that its origin still takes.
    pub(crate) extras: Extras,
}

/// The pieces of a transfer.
pub(crate) struct Table<'h, H: Host> {
    host: &'h H,
    terms: Terms,
    state: Mutex<State<KeptOf<H>>>,
}

struct State<K> {
    /// Offset of the next byte for the pump.
    at: u64,
    /// In order, without gaps from `at` on.
    pieces: VecDeque<Piece<K>>,
    /// Offset after the last piece.
    planned: u64,
    /// The number of the next piece.
    number: u32,
    /// Rates of idle connections, in bytes per second.
    rates: Vec<u64>,
    /// The rate of an average connection.
    usual: Option<u64>,
    /// Pieces in a row that broke without progress.
    broken: u32,
    /// No further piece is requested: this was in the way.
    ended: Option<Option<Error>>,
    /// Bytes received since `since`.
    received: u64,
    trial: Trial,
}

/// The search for the number of connections that is worth having.
struct Trial {
    allowed: usize,
    settled: bool,
    since: Instant,
    from: u64,
    before: u64,
}

struct Piece<K> {
    number: u32,
    /// Offset of its next byte that is not received.
    next: u64,
    /// Offset after its last byte.
    end: u64,
    /// Received and not yet taken by the pump.
    chunks: VecDeque<K>,
    /// Its share of the window that is still reserved.
    reserved: u64,
    /// The request, while it runs.
    running: Option<AbortHandle>,
    /// Offset of the first byte of this request, and when it was made.
    first: u64,
    since: Instant,
    /// When its last byte was received.
    last: Instant,
    /// Without data for this long at the front, it is requested again.
    patience: Duration,
}

/// How the request of a piece ended.
pub(crate) enum Ended {
    /// All its bytes were received, or another request has the rest.
    Complete,
    /// The answer is not this piece of this version.
    Unfit,
    /// The connection broke.
    Broken(Error),
}

/// The end of a piece, by its number; nothing if it was given up.
pub(crate) type Done = Result<(u32, Ended), Aborted>;

/// What the pump reads from.
pub(crate) enum Feed<'t, H: Host, F> {
    /// One body.
    One(BodyOf<H>),
    /// Several, in order.
    Several(Stripes<'t, H, F>),
}

/// The running requests of a table, whose futures are all of one type, made by `start`.
pub(crate) struct Stripes<'t, H: Host, F> {
    table: &'t Table<'t, H>,
    running: FuturesUnordered<F>,
    start: fn(&'t Table<'t, H>, Start<H>) -> F,
    current: Option<KeptOf<H>>,
}

/// A request to be made.
pub(crate) struct Start<H: Host> {
    number: u32,
    first: u64,
    end: u64,
    /// The body of the first response.
    body: Option<BodyOf<H>>,
    extra: Option<Extra>,
    registration: AbortRegistration,
}

/// The source of a transfer: `body` alone, or with the pieces of a table beside it.
pub(crate) fn feed<'t, H: Host>(
    table: Option<&'t Table<'t, H>>,
    body: BodyOf<H>,
) -> Feed<'t, H, impl Future<Output = Done> + use<'t, H>> {
    match table {
        None => Feed::One(body),
        Some(table) => {
            let mut stripes = Stripes { table, running: FuturesUnordered::new(), start: request, current: None };
            stripes.begin(body);
            Feed::Several(stripes)
        }
    }
}

fn request<'t, H: Host>(table: &'t Table<'t, H>, start: Start<H>) -> impl Future<Output = Done> + use<'t, H> {
    let Start { number, first, end, body, extra, registration } = start;
    let fetched = async move {
        let ended = fetch(table, number, first, end, body).await.unwrap_or_else(|ended| ended);
        drop(extra);
        (number, ended)
    };
    Abortable::new(fetched, registration)
}

impl<H: Host, F: Future<Output = Done>> Feed<'_, H, F> {
    /// Waits for the next chunk, as [`Body::chunk`]. If striping ended early, `None` comes at the first gap.
    ///
    /// # Errors
    /// As [`Body::chunk`]; the error of a piece that broke again and again without progress.
    pub(crate) async fn chunk(&mut self) -> Result<Option<<BodyOf<H> as Body>::Chunk<'_>>, Error> {
        match self {
            Feed::One(body) => body.chunk().await,
            Feed::Several(stripes) => stripes.chunk().await,
        }
    }

    /// Its connections keep to a rate limit by themselves.
    pub(crate) fn is_paced(&self) -> bool {
        matches!(self, Feed::Several(_))
    }
}

/// Receives one piece. `Err` is an early end.
async fn fetch<H: Host>(
    table: &Table<'_, H>,
    number: u32,
    first: u64,
    end: u64,
    body: Option<BodyOf<H>>,
) -> Result<Ended, Ended> {
    let transport = table.host.transport();
    let mut body = match body {
        Some(body) => body,
        None => table.ask(first, end).await?,
    };
    loop {
        let is_complete = match body.chunk().await.map_err(Ended::Broken)? {
            Some(chunk) => {
                transport.pace(chunk.length()).await;
                table.received(number, chunk)
            }
            None => {
                let got = table.next_of(number).unwrap_or(first);
                return Err(Ended::Broken(Error::Incomplete { got, expected: Some(table.terms.size) }));
            }
        };
        if is_complete {
            // A body that is at its end gives its connection back; any other one closes it.
            let _ = futures::poll!(pin!(body.chunk()));
            return Ok(Ended::Complete);
        }
    }
}

impl<'h, H: Host> Table<'h, H> {
    /// A table for a transfer that is at `at`.
    pub(crate) fn new(host: &'h H, terms: Terms, at: u64) -> Self {
        let now = host.clock().now();
        let allowed = if terms.auto { 1 } else { terms.connections };
        let trial = Trial { allowed, settled: !terms.auto, since: now, from: 0, before: 0 };
        let state = State {
            at,
            pieces: VecDeque::new(),
            planned: at,
            number: 0,
            rates: Vec::new(),
            usual: None,
            broken: 0,
            ended: None,
            received: 0,
            trial,
        };
        Table { host, terms, state: Mutex::new(state) }
    }

    /// Returns `true` if an answer ended striping: the rest is to be requested by one request.
    pub(crate) fn ended_early(&self) -> bool {
        matches!(lock(&self.state).ended, Some(None))
    }

    /// Requests the bytes from `first` up to `end`, and judges the answer.
    async fn ask(&self, first: u64, end: u64) -> Result<BodyOf<H>, Ended> {
        let (terms, transport) = (&self.terms, self.host.transport());
        let sends_if_range = transport.rules(&terms.url).if_range && !terms.behaviour.ignores_if_range;
        let if_range = terms.validators.etag.clone().filter(|_| sends_if_range);
        let range = ByteRange { first, last: Some(end.saturating_sub(1)) };
        let asked = Request { url: &terms.url, range: Some(range), if_range: if_range.as_deref() };
        let Response { status, headers, end: body_end, body } = transport.get(asked).await.map_err(Ended::Broken)?;
        let head = Head::read(status, &headers, body_end, self.host.clock().wall());
        let ask = Ask { first, offset: first, if_range: if_range.map(IfRange::ETag) };
        let held = Held {
            offset: first,
            size: Some(terms.size),
            announced: None,
            validators: &terms.validators,
            digests: &[],
            behaviour: &terms.behaviour,
        };
        match verdict(&ask, held, &head) {
            // A source that sends less than was asked for is asked for the rest, as if the connection had broken.
            Verdict::Append { end: got, .. } if got <= end && head.validators.etag == terms.validators.etag => Ok(body),
            _ => Err(Ended::Unfit),
        }
    }

    /// Returns `true` if the next call of [`State::next`] has something for the pump.
    fn has_next(&self) -> bool {
        let state = lock(&self.state);
        state.pieces.front().is_some_and(|piece| !piece.chunks.is_empty() || piece.next >= piece.end)
    }

    fn next_of(&self, number: u32) -> Option<u64> {
        let state = lock(&self.state);
        state.pieces.iter().find(|piece| piece.number == number).map(|piece| piece.next)
    }

    /// Keeps a chunk of a piece. Returns `true` if the piece is complete.
    fn received(&self, number: u32, chunk: <BodyOf<H> as Body>::Chunk<'_>) -> bool {
        let now = self.host.clock().now();
        let mut state = lock(&self.state);
        let State { pieces, received, .. } = &mut *state;
        let Some(piece) = pieces.iter_mut().find(|piece| piece.number == number) else {
            return true;
        };
        let (chunk, _) = chunk.split_at(piece.end.saturating_sub(piece.next));
        let length = chunk.length();
        if length > 0 {
            piece.chunks.push_back(BodyOf::<H>::keep(chunk));
            piece.next = piece.next.saturating_add(length);
            piece.last = now;
            *received = received.saturating_add(length);
        }
        piece.next >= piece.end
    }
}

/// What an idle connection is to request.
struct Assigned {
    number: u32,
    first: u64,
    end: u64,
    registration: AbortRegistration,
}

/// What there is for the pump.
enum Next<K> {
    Chunk(K),
    /// Nothing yet.
    Wait,
    /// The end, or a gap that nobody fills.
    End,
}

impl<K> State<K> {
    fn is_idle(&self, running: usize) -> bool {
        self.ended.is_none() && running < self.trial.allowed
    }

    /// Assigns work to an idle connection: what broke, a front piece that stands still, the next piece, half of another.
    fn assign(&mut self, terms: &Terms, now: Instant) -> Option<Assigned> {
        let broken = self.pieces.iter().position(|piece| piece.running.is_none() && piece.next < piece.end);
        let again = broken.or_else(|| self.stalled_front(now));
        if let Some(index) = again {
            return self.request_again(index, now);
        }
        if self.planned < terms.size {
            return self.next_piece(terms, now);
        }
        self.split(now)
    }

    /// The front, if it has nothing for the pump and is slow or stands still.
    fn stalled_front(&self, now: Instant) -> Option<usize> {
        let piece = self.pieces.front().filter(|piece| piece.running.is_some() && piece.chunks.is_empty())?;
        let stands_still = now.since(piece.last) >= piece.patience;
        let is_old = now.since(piece.since) >= piece.patience;
        let slow = self.usual.is_some_and(|usual| piece.rate(now).saturating_mul(SLOW_FACTOR) < usual);
        (piece.next < piece.end && (stands_still || (is_old && slow))).then_some(0)
    }

    fn request_again(&mut self, index: usize, now: Instant) -> Option<Assigned> {
        let number = self.number();
        let piece = self.pieces.get_mut(index)?;
        let (handle, registration) = AbortHandle::new_pair();
        if let Some(slow) = piece.running.replace(handle) {
            slow.abort();
            piece.patience = piece.patience.saturating_mul(2);
        }
        (piece.number, piece.first, piece.since, piece.last) = (number, piece.next, now, now);
        Some(Assigned { number, first: piece.next, end: piece.end, registration })
    }

    fn next_piece(&mut self, terms: &Terms, now: Instant) -> Option<Assigned> {
        let left = terms.size.saturating_sub(self.planned);
        let connections = self.trial.allowed.max(1) as u64;
        let wanted = match self.rates.pop() {
            Some(rate) => rate.saturating_mul(PIECE_TIME_SECS),
            // Its rate is unknown. If it is slow, others take over the rest.
            None => terms.size.saturating_sub(self.at).div_ceil(connections),
        };
        let bytes = wanted.min(terms.share_bytes).max(LEAST_PIECE_BYTES).min(left);
        // The piece at the front needs no memory.
        let reserved = if self.pieces.is_empty() { 0 } else { bytes };
        if !terms.window.reserve(reserved) {
            return None;
        }
        let first = self.planned;
        self.planned = first.saturating_add(bytes);
        Some(self.insert(self.pieces.len(), first, self.planned, reserved, now))
    }

    /// The second half of the largest piece, if the first half alone takes a while.
    fn split(&mut self, now: Instant) -> Option<Assigned> {
        let left = |piece: &Piece<K>| piece.end.saturating_sub(piece.next);
        let running = self.pieces.iter_mut().enumerate().filter(|(_, piece)| piece.running.is_some());
        let (index, piece) = running.max_by_key(|(_, piece)| left(piece))?;
        let takes = Duration::from_secs(left(piece) / piece.rate(now).max(1));
        if left(piece) < 2 * LEAST_PIECE_BYTES || takes < Duration::from_secs(1) {
            return None;
        }
        let (first, end) = (piece.end.saturating_sub(left(piece) / 2), piece.end);
        piece.end = first;
        let reserved = piece.reserved.min(end.saturating_sub(first));
        piece.reserved = piece.reserved.saturating_sub(reserved);
        Some(self.insert(index.saturating_add(1), first, end, reserved, now))
    }

    fn insert(&mut self, index: usize, first: u64, end: u64, reserved: u64, now: Instant) -> Assigned {
        let (handle, registration) = AbortHandle::new_pair();
        let number = self.number();
        let piece = Piece {
            number,
            next: first,
            end,
            chunks: VecDeque::new(),
            reserved,
            running: Some(handle),
            first,
            since: now,
            last: now,
            patience: STALL,
        };
        self.pieces.insert(index.min(self.pieces.len()), piece);
        Assigned { number, first, end, registration }
    }

    fn number(&mut self) -> u32 {
        self.number = self.number.wrapping_add(1);
        self.number
    }

    /// Takes the next chunk in order.
    fn next(&mut self, terms: &Terms, length: impl Fn(&K) -> u64) -> Next<K> {
        while let Some(piece) = self.pieces.front_mut() {
            if let Some(chunk) = piece.chunks.pop_front() {
                let bytes = length(&chunk);
                let released = piece.reserved.min(bytes);
                piece.reserved = piece.reserved.saturating_sub(released);
                terms.window.release(released);
                self.at = self.at.saturating_add(bytes);
                return Next::Chunk(chunk);
            }
            if piece.next < piece.end {
                let given_up = self.ended.is_some() && piece.running.is_none();
                return if given_up { Next::End } else { Next::Wait };
            }
            terms.window.release(piece.reserved);
            self.pieces.pop_front();
        }
        if self.at >= terms.size || self.ended.is_some() { Next::End } else { Next::Wait }
    }

    fn done(&mut self, terms: &Terms, number: u32, ended: Ended, now: Instant) {
        let Some(index) = self.pieces.iter().position(|piece| piece.number == number) else {
            return;
        };
        let Some(piece) = self.pieces.get_mut(index) else {
            return;
        };
        piece.running = None;
        let progress = piece.next.saturating_sub(piece.first) >= terms.progress_bytes.max(1);
        match ended {
            Ended::Complete => {
                let rate = piece.rate(now);
                self.broken = 0;
                self.rates.push(rate);
                self.usual = Some(self.usual.map_or(rate, |usual| usual / 4 * 3 + rate / 4));
            }
            Ended::Broken(_) if progress => self.broken = 0,
            Ended::Broken(_) if self.broken < MOST_BROKEN => self.broken = self.broken.saturating_add(1),
            Ended::Broken(error) => self.end(terms, index, Some(error)),
            Ended::Unfit => self.end(terms, index, None),
        }
    }

    /// Requests no more: what was received up to the gap in this piece is kept, and all after it is dropped.
    fn end(&mut self, terms: &Terms, index: usize, error: Option<Error>) {
        self.ended.get_or_insert(error);
        while self.pieces.len() > index.saturating_add(1) {
            let Some(piece) = self.pieces.pop_back() else { return };
            terms.window.release(piece.reserved);
            if let Some(running) = piece.running {
                running.abort();
            }
        }
    }

    /// Looks for the number of connections that is worth having: one more as long as that raises the rate by a quarter.
    fn judge_connections(&mut self, most: usize, now: Instant) {
        let trial = &mut self.trial;
        let elapsed = now.since(trial.since);
        if trial.settled || elapsed < STALL {
            return;
        }
        let rate = per_second(self.received.saturating_sub(trial.from), elapsed);
        let helped = trial.before == 0 || rate.saturating_mul(4) >= trial.before.saturating_mul(5);
        if helped && trial.allowed < most {
            trial.allowed = trial.allowed.saturating_add(1);
            trial.before = rate.max(1);
        } else {
            trial.settled = true;
            if !helped {
                trial.allowed = trial.allowed.saturating_sub(1).max(1);
            }
        }
        (trial.since, trial.from) = (now, self.received);
    }
}

impl<K> Piece<K> {
    /// Bytes per second since it was requested.
    fn rate(&self, now: Instant) -> u64 {
        per_second(self.next.saturating_sub(self.first), now.since(self.since))
    }
}

fn per_second(bytes: u64, time: Duration) -> u64 {
    let millis = u64::try_from(time.as_millis()).unwrap_or(u64::MAX).max(1);
    bytes.saturating_mul(1000) / millis
}

impl<H: Host> Drop for Table<'_, H> {
    fn drop(&mut self) {
        for piece in &lock(&self.state).pieces {
            self.terms.window.release(piece.reserved);
        }
    }
}

impl<H: Host, F: Future<Output = Done>> Stripes<'_, H, F> {
    /// Requests nothing yet: the first piece is the beginning of a body that is there.
    fn begin(&mut self, body: BodyOf<H>) {
        let now = self.table.host.clock().now();
        let assigned = lock(&self.table.state).next_piece(&self.table.terms, now);
        if let Some(assigned) = assigned {
            self.start(assigned, Some(body), None);
        }
    }

    fn start(&mut self, assigned: Assigned, body: Option<BodyOf<H>>, extra: Option<Extra>) {
        let Assigned { number, first, end, registration } = assigned;
        let start = Start { number, first, end, body, extra, registration };
        self.running.push((self.start)(self.table, start));
    }

    async fn chunk(&mut self) -> Result<Option<<BodyOf<H> as Body>::Chunk<'_>>, Error> {
        let clock = self.table.host.clock();
        self.current = None;
        loop {
            // All connections are read on, even while there is something for the pump.
            poll_fn(|context| {
                while self.has_ended(context).is_ready() {}
                Poll::Ready(())
            })
            .await;
            self.fill(clock.now());
            let next = lock(&self.table.state).next(&self.table.terms, |kept| BodyOf::<H>::lend(kept).length());
            match next {
                Next::Chunk(kept) => return Ok(Some(BodyOf::<H>::lend(self.current.insert(kept)))),
                Next::End => {
                    return lock(&self.table.state).ended.as_mut().and_then(Option::take).map_or(Ok(None), Err);
                }
                Next::Wait => {}
            }
            let tick = pin!(clock.sleep(TICK));
            let event = pin!(poll_fn(|context| match self.has_ended(context) {
                Poll::Pending if !self.table.has_next() => Poll::Pending,
                _ => Poll::Ready(()),
            }));
            select(event, tick).await;
        }
    }

    /// Polls the requests, and is ready if one of them ended.
    fn has_ended(&mut self, context: &mut Context<'_>) -> Poll<()> {
        match self.running.poll_next_unpin(context) {
            Poll::Ready(Some(Ok((number, ended)))) => {
                let now = self.table.host.clock().now();
                lock(&self.table.state).done(&self.table.terms, number, ended, now);
                Poll::Ready(())
            }
            Poll::Ready(Some(Err(Aborted))) => Poll::Ready(()),
            Poll::Ready(None) | Poll::Pending => Poll::Pending,
        }
    }

    /// Puts idle connections to work.
    fn fill(&mut self, now: Instant) {
        let terms = &self.table.terms;
        lock(&self.table.state).judge_connections(terms.connections, now);
        loop {
            let mut state = lock(&self.table.state);
            if !state.is_idle(self.running.len()) {
                return;
            }
            let extra = match self.running.is_empty() {
                true => None, // the download's own connection
                false => match terms.extras.acquire() {
                    None => return,
                    extra => extra,
                },
            };
            let Some(assigned) = state.assign(terms, now) else {
                return;
            };
            drop(state);
            self.start(assigned, None, extra);
        }
    }
}
