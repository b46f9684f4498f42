//! Decides which bytes each of several connections requests next, and from which source.
//!
//! The first piece is the body of the response that began the transfer. A piece reserves its whole size in the [`Window`] before
//! it is requested; the piece at the front needs no reservation, so nothing can wait for itself, and is read ahead of the pump by
//! a fixed amount only. An idle connection requests the rest of a front piece that stands still, and half of the largest piece
//! once nothing else is left.
//!
//! With several sources, an idle connection goes to the one that failed least, then to the one with the fewest connections. A
//! source whose answer does not fit, or that breaks again and again without progress, is not asked any more. When no source is
//! left, no further piece is requested, and all after the first gap is dropped; the first response goes on if nothing was received
//! after it.
//!
//! It requests nothing and sees no response ([`stripe`](crate::stripe)).

use crate::checksum::Checksum;
use crate::error::Error;
use crate::mutex::lock;
use crate::origin::{Extra, Extras};
use crate::record::{Behaviour, Validators};
use crate::time::Instant;
use futures::future::{AbortHandle, AbortRegistration};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

/// A piece is what its connection transfers in this time, by its rate so far.
const PIECE_TIME_SECS: u64 = 2;
/// The smallest piece; a piece is not split below twice this.
const LEAST_PIECE_BYTES: u64 = 256 << 10;
/// A front piece without data for this long is requested again.
const STALL: Duration = Duration::from_secs(2);
/// So is one that is slower than the average connection by this factor.
const SLOW_FACTOR: u64 = 4;
/// What a piece may have for the pump beyond its reservation. While a disk is slow, its connection is not read on.
const AHEAD_BYTES: u64 = 256 << 10;
/// Pieces of one source in a row that may break without progress.
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

/// What the transfer is, and the limits of its connections.
pub(crate) struct Terms {
    /// The source of the first body, then those whose bytes only a digest of the whole file proves.
    pub(crate) sources: Vec<PieceSource>,
    /// The digests that the file must have.
    pub(crate) wanted: Vec<Checksum>,
    /// The size of the file in bytes.
    pub(crate) size: u64,
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
}

/// A source of pieces.
pub(crate) struct PieceSource {
    /// Its URL.
    pub(crate) url: String,
    /// The validators of its version: of the first source with a strong ETag, of another one empty until its first answer.
    pub(crate) validators: Validators,
    /// What is known of it.
    pub(crate) behaviour: Behaviour,
    /// The connections that its origin still takes.
    pub(crate) extras: Extras,
}

/// How the bytes that the pump got so far are mixed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Mixture {
    /// They are from several responses.
    pub(crate) responses: bool,
    /// They are from several sources.
    pub(crate) sources: bool,
}

/// The pieces, and what is known of their sources.
pub(crate) struct State<K> {
    /// Offset of the next byte for the pump.
    at: u64,
    /// In order, without gaps from `at` on.
    pub(crate) pieces: VecDeque<Piece<K>>,
    /// The connection of the front, while that has as much for the pump as it may have.
    reader: Option<Waker>,
    /// Offset after the last piece.
    planned: u64,
    /// The number of the next piece.
    number: u32,
    /// By source.
    pub(crate) sources: Vec<SourceState>,
    /// Rates of idle connections, in bytes per second, and their sources.
    rates: Vec<(usize, u64)>,
    /// The rate of an average connection.
    usual: Option<u64>,
    /// No further piece is requested: this was in the way.
    pub(crate) ended: Option<Option<Error>>,
    /// How what was taken so far is mixed.
    pub(crate) mixture: Mixture,
    /// Bytes received since `since`.
    pub(crate) received: u64,
    trial: Trial,
}

/// What is known of a source.
#[derive(Default)]
pub(crate) struct SourceState {
    /// The validators of its version.
    pub(crate) validators: Validators,
    /// Its pieces that broke, stood still or were slow.
    faults: u32,
    /// Those in a row that broke without progress.
    broken: u32,
    /// No piece is requested of it any more: the connection error that was in the way, or an answer that does not fit.
    lost: Option<Option<Error>>,
    /// What shows that it does not serve the file.
    pub(crate) lie: Option<Error>,
}

/// The search for the number of connections that is worth having.
struct Trial {
    allowed: usize,
    settled: bool,
    since: Instant,
    from: u64,
    before: u64,
}

/// A range of the file.
pub(crate) struct Piece<K> {
    pub(crate) number: u32,
    /// The source of its request.
    pub(crate) source: usize,
    /// Some of its bytes are from a source other than the first.
    is_foreign: bool,
    /// Offset of its next byte that is not received.
    pub(crate) next: u64,
    /// Offset after its last byte.
    pub(crate) end: u64,
    /// Received and not yet taken by the pump.
    pub(crate) chunks: VecDeque<K>,
    /// Its share of the window that is still reserved.
    pub(crate) reserved: u64,
    /// The request, while it runs.
    running: Option<AbortHandle>,
    /// Offset of the first byte of this request, and when it was made.
    first: u64,
    since: Instant,
    /// When its last byte was received.
    pub(crate) last: Instant,
    /// Without data for this long at the front, it is requested again.
    patience: Duration,
}

/// How the request of a piece ended.
pub(crate) enum Ended {
    /// All its bytes were received, or another request has the rest.
    Complete,
    /// The answer is not this piece of this version. The error shows that the source does not serve the file at all.
    Unfit(Option<Error>),
    /// The connection broke.
    Broken(Error),
}

/// What an idle connection is to request.
pub(crate) struct Assigned {
    pub(crate) number: u32,
    pub(crate) source: usize,
    pub(crate) first: u64,
    pub(crate) end: u64,
    pub(crate) registration: AbortRegistration,
}

/// What there is for the pump.
pub(crate) enum Next<K> {
    Chunk(K),
    /// Nothing yet.
    Wait,
    /// The end, or a gap that nobody fills.
    End,
}

impl<K> State<K> {
    /// The state of a transfer that is at `at`.
    pub(crate) fn new(terms: &Terms, at: u64, now: Instant) -> Self {
        let allowed = if terms.auto { 1 } else { terms.connections };
        let trial = Trial { allowed, settled: !terms.auto, since: now, from: 0, before: 0 };
        let known =
            |source: &PieceSource| SourceState { validators: source.validators.clone(), ..SourceState::default() };
        State {
            at,
            pieces: VecDeque::new(),
            reader: None,
            planned: at,
            number: 0,
            sources: terms.sources.iter().map(known).collect(),
            rates: Vec::new(),
            usual: None,
            ended: None,
            mixture: Mixture::default(),
            received: 0,
            trial,
        }
    }

    /// Assigns work to an idle connection, if it may be opened: what broke, a front piece that stands still, the next piece, half
    /// of another.
    pub(crate) fn assign(&mut self, terms: &Terms, running: usize, now: Instant) -> Option<(Assigned, Option<Extra>)> {
        if self.ended.is_some() || running >= self.trial.allowed {
            return None;
        }
        let broken = self.pieces.iter().position(|piece| piece.running.is_none() && piece.next < piece.end);
        let again = broken.or_else(|| self.stalled_front(now));
        let avoided = again.and_then(|index| self.pieces.get(index)).map(|piece| piece.source);
        let (source, extra) = self.connection(terms, avoided)?;
        let assigned = match again {
            Some(index) => self.request_again(index, source, now),
            None if self.planned < terms.size => self.next_piece(terms, source, now),
            None => self.split(terms, source, now),
        };
        Some((assigned?, extra))
    }

    /// A connection to the best source that takes one; `avoided` is the last choice. The first source has one that is the download's
    /// own.
    fn connection(&self, terms: &Terms, avoided: Option<usize>) -> Option<(usize, Option<Extra>)> {
        let load = |index: usize| {
            let pieces = self.pieces.iter().filter(|piece| piece.source == index);
            pieces.filter(|piece| piece.running.is_some()).count()
        };
        let usable = self.sources.iter().enumerate().filter(|(_, source)| source.lost.is_none());
        let mut ranked: Vec<_> =
            usable.map(|(index, source)| (Some(index) == avoided, source.faults, load(index), index)).collect();
        ranked.sort_unstable();
        ranked.into_iter().find_map(|(_, _, load, index)| match (index, load) {
            (0, 0) => Some((0, None)),
            _ => Some((index, Some(terms.sources.get(index)?.extras.acquire()?))),
        })
    }

    /// The front, if it has nothing for the pump and is slow or stands still.
    fn stalled_front(&self, now: Instant) -> Option<usize> {
        let piece = self.pieces.front().filter(|piece| piece.running.is_some() && piece.chunks.is_empty())?;
        let stands_still = now.since(piece.last) >= piece.patience;
        let is_old = now.since(piece.since) >= piece.patience;
        let slow = self.usual.is_some_and(|usual| piece.rate(now).saturating_mul(SLOW_FACTOR) < usual);
        (piece.next < piece.end && (stands_still || (is_old && slow))).then_some(0)
    }

    fn request_again(&mut self, index: usize, source: usize, now: Instant) -> Option<Assigned> {
        let number = self.number();
        let piece = self.pieces.get_mut(index)?;
        let (handle, registration) = AbortHandle::new_pair();
        if let Some(slow) = piece.running.replace(handle) {
            slow.abort();
            piece.patience = piece.patience.saturating_mul(2);
            if let Some(slow) = self.sources.get_mut(piece.source) {
                slow.faults = slow.faults.saturating_add(1);
            }
        }
        (piece.number, piece.first, piece.since, piece.last) = (number, piece.next, now, now);
        piece.source = source;
        piece.is_foreign |= source > 0;
        Some(Assigned { number, source, first: piece.next, end: piece.end, registration })
    }

    pub(crate) fn next_piece(&mut self, terms: &Terms, source: usize, now: Instant) -> Option<Assigned> {
        let left = terms.size.saturating_sub(self.planned);
        let connections = self.trial.allowed.max(1) as u64;
        let known = self.rates.iter().rposition(|(of, _)| *of == source);
        let wanted = match known.map(|index| self.rates.remove(index)) {
            Some((_, rate)) => rate.saturating_mul(PIECE_TIME_SECS),
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
        Some(self.insert(self.pieces.len(), source, (first, self.planned), reserved, now))
    }

    /// The second half of the largest piece, if the first half alone takes a while. A piece whose connection has sent nothing yet is
    /// taken for one of an average connection.
    fn split(&mut self, terms: &Terms, source: usize, now: Instant) -> Option<Assigned> {
        let usual = self.usual.unwrap_or(u64::MAX);
        let left = |piece: &Piece<K>| piece.end.saturating_sub(piece.next);
        let running = self.pieces.iter_mut().enumerate().filter(|(_, piece)| piece.running.is_some());
        let (index, piece) = running.max_by_key(|(_, piece)| left(piece))?;
        let rate = if piece.next == piece.first { usual } else { piece.rate(now) };
        let takes = Duration::from_secs(left(piece) / rate.max(1));
        if left(piece) < 2 * LEAST_PIECE_BYTES || takes < Duration::from_secs(1) {
            return None;
        }
        let (first, end) = (piece.end.saturating_sub(left(piece) / 2), piece.end);
        let reserved = end.saturating_sub(first);
        // A piece that began at the front has no reservation to share.
        let shared = piece.reserved.min(reserved);
        if !terms.window.reserve(reserved.saturating_sub(shared)) {
            return None;
        }
        piece.end = first;
        piece.reserved = piece.reserved.saturating_sub(shared);
        Some(self.insert(index.saturating_add(1), source, (first, end), reserved, now))
    }

    fn insert(
        &mut self,
        index: usize,
        source: usize,
        (first, end): (u64, u64),
        reserved: u64,
        now: Instant,
    ) -> Assigned {
        let (handle, registration) = AbortHandle::new_pair();
        let number = self.number();
        let piece = Piece {
            number,
            source,
            is_foreign: source > 0,
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
        Assigned { number, source, first, end, registration }
    }

    fn number(&mut self) -> u32 {
        self.number = self.number.wrapping_add(1);
        self.number
    }

    /// Ready if a piece may receive more; else its connection is woken by [`reader`](Self::reader). A piece behind the front always
    /// may: all of it is reserved.
    pub(crate) fn poll_room(&mut self, number: u32, context: &mut Context<'_>) -> Poll<()> {
        let is_front = self.pieces.front().is_some_and(|front| front.number == number);
        if !is_front || self.front_has_room() {
            return Poll::Ready(());
        }
        self.reader = Some(context.waker().clone());
        Poll::Pending
    }

    /// The connection of the front, if it waited and may go on.
    pub(crate) fn reader(&mut self) -> Option<Waker> {
        if self.front_has_room() { self.reader.take() } else { None }
    }

    fn front_has_room(&self) -> bool {
        let has_room =
            |front: &Piece<K>| front.next.saturating_sub(self.at) < front.reserved.saturating_add(AHEAD_BYTES);
        self.pieces.front().is_none_or(has_room)
    }

    /// Takes the next chunk in order.
    pub(crate) fn next(&mut self, terms: &Terms, length: impl Fn(&K) -> u64) -> Next<K> {
        while let Some(piece) = self.pieces.front_mut() {
            if let Some(chunk) = piece.chunks.pop_front() {
                let bytes = length(&chunk);
                let released = piece.reserved.min(bytes);
                piece.reserved = piece.reserved.saturating_sub(released);
                terms.window.release(released);
                self.at = self.at.saturating_add(bytes);
                self.mixture.responses |= piece.number > 1;
                self.mixture.sources |= piece.is_foreign;
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

    pub(crate) fn done(&mut self, terms: &Terms, number: u32, ended: Ended, now: Instant) {
        let Some(index) = self.pieces.iter().position(|piece| piece.number == number) else {
            return;
        };
        let Some(piece) = self.pieces.get_mut(index) else {
            return;
        };
        piece.running = None;
        let progress = piece.next.saturating_sub(piece.first) >= terms.progress_bytes.max(1);
        let (rate, of) = (piece.rate(now), piece.source);
        let Some(source) = self.sources.get_mut(of) else {
            return;
        };
        if progress || matches!(ended, Ended::Complete) {
            source.broken = 0;
        }
        match ended {
            Ended::Complete => {
                if self.rates.len() > terms.connections {
                    self.rates.remove(0);
                }
                self.rates.push((of, rate));
                self.usual = Some(self.usual.map_or(rate, |usual| usual / 4 * 3 + rate / 4));
            }
            Ended::Broken(_) if progress || source.broken < MOST_BROKEN => {
                source.faults = source.faults.saturating_add(1);
                source.broken = source.broken.saturating_add(u32::from(!progress));
            }
            Ended::Broken(error) => self.lose(terms, index, of, Some(error)),
            Ended::Unfit(lie) => {
                source.lie = lie;
                self.lose(terms, index, of, None);
            }
        }
    }

    /// Requests nothing of a source any more. If it was the last one, the transfer ends with the error of the first.
    fn lose(&mut self, terms: &Terms, index: usize, source: usize, error: Option<Error>) {
        if let Some(source) = self.sources.get_mut(source) {
            source.lost = Some(error);
        }
        if self.sources.iter().all(|source| source.lost.is_some()) {
            let error = self.sources.first_mut().and_then(|first| first.lost.as_mut()).and_then(Option::take);
            self.end(terms, index, error);
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
        // While nothing was received after it, the first response itself goes on to the end of the file.
        let is_first = self.pieces.front().is_some_and(|first| first.number == 1 && first.running.is_some());
        let is_empty = self.pieces.get(1).is_some_and(|piece| piece.next == piece.first && piece.chunks.is_empty());
        if index == 1 && is_first && is_empty {
            if let Some(piece) = self.pieces.pop_back() {
                terms.window.release(piece.reserved);
            }
            if let Some(first) = self.pieces.front_mut() {
                first.end = terms.size;
            }
            self.ended = Some(None);
        }
    }

    /// Returns `true` if the rest is to be requested by one request.
    pub(crate) fn ended_early(&self, terms: &Terms) -> bool {
        matches!(self.ended, Some(None)) && self.at < terms.size
    }

    /// Looks for the number of connections that is worth having: one more as long as that raises the rate by a quarter.
    pub(crate) fn judge_connections(&mut self, most: usize, now: Instant) {
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

    /// Gives back the memory that its pieces have reserved.
    pub(crate) fn release(&self, terms: &Terms) {
        for piece in &self.pieces {
            terms.window.release(piece.reserved);
        }
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

#[cfg(test)]
mod tests;
