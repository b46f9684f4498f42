//! A connected socket, plain or encrypted, as hyper wants to read and write it.
//!
//! A plain socket is received straight into hyper's uninitialised buffer: no zeroing, no copy. The [`Meter`] beside it
//! counts the bytes received, which shows if an answer had begun, and says whether a response head comes next: that goes
//! through a [`HeadReader`], which bounds it. It does not dial and does not time out.

use super::head::HeadReader;
use async_io::Async;
use bytes::Bytes;
use futures::io::{AsyncRead, AsyncWrite, BufReader};
use futures::ready;
use futures_rustls::client::TlsStream;
use hyper::rt::ReadBufCursor;
use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};
use std::io;
use std::mem::MaybeUninit;
use std::net::TcpStream;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};

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

/// Counts the bytes that came over a socket, and says what the next ones are.
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
}

/// A connected socket. Dropping it closes it.
pub(super) struct Socket {
    stream: Stream,
    meter: Arc<Meter>,
    /// What went wrong after bytes that came with it and counted first.
    failed: Option<io::Error>,
    /// The response head that is being received.
    head: Option<HeadReader>,
    /// A head that was received, and the bytes behind it; hyper gets it first.
    ready: Bytes,
}

impl Socket {
    pub(super) fn new(stream: Stream, meter: Arc<Meter>) -> Socket {
        Socket {
            stream,
            meter,
            failed: None,
            head: None,
            ready: Bytes::new(),
        }
    }

    /// Receives until the head of the response is complete; `ready` has it then. Nothing is ready at the end of the stream,
    /// and hyper reads the end.
    fn receive_head(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(head) = &mut self.head {
            let mut piece = [0; HEAD_PIECE_BYTES];
            let stream = match &mut self.stream {
                Stream::Plain(stream) => Pin::new(stream) as Pin<&mut dyn AsyncRead>,
                Stream::Tls(stream) => Pin::new(&mut **stream) as Pin<&mut dyn AsyncRead>,
            };
            let count = ready!(stream.poll_read(cx, &mut piece))?;
            self.meter.count(count);
            if count == 0 {
                self.head = None;
            } else if let Some(end) = head.read(&piece[..count]).map_err(io::Error::other)? {
                let mut ready = self
                    .head
                    .take()
                    .map_or_else(Vec::new, HeadReader::into_clean);
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
        }
    }
}

impl hyper::rt::Read for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
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
            Stream::Tls(stream) => ready!(decrypt(stream, cx, room, &mut socket.failed))?,
        };
        socket.meter.count(count);
        // SAFETY: both return how many bytes at the start of `room` they initialised.
        unsafe { buffer.advance(count) };
        Poll::Ready(Ok(()))
    }
}

/// recv(2) into the uninitialised buffer.
fn receive(
    stream: &Async<TcpStream>,
    cx: &mut Context<'_>,
    room: &mut [MaybeUninit<u8>],
) -> Poll<io::Result<usize>> {
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
    stream: &mut Encrypted,
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
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.get_mut().writer().poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().writer().poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().writer().poll_close(cx)
    }
}
