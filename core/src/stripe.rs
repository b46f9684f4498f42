//! Several connections for one file: pieces by range, put in order in memory, one stream to the pump.
//!
//! Invariant: the pump gets the bytes in order, and every piece was judged as a response to a ranged request is. So part,
//! digests, checkpoints and crash rules are those of one connection; a crash loses at most the bytes that wait in memory.
//!
//! The first piece is the body of the response that began the transfer. The pieces after it are requested by Range and
//! If-Range, so there must be a strong ETag and a known size. [`pieces`](crate::pieces) decides which they are.
//!
//! If no answer of any source fits, striping ends: the bytes up to the first gap are kept, the rest is dropped, and the transfer
//! goes on with one request. Bytes of a source other than the first are proven only by a digest of the whole file: the pump
//! records that before it writes the first of them. It does not decide about attempts ([`bounds`](crate::bounds)).

use crate::classify::is_transient;
use crate::error::Error;
use crate::host::{BodyOf, Host};
use crate::http::{ContentRange, Head, is_strong_etag};
use crate::mutex::lock;
use crate::origin::Extra;
use crate::pieces::{Assigned, Ended, Mixture, Next, PieceSource, State, Terms};
use crate::resume::{Ask, Held, IfRange, Verdict, verdict};
use crate::time::{Clock, Instant};
use crate::transport::{Body, BodyEnd, ByteRange, Chunk, Request, Response, Transport};
use futures::future::{Abortable, Aborted, select};
use futures::stream::{FuturesUnordered, StreamExt};
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Mutex;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

/// How often a front piece is looked at while nothing arrives for it.
const TICK: Duration = Duration::from_millis(500);

type KeptOf<H> = <BodyOf<H> as Body>::Kept;

/// The pieces of a transfer.
pub(crate) struct Table<'h, H: Host> {
    host: &'h H,
    terms: Terms,
    state: Mutex<State<KeptOf<H>>>,
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
    assigned: Assigned,
    /// The body of the first response.
    body: Option<BodyOf<H>>,
    extra: Option<Extra>,
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
    let Start { assigned: Assigned { number, source, first, end, registration }, body, extra } = start;
    let fetched = async move {
        let ended = fetch(table, (number, source), first, end, body).await.unwrap_or_else(|ended| ended);
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
}

impl<'t, H: Host, F> Feed<'t, H, F> {
    /// The table of its pieces, if it has several. Its connections keep to a rate limit by themselves.
    pub(crate) fn table(&self) -> Option<&'t Table<'t, H>> {
        match self {
            Feed::One(_) => None,
            Feed::Several(stripes) => Some(stripes.table),
        }
    }
}

/// Receives one piece. `Err` is an early end.
async fn fetch<H: Host>(
    table: &Table<'_, H>,
    (number, source): (u32, usize),
    first: u64,
    end: u64,
    body: Option<BodyOf<H>>,
) -> Result<Ended, Ended> {
    let transport = table.host.transport();
    let mut body = match body {
        Some(body) => body,
        None => table.ask(source, first, end).await?,
    };
    loop {
        poll_fn(|context| lock(&table.state).poll_room(number, context)).await;
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
        let state = Mutex::new(State::new(&terms, at, host.clock().now()));
        Table { host, terms, state }
    }

    /// How the bytes that the pump got so far are mixed.
    pub(crate) fn mixture(&self) -> Mixture {
        lock(&self.state).mixture
    }

    /// The sources whose answers show that they do not serve the file, and what shows it.
    pub(crate) fn liars(&self) -> Vec<(String, Error)> {
        let mut state = lock(&self.state);
        let found = self.terms.sources.iter().zip(&mut state.sources).skip(1);
        found.filter_map(|(source, state)| Some((source.url.clone(), state.lie.take()?))).collect()
    }

    /// Returns `true` if an answer ended striping: the rest is to be requested by one request.
    pub(crate) fn ended_early(&self) -> bool {
        lock(&self.state).ended_early(&self.terms)
    }

    /// Requests the bytes from `first` up to `end`, and judges the answer.
    async fn ask(&self, source: usize, first: u64, end: u64) -> Result<BodyOf<H>, Ended> {
        let (terms, transport) = (&self.terms, self.host.transport());
        let Some(PieceSource { url, behaviour, .. }) = terms.sources.get(source) else {
            return Err(Ended::Unfit(None));
        };
        // A host that is alone has one source.
        let is_other = !H::ALONE && source > 0;
        let known = lock(&self.state).sources.get(source).map(|known| known.validators.clone());
        let validators = known.unwrap_or_default();
        let sends_if_range = transport.rules(url).if_range && !behaviour.ignores_if_range;
        let if_range = validators.etag.clone().filter(|etag| sends_if_range && is_strong_etag(etag));
        let range = ByteRange { first, last: Some(end.saturating_sub(1)) };
        let asked = Request { url, range: Some(range), if_range: if_range.as_deref() };
        let Response { status, headers, end: body_end, body } =
            transport.get(asked).await.map_err(|error| match is_other && !is_transient(&error, &[]) {
                true => Ended::Unfit(Some(error)),
                false => Ended::Broken(error),
            })?;
        let head = Head::read(status, &headers, body_end, self.host.clock().wall());
        let ask = Ask { first, offset: first, if_range: if_range.map(IfRange::ETag) };
        let held = Held {
            offset: first,
            size: Some(terms.size),
            announced: None,
            validators: &validators,
            digests: &[],
            behaviour,
        };
        let lie = is_other.then(|| self.lie(&head)).flatten();
        match verdict(&ask, held, &head) {
            // A source that sends less than was asked for is asked for the rest, as if the connection had broken.
            Verdict::Append { end: got, .. } if got <= end && lie.is_none() => {
                if let Some(known) = lock(&self.state).sources.get_mut(source).filter(|_| is_other) {
                    known.validators = head.validators;
                }
                Ok(body)
            }
            _ => Err(Ended::Unfit(lie)),
        }
    }

    /// What in an answer shows that its source does not serve the file.
    fn lie(&self, head: &Head) -> Option<Error> {
        let size = match (head.content_range, &head.end) {
            (Some(ContentRange::Part { total, .. }), _) => total,
            (Some(ContentRange::Unsatisfied { total }), _) => Some(total),
            (None, Ok(BodyEnd::Length(bytes))) if head.status == 200 => Some(*bytes),
            (None, _) => None,
        };
        let contradicts = |wanted: &crate::checksum::Checksum| {
            head.stated.iter().any(|stated| stated.algorithm == wanted.algorithm && stated.hex != wanted.hex)
        };
        if size.is_some_and(|size| size != self.terms.size) {
            return Some(Error::Protocol("its file has another size".to_owned()));
        }
        if self.terms.wanted.iter().any(contradicts) {
            return Some(Error::Protocol("its file has another digest".to_owned()));
        }
        match head.status {
            // It may still serve the file as a whole.
            200..=399 | 400 | 403 | 405 | 416 | 501 => None,
            status => Some(Error::Status { status, retry_after: None }),
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

impl<H: Host> Drop for Table<'_, H> {
    fn drop(&mut self) {
        lock(&self.state).release(&self.terms);
    }
}

impl<H: Host, F: Future<Output = Done>> Stripes<'_, H, F> {
    /// Requests nothing yet: the first piece is the beginning of a body that is there.
    fn begin(&mut self, body: BodyOf<H>) {
        let now = self.table.host.clock().now();
        let assigned = lock(&self.table.state).next_piece(&self.table.terms, 0, now);
        if let Some(assigned) = assigned {
            self.start(assigned, Some(body), None);
        }
    }

    fn start(&mut self, assigned: Assigned, body: Option<BodyOf<H>>, extra: Option<Extra>) {
        let start = Start { assigned, body, extra };
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
            let reader = lock(&self.table.state).reader();
            reader.into_iter().for_each(Waker::wake);
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
            let assigned = lock(&self.table.state).assign(terms, self.running.len(), now);
            let Some((assigned, extra)) = assigned else {
                return;
            };
            self.start(assigned, None, extra);
        }
    }
}
