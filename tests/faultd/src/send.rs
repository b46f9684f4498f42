//! Carries a [`Reply`] out on a connection, exactly and in order.
//!
//! Content is made in one buffer per connection and goes from there to the socket.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::content::Content;
use crate::reply::{End, Framing, Head, Op, Reply, reason};
use crate::stream::Stream;

/// How much content is made at a time.
const BLOCK: usize = 256 * 1024;
/// The longest that a wait goes on without looking whether the server stops.
const SLICE: Duration = Duration::from_millis(50);
/// How often a pause looks whether it is over.
const PAUSE_STEP: Duration = Duration::from_millis(20);
/// How often a throttled body sends, so that its rate is even.
const PIECES_PER_SECOND: u64 = 20;

/// The peer went away, the server stops, or the line was cut.
pub(crate) struct Gone;

/// What a connection needs to send answers.
pub(crate) struct Sender<'a> {
    stream: &'a mut Stream,
    stop: &'a AtomicBool,
    /// Changes when all lines are cut, and what it was when this answer began.
    cuts: Option<(&'a AtomicU64, u64)>,
    /// Changes when all pauses end, and what it was when this answer began.
    goes: Option<(&'a AtomicU64, u64)>,
    block: &'a mut Vec<u8>,
}

impl<'a> Sender<'a> {
    /// A sender for this connection; `block` is its buffer, kept from answer to answer and grown as needed.
    pub(crate) fn new(stream: &'a mut Stream, stop: &'a AtomicBool, block: &'a mut Vec<u8>) -> Self {
        Self { stream, stop, cuts: None, goes: None, block }
    }

    /// The same, which gives up when `cuts` changes, and pauses no more when `goes` does.
    pub(crate) fn ruled_by(self, cuts: &'a AtomicU64, goes: &'a AtomicU64) -> Self {
        let now = |counter: &'a AtomicU64| Some((counter, counter.load(Ordering::Relaxed)));
        Self { cuts: now(cuts), goes: now(goes), ..self }
    }

    /// Sends a reply and returns how the connection ends. `progress` gets the payload bytes sent so far.
    pub(crate) fn send(&mut self, reply: &Reply, progress: &mut dyn FnMut(u64)) -> Result<End, Gone> {
        self.wait(reply.delay)?;
        for (status, headers) in &reply.interim {
            self.write(&interim_bytes(*status, headers))?;
        }
        match reply.head {
            Head::Withheld => {}
            Head::Whole => self.write(&reply.head_bytes())?,
            Head::Endless => return self.endless(reply),
        }
        let mut payload =
            Payload { framing: reply.framing, rate: reply.bytes_per_second, begin: Instant::now(), sent: 0 };
        for op in &reply.body {
            match op {
                Op::Content { content, from, to } => self.content(&mut payload, *content, *from, *to, progress)?,
                Op::Raw(bytes) => {
                    for piece in bytes.chunks(payload.piece_bytes()) {
                        self.piece(&mut payload, piece, progress)?;
                    }
                }
                Op::Wire(bytes) => self.write(bytes)?,
                Op::Wait(time) => self.pause(*time)?,
                Op::Forever => return self.forever(),
                Op::Trickle { content, from, to, every, bytes } => {
                    let mut at = *from;
                    while at < *to {
                        self.wait(*every)?;
                        let next = at.saturating_add(*bytes as u64).min(*to);
                        self.content(&mut payload, *content, at, next, progress)?;
                        at = next;
                    }
                }
                Op::Cut => return Ok(reply.end),
            }
        }
        if matches!(reply.framing, Framing::Chunked { .. }) && reply.head == Head::Whole {
            self.write(b"0\r\n\r\n")?;
        }
        Ok(reply.end)
    }

    /// Sends content through the block.
    fn content(
        &mut self,
        payload: &mut Payload,
        content: Content,
        from: u64,
        to: u64,
        progress: &mut dyn FnMut(u64),
    ) -> Result<(), Gone> {
        let most = to.saturating_sub(from).min(payload.piece_bytes().min(BLOCK) as u64);
        let mut block = std::mem::take(self.block);
        if (block.len() as u64) < most {
            block.resize(most as usize, 0);
        }
        let mut at = from;
        let mut result = Ok(());
        while at < to && result.is_ok() {
            let piece = &mut block[..(to - at).min(most) as usize];
            content.fill(at, piece);
            at += piece.len() as u64;
            result = self.piece(payload, piece, progress);
        }
        *self.block = block;
        result
    }

    /// Sends one piece of payload in its framing, at its rate.
    fn piece(&mut self, payload: &mut Payload, piece: &[u8], progress: &mut dyn FnMut(u64)) -> Result<(), Gone> {
        if let Some(early) = payload.early_by(piece.len() as u64) {
            self.wait(early)?;
        }
        if self.over() {
            return Err(Gone);
        }
        match payload.framing {
            Framing::Length | Framing::Close => self.write(piece)?,
            Framing::Chunked { .. } => {
                let mut chunk = format!("{:x}\r\n", piece.len()).into_bytes();
                chunk.extend_from_slice(piece);
                chunk.extend_from_slice(b"\r\n");
                self.write(&chunk)?;
            }
        }
        payload.sent += piece.len() as u64;
        progress(payload.sent);
        Ok(())
    }

    fn endless(&mut self, reply: &Reply) -> Result<End, Gone> {
        let head = reply.head_bytes();
        // All but the empty line that would end it.
        self.write(head.strip_suffix(b"\r\n").unwrap_or(&head))?;
        loop {
            self.write(b"X-Endless: and so on\r\n")?;
        }
    }

    fn forever(&mut self) -> Result<End, Gone> {
        loop {
            self.wait(SLICE)?;
        }
    }

    /// Waits until the pauses end.
    fn pause(&mut self, time: Duration) -> Result<(), Gone> {
        let begin = Instant::now();
        while !changed(self.goes) {
            let left = time.saturating_sub(begin.elapsed());
            if left.is_zero() {
                break;
            }
            self.wait(left.min(PAUSE_STEP))?;
        }
        Ok(())
    }

    /// Waits, unless the peer goes away or the server stops.
    fn wait(&mut self, time: Duration) -> Result<(), Gone> {
        let begin = Instant::now();
        loop {
            let left = time.saturating_sub(begin.elapsed());
            if left.is_zero() {
                return Ok(());
            }
            if self.over() || self.stream.gone_within(left.min(SLICE)) {
                return Err(Gone);
            }
        }
    }

    /// The server stops, or the line was cut.
    fn over(&self) -> bool {
        changed(self.cuts) || self.stop.load(Ordering::Relaxed)
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), Gone> {
        self.stream.write_all(bytes).map_err(|_| Gone)
    }
}

/// A counter is not what it was any more.
fn changed(counter: Option<(&AtomicU64, u64)>) -> bool {
    counter.is_some_and(|(counter, before)| counter.load(Ordering::Relaxed) != before)
}

/// How an answer's payload is sent, and how far it is.
struct Payload {
    framing: Framing,
    rate: Option<u64>,
    begin: Instant,
    sent: u64,
}

impl Payload {
    /// The most bytes of one write: a chunk, or a share of the rate.
    fn piece_bytes(&self) -> usize {
        let chunk = match self.framing {
            Framing::Chunked { bytes } => bytes.max(1),
            Framing::Length | Framing::Close => BLOCK,
        };
        let share = self.rate.map_or(u64::MAX, |rate| (rate / PIECES_PER_SECOND).max(1));
        chunk.min(usize::try_from(share).unwrap_or(usize::MAX))
    }

    /// How long a piece must wait for its rate.
    fn early_by(&self, bytes: u64) -> Option<Duration> {
        let rate = self.rate?.max(1);
        let due = Duration::from_secs_f64((self.sent + bytes) as f64 / rate as f64);
        due.checked_sub(self.begin.elapsed())
    }
}

fn interim_bytes(status: u16, headers: &[(String, String)]) -> Vec<u8> {
    let mut out = format!("HTTP/1.1 {status} {}\r\n", reason(status));
    for (name, value) in headers {
        out.push_str(&format!("{name}: {value}\r\n"));
    }
    out.push_str("\r\n");
    out.into_bytes()
}
