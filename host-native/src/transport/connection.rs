//! One HTTP/1.1 connection: its socket, the body of a response, lent as the pieces hyper read, and the rate that all
//! downloads share.
//!
//! hyper's connection is a future that somebody has to poll. Here that is whoever waits for the head or the body, in their own
//! task: nothing is spawned, so dropping the connection closes its socket at once, and a body nobody reads is not read ahead
//! (TCP holds the server back). At the proven end of a body (RFC 9112 §6.3) the connection goes back to the pool, never before.
//! After an error it stays broken and is never mistaken for an end.
//!
//! A plain socket is received straight into hyper's uninitialised buffer: no zeroing, no copy. The [`Meter`] beside it counts the
//! bytes, which shows if a response had begun, and marks if a response head is next: that goes through a
//! [`HeadReader`], which bounds it. It does not dial and does not time out.
//!
//! [`Rate`] is a token bucket, kept as the moment at which it will be full enough. Whoever takes bytes pays for them in time, in
//! the order of asking. Unused time is forgotten but for a moment, which makes up for timers that fire late.

use super::address_policy::Trial;
use super::client::Pool;
use super::dial::Dialed;
use super::errors;
use super::head::{HeadReader, MAX_KEPT_FIELDS, Trace};
use super::proxy::ProxyRoute;
use crate::sync::lock;
use async_io::{Async, Timer};
use bytes::{Buf, Bytes};
use futures::io::{AsyncBufRead, AsyncRead, AsyncWrite, BufReader};
use futures::ready;
use futures_rustls::client::TlsStream;
use http_body_util::Full;
use hyper::body::{Body, Incoming};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::rt::ReadBufCursor;
use regrip_core::Error;
use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};
use std::io;
use std::mem::MaybeUninit;
use std::net::{IpAddr, TcpStream};
use std::num::NonZeroU64;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

/// A connection in use, and the pool it returns to.
pub(super) struct Lease {
    pub(super) connection: Connection,
    pub(super) route: ProxyRoute,
    pub(super) pool: Arc<Pool>,
}

impl Lease {
    fn give_back(mut self) {
        self.connection.trial().end_well();
        self.pool.put(self.route, self.connection);
    }
}

enum BodyState {
    Open { frames: Incoming, lease: Box<Lease> },
    Ended,
    Broken,
}

/// The body of a response.
pub(super) struct BodyReader {
    /// What the reader has not consumed yet.
    chunk: Bytes,
    state: BodyState,
}

impl BodyReader {
    /// A body that comes over the leased connection.
    pub(super) fn new(frames: Incoming, lease: Lease) -> BodyReader {
        let mut reader = BodyReader { chunk: Bytes::new(), state: BodyState::Open { frames, lease: Box::new(lease) } };
        reader.end_if_proven();
        reader
    }

    fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let BodyState::Open { frames, lease } = &mut self.state else {
            let ended = matches!(self.state, BodyState::Ended);
            return Poll::Ready(if ended { Ok(()) } else { Err(errors::cut()) });
        };
        let mut driven = false;
        loop {
            match Pin::new(&mut *frames).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) if !data.is_empty() => {
                        self.chunk = data;
                        self.end_if_proven();
                        return Poll::Ready(Ok(()));
                    }
                    _ => {} // trailers: nothing the core reads
                },
                Poll::Ready(Some(Err(error))) => {
                    return Poll::Ready(Err(self.fail(errors::body(error))));
                }
                Poll::Ready(None) if frames.size_hint().lower() > 0 => {
                    return Poll::Ready(Err(self.fail(errors::cut())));
                }
                Poll::Ready(None) => {
                    self.end();
                    return Poll::Ready(Ok(()));
                }
                Poll::Pending if driven => return Poll::Pending,
                Poll::Pending => {
                    lease.connection.drive(cx);
                    driven = true;
                }
            }
        }
    }

    /// The last byte of a Content-Length may be the last thing anybody asks for: the connection need not wait for more.
    fn end_if_proven(&mut self) {
        if matches!(&self.state, BodyState::Open { frames, .. } if frames.is_end_stream()) {
            self.end();
        }
    }

    fn end(&mut self) {
        if let BodyState::Open { frames, lease } = std::mem::replace(&mut self.state, BodyState::Ended) {
            drop(frames);
            lease.give_back();
        }
    }

    fn fail(&mut self, error: Error) -> Error {
        self.state = BodyState::Broken;
        error
    }
}

impl AsyncBufRead for BodyReader {
    fn poll_fill_buf(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        let reader = self.get_mut();
        if reader.chunk.is_empty() {
            ready!(reader.poll_chunk(cx)).map_err(errors::into_io)?;
        }
        Poll::Ready(Ok(&reader.chunk))
    }

    fn consume(self: Pin<&mut Self>, count: usize) {
        let reader = self.get_mut();
        reader.chunk.advance(count);
        if reader.chunk.is_empty() {
            // Let go of the memory before the next read, so that hyper can use it again.
            reader.chunk = Bytes::new();
        }
    }
}

impl AsyncRead for BodyReader {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, room: &mut [u8]) -> Poll<io::Result<usize>> {
        let chunk = ready!(self.as_mut().poll_fill_buf(cx))?;
        let count = chunk.len().min(room.len());
        room[..count].copy_from_slice(&chunk[..count]);
        self.consume(count);
        Poll::Ready(Ok(count))
    }
}

/// The read buffer of a connection whose rate is limited: what is read ahead is hidden from the limit.
const SLOW_BUFFER_BYTES: usize = 64 * 1024;

/// One HTTP/1.1 connection. Dropping it closes the socket at once.
pub(super) struct Connection {
    sender: SendRequest<Full<Bytes>>,
    driver: http1::Connection<Socket, Full<Bytes>>,
    ended: bool,
    meter: Arc<Meter>,
    peer: Option<IpAddr>,
    trial: Trial,
}

impl Connection {
    /// Speaks HTTP over a socket.
    pub(super) async fn open(dialed: Dialed) -> Result<Connection, Error> {
        let mut builder = http1::Builder::new();
        // The read buffer grows to hyper's default of some 400 KiB, which the throughput needs; the head has bounds of its
        // own, see `head.rs`.
        builder.max_headers(MAX_KEPT_FIELDS).title_case_headers(true);
        if dialed.slow {
            builder.max_buf_size(SLOW_BUFFER_BYTES);
        }
        let (sender, driver) = builder.handshake(dialed.socket).await.map_err(errors::answer)?;
        Ok(Connection { sender, driver, ended: false, meter: dialed.meter, peer: dialed.peer, trial: dialed.trial })
    }

    /// Who answers at the other end, if that is known.
    pub(super) fn peer(&self) -> Option<IpAddr> {
        self.peer
    }

    /// How its address does.
    pub(super) fn trial(&mut self) -> &mut Trial {
        &mut self.trial
    }

    /// Bytes received over it so far.
    pub(super) fn received(&self) -> u64 {
        self.meter.received()
    }

    /// Sends a request and waits for the head of its response.
    pub(super) async fn exchange(
        &mut self,
        request: hyper::Request<Full<Bytes>>,
    ) -> Result<hyper::Response<Incoming>, hyper::Error> {
        self.trial.begin();
        self.meter.expect_head();
        let mut answer = pin!(self.sender.send_request(request));
        let answer = std::future::poll_fn(|cx| {
            if let Poll::Ready(answer) = answer.as_mut().poll(cx) {
                return Poll::Ready(answer);
            }
            self.drive(cx);
            answer.as_mut().poll(cx)
        });
        answer.await
    }

    /// Moves bytes between the socket and the request or response in progress. How it ends shows there.
    pub(super) fn drive(&mut self, cx: &mut Context<'_>) {
        if !self.ended {
            self.ended = Pin::new(&mut self.driver).poll(cx).is_ready();
        }
    }

    /// Returns `true` if another request may be sent: the last body is at its end, the server has not closed, and has sent nothing
    /// that was not asked for. Looks at the socket once.
    pub(super) fn is_idle(&mut self) -> bool {
        self.drive(&mut Context::from_waker(Waker::noop()));
        !self.ended && self.sender.is_ready()
    }
}

/// How much is received at once until a response head is complete.
const HEAD_PIECE_BYTES: usize = 16 << 10;

/// What is decrypted at most for one read of an encrypted socket: eight records.
const MAX_DECRYPTED_BYTES: usize = 8 * 16_384;

/// rustls asks the socket for 4 KiB at a time, five calls for each record; this much is received at once instead.
const ENCRYPTED_BYTES: usize = 256 << 10;

/// An encrypted socket, received in large pieces.
pub(super) type Encrypted = TlsStream<BufReader<Async<TcpStream>>>;

/// What TLS is to be spoken over.
pub(super) fn buffered(socket: Async<TcpStream>) -> BufReader<Async<TcpStream>> {
    BufReader::with_capacity(ENCRYPTED_BYTES, socket)
}

/// Counts the bytes received over a socket, and marks what the next ones are.
#[derive(Debug, Default)]
pub(super) struct Meter {
    received: AtomicU64,
    head_next: AtomicBool,
}

impl Meter {
    /// Bytes so far, decrypted.
    pub(super) fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }

    /// A request is being sent: the next bytes are the head of its response.
    pub(super) fn expect_head(&self) {
        self.head_next.store(true, Ordering::Relaxed);
    }

    /// Returns `true` once after each [`expect_head`](Self::expect_head).
    fn head_is_next(&self) -> bool {
        self.head_next.swap(false, Ordering::Relaxed)
    }

    fn count(&self, bytes: usize) {
        self.received.fetch_add(bytes as u64, Ordering::Relaxed);
    }
}

/// What carries the bytes.
pub(super) enum Stream {
    /// TCP.
    Plain(Async<TcpStream>),
    /// TLS over TCP.
    Tls(Box<Encrypted>),
    /// TLS over TLS to a proxy.
    Tunnel(Box<TlsStream<Encrypted>>),
}

/// A connected socket. Dropping it closes it.
pub(super) struct Socket {
    stream: Stream,
    meter: Arc<Meter>,
    /// The error that followed the bytes already received.
    failed: Option<io::Error>,
    /// The response head that is being received.
    head: Option<HeadReader>,
    /// A head that was received, and the bytes behind it; hyper gets it first.
    ready: Bytes,
    trace: Trace,
    /// The request head and the response head so far, if they are traced.
    traced: [Vec<u8>; 2],
}

impl Socket {
    pub(super) fn new(stream: Stream, meter: Arc<Meter>, trace: Trace) -> Socket {
        let traced = Default::default();
        Socket { stream, meter, failed: None, head: None, ready: Bytes::new(), trace, traced }
    }

    /// Receives until the head of the response is complete; `ready` has it then. Nothing is ready at the end of the stream,
    /// and hyper reads the end.
    fn receive_head(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(head) = &mut self.head {
            let mut piece = [0; HEAD_PIECE_BYTES];
            let stream = match &mut self.stream {
                Stream::Plain(stream) => Pin::new(stream) as Pin<&mut dyn AsyncRead>,
                Stream::Tls(stream) => Pin::new(&mut **stream) as Pin<&mut dyn AsyncRead>,
                Stream::Tunnel(stream) => Pin::new(&mut **stream) as Pin<&mut dyn AsyncRead>,
            };
            let count = ready!(stream.poll_read(cx, &mut piece))?;
            self.meter.count(count);
            if count == 0 {
                self.head = None;
                continue;
            }
            let end = head.read(&piece[..count]).map_err(io::Error::other)?;
            if self.trace.is_on() {
                self.traced[1].extend_from_slice(&piece[..end.unwrap_or(count)]);
            }
            if let Some(end) = end {
                self.trace.head('<', &std::mem::take(&mut self.traced[1]));
                let mut ready = self.head.take().map_or_else(Vec::new, HeadReader::into_clean);
                ready.extend_from_slice(&piece[end..count]);
                self.ready = Bytes::from(ready);
            }
        }
        Poll::Ready(Ok(()))
    }

    fn writer(&mut self) -> Pin<&mut dyn AsyncWrite> {
        match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream) as Pin<&mut dyn AsyncWrite>,
            Stream::Tls(stream) => Pin::new(&mut **stream) as Pin<&mut dyn AsyncWrite>,
            Stream::Tunnel(stream) => Pin::new(&mut **stream) as Pin<&mut dyn AsyncWrite>,
        }
    }
}

impl hyper::rt::Read for Socket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, mut buffer: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        let socket = self.get_mut();
        if socket.meter.head_is_next() {
            socket.head = Some(HeadReader::default());
        }
        ready!(socket.receive_head(cx))?;
        if !socket.ready.is_empty() {
            let count = socket.ready.len().min(buffer.remaining());
            buffer.put_slice(&socket.ready.split_to(count));
            return Poll::Ready(Ok(()));
        }
        if let Some(error) = socket.failed.take() {
            return Poll::Ready(Err(error));
        }
        // SAFETY: nothing initialised is overwritten with uninitialised bytes: `receive` and `decrypt` only write data.
        let room = unsafe { buffer.as_mut() };
        let count = match &mut socket.stream {
            Stream::Plain(stream) => ready!(receive(stream, cx, room))?,
            Stream::Tls(stream) => ready!(decrypt(&mut **stream, cx, room, &mut socket.failed))?,
            Stream::Tunnel(stream) => ready!(decrypt(&mut **stream, cx, room, &mut socket.failed))?,
        };
        socket.meter.count(count);
        // SAFETY: both return how many bytes at the start of `room` they initialised.
        unsafe { buffer.advance(count) };
        Poll::Ready(Ok(()))
    }
}

/// recv(2) into the uninitialised buffer.
fn receive(stream: &Async<TcpStream>, cx: &mut Context<'_>, room: &mut [MaybeUninit<u8>]) -> Poll<io::Result<usize>> {
    loop {
        match recv(stream.get_ref(), &mut *room, RecvFlags::empty()) {
            Ok(((received, _), _)) => return Poll::Ready(Ok(received.len())),
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => ready!(stream.poll_readable(cx))?,
            Err(error) => return Poll::Ready(Err(error.into())),
        }
    }
}

/// Fills the buffer with as many records as have come: rustls hands out one at a time, and a small piece costs hyper and
/// the disk as much as a large one. rustls wants initialised bytes, so no more is zeroed than is likely to be filled.
fn decrypt(
    stream: &mut (impl AsyncRead + Unpin),
    cx: &mut Context<'_>,
    room: &mut [MaybeUninit<u8>],
    failed: &mut Option<io::Error>,
) -> Poll<io::Result<usize>> {
    let length = room.len().min(MAX_DECRYPTED_BYTES);
    let room = &mut room[..length];
    room.fill(MaybeUninit::new(0));
    // SAFETY: every byte of `room` was just initialised, and `MaybeUninit<u8>` has the layout of `u8`.
    let room = unsafe { &mut *(std::ptr::from_mut(room) as *mut [u8]) };
    let mut filled = 0;
    while filled < length {
        match Pin::new(&mut *stream).poll_read(cx, &mut room[filled..]) {
            Poll::Ready(Ok(0)) => break,
            Poll::Ready(Ok(read)) => filled += read,
            Poll::Pending if filled > 0 => break,
            Poll::Ready(Err(error)) if filled > 0 => {
                *failed = Some(error);
                break;
            }
            nothing => return nothing,
        }
    }
    Poll::Ready(Ok(filled))
}

impl hyper::rt::Write for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let socket = self.get_mut();
        let count = ready!(socket.writer().poll_write(cx, bytes))?;
        if socket.trace.is_on() {
            // Only requests without a body are traced.
            socket.traced[0].extend_from_slice(&bytes[..count]);
            if socket.traced[0].ends_with(b"\r\n\r\n") {
                socket.trace.head('>', &std::mem::take(&mut socket.traced[0]));
            }
        }
        Poll::Ready(Ok(count))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().writer().poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().writer().poll_close(cx)
    }
}

/// How much unused time is made up for.
const BURST: Duration = Duration::from_millis(100);

/// Shorter debts are carried on: a timer for each chunk would cost more than it keeps.
const SHORTEST_WAIT: Duration = Duration::from_millis(5);

/// Under this rate the kernel's own buffers would hide the limit from the sender for too long.
const SLOW: u64 = 1 << 20;

/// A limit in bytes per second.
#[derive(Debug)]
pub(super) struct Rate {
    bytes_per_second: NonZeroU64,
    /// When all that was taken so far is paid for.
    paid: Mutex<Instant>,
}

impl Rate {
    pub(super) fn new(bytes_per_second: NonZeroU64) -> Rate {
        Rate { bytes_per_second, paid: Mutex::new(Instant::now()) }
    }

    /// Takes bytes, and waits until they are paid for.
    ///
    /// # Cancel safety
    /// What was taken stays taken.
    pub(super) async fn take(&self, bytes: u64) {
        let wait = self.debt(Instant::now(), bytes);
        if wait >= SHORTEST_WAIT {
            Timer::after(wait).await;
        }
    }

    fn debt(&self, now: Instant, bytes: u64) -> Duration {
        let rate = u128::from(self.bytes_per_second.get());
        let nanos = u128::from(bytes) * 1_000_000_000 / rate;
        let cost = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        let mut paid = lock(&self.paid);
        // Within the burst before now; an instant that cannot be represented is not before it.
        let earliest = now.checked_sub(BURST).unwrap_or(now);
        *paid = (*paid).max(earliest);
        *paid = paid.checked_add(cost).unwrap_or(*paid);
        paid.saturating_duration_since(now)
    }

    /// What is handed on at once, at most: a tenth of a second's worth, so that a slow transfer moves in small steps.
    pub(super) fn piece_bytes(&self) -> usize {
        let piece = (self.bytes_per_second.get() / 10).max(1);
        usize::try_from(piece).unwrap_or(usize::MAX)
    }

    /// The kernel's receive buffer for a slow rate: a quarter of a second's worth, but at least what TCP needs to move at
    /// all. `None` leaves it to the kernel, which sizes it by how fast it is read.
    pub(super) fn receive_buffer_bytes(&self) -> Option<usize> {
        let rate = self.bytes_per_second.get();
        let quarter = usize::try_from(rate / 4).unwrap_or(usize::MAX);
        (rate < SLOW).then_some(quarter.max(32 << 10))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn rate(bytes_per_second: u64) -> (Rate, Instant) {
        let rate = Rate::new(NonZeroU64::new(bytes_per_second).unwrap());
        let now = Instant::now() + SECOND;
        *rate.paid.lock().unwrap() = now;
        (rate, now)
    }

    #[test]
    fn each_byte_is_paid_for_in_the_order_of_asking() {
        let (rate, now) = rate(1000);
        assert_eq!(rate.debt(now, 500), SECOND / 2);
        // Somebody else, at the same moment, comes after.
        assert_eq!(rate.debt(now, 1000), SECOND * 3 / 2);
        assert_eq!(rate.debt(now + SECOND, 1), SECOND / 2 + SECOND / 1000);
    }

    #[test]
    fn unused_time_is_forgotten_but_for_a_moment() {
        let (rate, now) = rate(1000);
        let later = now + 3600 * SECOND;
        assert_eq!(rate.debt(later, 1000), SECOND - BURST);
    }

    #[test]
    fn the_largest_numbers_neither_overflow_nor_wait_for_nothing() {
        let (slow, now) = rate(1);
        assert!(slow.debt(now, u64::MAX) > Duration::from_secs(500 * 365 * 86_400));
        let (fast, now) = rate(u64::MAX);
        assert_eq!(fast.debt(now, u64::MAX), SECOND);
        assert_eq!((slow.piece_bytes(), slow.receive_buffer_bytes()), (1, Some(32 << 10)));
        assert_eq!(fast.receive_buffer_bytes(), None);
    }
}
