//! A served socket, as hyper wants to read and write it, with bytes of files read when the client has room for them.
//!
//! Invariant: no byte of a file leaves that is not of the span's version. Each block is copied out of the file, then the
//! version is looked at, and only if it is unchanged the block is sent. So the last block of a body is sent after all of the
//! body was copied and found to be of one version. A file that changes or ends early closes the connection, the only way left
//! to say that the body is not whole: the client sees it cut, asks again, and gets the new version.
//!
//! Not sendfile(2): it sends references to the file's pages, and a write into the file changes what they refer to. A client
//! on the same machine (loopback, a container) even finds the new bytes in what it has acknowledged and not yet read.
//!
//! How a file gets past hyper, and the threads that send it.
//!
//! hyper sends buffers, and a connection should hold no part of a file while its client reads slowly. So a body that is a
//! file shows hyper a buffer of the right length whose bytes are placeholders, and puts the [`FileSpan`] itself into the
//! connection's outbox. The socket knows the placeholders by their address, never sends one, and reads from the span instead
//! when the client has room. hyper queues buffers without looking at them because the socket takes vectored writes;
//! `the_placeholder_never_reaches_the_wire` holds it to that.
//!
//! Invariant: spans are sent in the order in which their placeholders were queued, byte for byte as many.
//!
//! Reading a file may block its thread, so there are several [`Threads`], apart from those of the transfers: a slow disk delays
//! some replies and stops nothing.

use super::places::Place;
use crate::store::FileVersion;
use crate::sync::lock;
use async_io::{Async, Timer};
use bytes::{Buf, Bytes};
use futures::ready;
use hyper::StatusCode;
use hyper::rt::ReadBufCursor;
use rustix::io::Errno;
use rustix::net::sockopt::set_tcp_nodelay;
use rustix::net::{RecvFlags, SendFlags, recv, send};
use serde_json::json;
use smol::{Executor, channel};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::fs::File;
use std::future::Future;
use std::io::{self, IoSlice};
use std::net::{Shutdown, TcpStream};
use std::num::NonZeroUsize;
use std::os::unix::fs::FileExt;
use std::pin::Pin;
use std::sync::{Arc, LazyLock, Mutex};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

/// A connection whose client takes bytes as fast as they come lets others run after this many.
const BYTES_A_TURN: u64 = 4 << 20;
/// Most bytes that are copied at once: they stay in the processor's cache until they are sent.
const BLOCK_BYTES: usize = 256 << 10;
/// Fewest, unless less is left. A slow client has room for little at a time, and what it does not take is copied again.
const LEAST_BLOCK_BYTES: usize = 16 << 10;

thread_local! {
    /// What a block is copied into. No connection keeps anything in it from one turn to the next.
    static BLOCK: RefCell<Vec<u8>> = RefCell::new(vec![0; BLOCK_BYTES]);
}

/// Has the kernel wait for the file before it sends a packet with the head alone.
#[cfg(any(target_os = "linux", target_os = "android"))]
const MORE_FOLLOWS: SendFlags = SendFlags::MORE;
#[cfg(not(any(target_os = "linux", target_os = "android")))]
const MORE_FOLLOWS: SendFlags = SendFlags::empty();

/// A connected socket. Dropping it closes it.
pub(super) struct ServedSocket {
    stream: Async<TcpStream>,
    outbox: Outbox,
    place: Place,
    /// Bytes of a reply were sent since the last reply ended.
    replying: bool,
    /// The client has closed its sending half.
    client_ended: bool,
    idle: IdleTimer,
    /// Bytes sent since the others last had their turn.
    this_turn: u64,
    /// How many bytes of a file are copied next.
    block_bytes: usize,
    /// What is left to send of a refusal in place of hyper's.
    refusal: Bytes,
}

impl ServedSocket {
    /// Takes over an accepted socket.
    ///
    /// # Errors
    /// The socket is gone already.
    pub(super) fn new(
        stream: Async<TcpStream>,
        outbox: Outbox,
        place: Place,
        idle_timeout: Duration,
    ) -> io::Result<ServedSocket> {
        set_tcp_nodelay(stream.get_ref(), true)?;
        let idle = IdleTimer::new(idle_timeout, time_sending(stream.get_ref(), idle_timeout)?);
        Ok(ServedSocket {
            stream,
            outbox,
            place,
            replying: false,
            client_ended: false,
            idle,
            this_turn: 0,
            block_bytes: BLOCK_BYTES,
            refusal: Bytes::new(),
        })
    }

    /// Sends the head with which hyper refuses a request that it cannot read, with a body that says why. Counts as sent once all is.
    fn send_refusal(&mut self, cx: &mut Context<'_>, head: &[u8], with_body: Bytes) -> Poll<io::Result<usize>> {
        if self.refusal.is_empty() {
            self.refusal = with_body;
        }
        while !self.refusal.is_empty() {
            let refusal = self.refusal.clone();
            let sent = ready!(self.send_bytes(cx, &refusal, false))?;
            self.refusal.advance(sent);
        }
        Poll::Ready(Ok(head.len()))
    }

    /// Sends bytes; `more` says that others follow at once, so that a head does not go alone.
    fn send_bytes(&mut self, cx: &mut Context<'_>, bytes: &[u8], more: bool) -> Poll<io::Result<usize>> {
        let flags = if more { MORE_FOLLOWS } else { SendFlags::empty() };
        self.until_sent(cx, |stream| send(stream, bytes, flags))
    }

    /// Sends from the first span of the outbox, at most `most` bytes.
    fn send_file(&mut self, cx: &mut Context<'_>, most: usize) -> Poll<io::Result<usize>> {
        let Some(span) = self.outbox.first() else {
            return Poll::Ready(Err(io::Error::other("a placeholder without a file")));
        };
        if self.this_turn >= BYTES_A_TURN {
            self.this_turn = 0;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let most = most.min(self.block_bytes);
        let most = most.min(usize::try_from(span.length).unwrap_or(usize::MAX));
        let (copied, sent) = ready!(BLOCK.with_borrow_mut(|block| {
            let copied = copy(&span, block.get_mut(..most).unwrap_or_default())?;
            self.until_sent(cx, |stream| send(stream, copied, SendFlags::empty())).map_ok(|sent| (copied.len(), sent))
        }))?;
        self.block_bytes = match sent < copied {
            true => sent.max(LEAST_BLOCK_BYTES),
            false => BLOCK_BYTES.min(self.block_bytes * 2),
        };
        self.outbox.sent(sent as u64);
        self.this_turn += sent as u64;
        Poll::Ready(Ok(sent))
    }

    /// Repeats a call until the socket takes something.
    fn until_sent(
        &mut self,
        cx: &mut Context<'_>,
        mut call: impl FnMut(&TcpStream) -> Result<usize, Errno>,
    ) -> Poll<io::Result<usize>> {
        loop {
            match call(self.stream.get_ref()) {
                Ok(count) => {
                    self.idle.moved();
                    self.replying = true;
                    return Poll::Ready(Ok(count));
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => {
                    self.this_turn = 0;
                    self.idle.sending = true;
                    if self.stream.poll_writable(cx)?.is_pending() {
                        ready!(self.idle.poll(cx))?;
                    }
                }
                Err(error) => return Poll::Ready(Err(error.into())),
            }
        }
    }
}

impl ServedSocket {
    fn client_ended(&mut self) {
        self.client_ended = true;
        self.place.client_sends_no_more();
    }

    /// While a reply is under way hyper does not read, as the client may have closed its sending half. So this
    /// looks for the end of its data or an error, and reads nothing.
    fn watch_client(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.client_ended {
            match recv(self.stream.get_ref(), &mut [0; 1], RecvFlags::PEEK) {
                Ok((_, 0)) => self.client_ended(),
                // A request that was sent ahead, or more of a body.
                Ok(_) => return Poll::Pending,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => {
                    if self.stream.poll_readable(cx)?.is_pending() {
                        break;
                    }
                }
                Err(error) => return Poll::Ready(Err(error.into())),
            }
        }
        self.idle.poll(cx)
    }
}

/// Lets the kernel time the sending, because only the kernel sees a slow client read from a full send buffer. Returns
/// `true` if it can.
fn time_sending(stream: &TcpStream, timeout: Duration) -> io::Result<bool> {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    {
        let milliseconds = u32::try_from(timeout.as_millis()).unwrap_or(u32::MAX);
        rustix::net::sockopt::set_tcp_user_timeout(stream, milliseconds)?;
        Ok(true)
    }
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    {
        let _ = (stream, timeout);
        Ok(false)
    }
}

/// Copies the next bytes of a span: some at least, all of one version of the file.
fn copy<'a>(span: &FileSpan, block: &'a mut [u8]) -> io::Result<&'a [u8]> {
    let read = loop {
        match span.file.read_at(block, span.offset) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            read => break read?,
        }
    };
    // Before the end of a body, a network file system is asked, and not the cache of its attributes.
    let version = match read as u64 == span.length {
        true => FileVersion::of_open_now(&span.file)?,
        false => FileVersion::of_open(&span.file)?,
    };
    if version != span.version {
        return Err(io::Error::other("the file changed while it was sent"));
    }
    match block.get(..read) {
        Some(copied) if read > 0 => Ok(copied),
        _ => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

impl hyper::rt::Read for ServedSocket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, mut buffer: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        let socket = self.get_mut();
        loop {
            // SAFETY: recv only writes data, it never takes initialised bytes back.
            let room = unsafe { buffer.as_mut() };
            match recv(socket.stream.get_ref(), &mut *room, RecvFlags::empty()) {
                Ok(((received, _), _)) => {
                    let count = received.len();
                    if count == 0 {
                        socket.client_ended();
                    }
                    // SAFETY: recv initialised this many bytes at the start.
                    unsafe { buffer.advance(count) };
                    socket.idle.moved();
                    return Poll::Ready(Ok(()));
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => {
                    if socket.stream.poll_readable(cx)?.is_pending() {
                        return socket.idle.poll(cx);
                    }
                }
                Err(error) => return Poll::Ready(Err(error.into())),
            }
        }
    }
}

impl hyper::rt::Write for ServedSocket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let socket = self.get_mut();
        let mut filled = slices.iter().filter(|slice| !slice.is_empty());
        match filled.next() {
            None => Poll::Ready(Ok(0)),
            Some(first) if is_placeholder(first) => socket.send_file(cx, first.len()),
            Some(first) => match refusal_of(first) {
                Some(refusal) => socket.send_refusal(cx, first, refusal),
                None => socket.send_bytes(cx, first, filled.next().is_some()),
            },
        }
    }

    /// hyper flushes once it has written all it has, and whenever it looks for something to do.
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let socket = self.get_mut();
        socket.idle.sending = false;
        if socket.outbox.in_reply() {
            if let Poll::Ready(Err(error)) = socket.watch_client(cx) {
                return Poll::Ready(Err(error));
            }
        } else if socket.replying {
            socket.replying = false;
            socket.place.end();
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.stream.get_ref().shutdown(Shutdown::Write) {
            Err(error) if error.kind() != io::ErrorKind::NotConnected => Poll::Ready(Err(error)),
            _ => Poll::Ready(Ok(())),
        }
    }
}

/// The refusal in place of a head by which hyper refuses a request that it cannot read; `None` for any other bytes. No reply of ours
/// has such a status without a body.
fn refusal_of(head: &[u8]) -> Option<Bytes> {
    const EMPTY: &str = "content-length: 0\r\n";
    let status = head.strip_prefix(b"HTTP/1.1 ")?.get(..3)?;
    let status = StatusCode::from_bytes(status).ok()?;
    let (code, why) = match status {
        StatusCode::BAD_REQUEST => ("BadRequest", "the request is not valid HTTP/1.1"),
        StatusCode::URI_TOO_LONG => ("UrlTooLong", "the URL of the request is too long"),
        StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => {
            ("HeadTooLarge", "the head of the request is too long, or has too many fields")
        }
        _ => return None,
    };
    let head = std::str::from_utf8(head).ok().filter(|head| head.ends_with("\r\n\r\n"))?;
    let (before, after) = head.split_once(EMPTY)?;
    let body = json!({ "error": { "code": code, "message": why } }).to_string();
    let length = body.len();
    let fields = format!("content-type: application/json\r\ncontent-length: {length}\r\n");
    Some(Bytes::from([before, &fields, after, &body].concat()))
}

/// Ends a connection on which nothing comes and nothing is being sent.
struct IdleTimer {
    timeout: Duration,
    since: Instant,
    kernel_times_sending: bool,
    /// The socket was full last time.
    sending: bool,
    timer: Timer,
}

impl IdleTimer {
    fn new(timeout: Duration, kernel_times_sending: bool) -> IdleTimer {
        IdleTimer { timeout, since: Instant::now(), kernel_times_sending, sending: false, timer: Timer::after(timeout) }
    }

    fn moved(&mut self) {
        self.since = Instant::now();
        self.sending = false;
    }

    /// One timer per idle window, not one per chunk: when it fires too early it is set anew.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            ready!(Pin::new(&mut self.timer).poll(cx));
            let now = Instant::now();
            if self.sending && self.kernel_times_sending {
                self.since = now;
            }
            let deadline = self.since + self.timeout;
            if deadline <= now {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
            self.timer.set_at(deadline);
        }
    }
}

/// Longest run of placeholders at once.
const PLACEHOLDER_BYTES: usize = 1 << 20;

/// Fresh zeroed memory: as nobody reads it, it costs address space and no page.
static PLACEHOLDER: LazyLock<Vec<u8>> = LazyLock::new(|| vec![0; PLACEHOLDER_BYTES]);

/// Some bytes of an open file.
#[derive(Clone, Debug)]
pub struct FileSpan {
    /// The file, open for reading.
    pub file: Arc<File>,
    /// The first byte.
    pub offset: u64,
    /// How many.
    pub length: u64,
    /// What the file was when the reply was made. Once it is another, nothing more of it is sent.
    pub version: FileVersion,
}

/// The spans a connection has to send, first to last, and the state of the reply.
#[derive(Clone, Debug, Default)]
pub(super) struct Outbox(Arc<Mutex<Spans>>);

#[derive(Debug, Default)]
struct Spans {
    spans: VecDeque<FileSpan>,
    /// A reply is under way of which hyper has not taken all.
    in_reply: bool,
}

impl Outbox {
    /// Queues a span and returns the placeholder for it.
    pub(super) fn put(&self, span: FileSpan) -> Piece {
        let length = span.length;
        if length > 0 {
            lock(&self.0).spans.push_back(span);
        }
        Piece::File { length }
    }

    /// The span to send from now.
    pub(super) fn first(&self) -> Option<FileSpan> {
        lock(&self.0).spans.front().cloned()
    }

    /// A request was read: its reply is under way.
    pub(super) fn begin_reply(&self) {
        lock(&self.0).in_reply = true;
    }

    /// hyper has taken all of a reply.
    pub(super) fn end_reply(&self) {
        lock(&self.0).in_reply = false;
    }

    /// Returns `true` while hyper may have more to send than was written so far.
    pub(super) fn in_reply(&self) -> bool {
        lock(&self.0).in_reply
    }

    /// This many bytes of the first span were sent.
    pub(super) fn sent(&self, count: u64) {
        let spans = &mut lock(&self.0).spans;
        let Some(first) = spans.front_mut() else {
            return;
        };
        first.offset += count;
        first.length = first.length.saturating_sub(count);
        if first.length == 0 {
            spans.pop_front();
        }
    }
}

/// What hyper queues: bytes, or the placeholder of a span.
#[derive(Debug)]
pub(super) enum Piece {
    /// Bytes.
    Bytes(Bytes),
    /// This many bytes of a file.
    File {
        /// How many are left.
        length: u64,
    },
}

impl Buf for Piece {
    fn remaining(&self) -> usize {
        match self {
            Piece::Bytes(bytes) => bytes.remaining(),
            Piece::File { length } => usize::try_from(*length).unwrap_or(usize::MAX),
        }
    }

    fn chunk(&self) -> &[u8] {
        match self {
            Piece::Bytes(bytes) => bytes.chunk(),
            Piece::File { .. } => &PLACEHOLDER[..self.remaining().min(PLACEHOLDER_BYTES)],
        }
    }

    fn advance(&mut self, count: usize) {
        match self {
            Piece::Bytes(bytes) => bytes.advance(count),
            Piece::File { length } => *length = length.saturating_sub(count as u64),
        }
    }
}

/// Returns `true` if a slice is the placeholder.
pub(super) fn is_placeholder(bytes: &[u8]) -> bool {
    PLACEHOLDER.as_ptr_range().contains(&bytes.as_ptr())
}

/// The fewest threads, whatever the number of cores: they wait for disks more than they compute.
const FEWEST: usize = 4;

/// Threads that drive the tasks of an executor. Dropping it ends them.
#[derive(Debug)]
pub struct Threads {
    executor: Arc<Executor<'static>>,
    _stop: channel::Sender<()>,
}

impl Threads {
    /// Starts them.
    ///
    /// # Errors
    /// The system gave no thread.
    pub fn start() -> io::Result<Threads> {
        let count = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        let executor = Arc::new(Executor::new());
        let (stop, stopped) = channel::bounded::<()>(1);
        for number in 0..count.max(FEWEST) {
            let (executor, stopped) = (Arc::clone(&executor), stopped.clone());
            std::thread::Builder::new().name(format!("server {number}")).spawn(move || {
                // Ends when the sender is dropped, as an error.
                let _ = smol::block_on(executor.run(stopped.recv()));
            })?;
        }
        Ok(Threads { executor, _stop: stop })
    }

    /// Where tasks are spawned.
    pub fn executor(&self) -> &Arc<Executor<'static>> {
        &self.executor
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(file: &Arc<File>, offset: u64, length: u64) -> FileSpan {
        FileSpan { file: Arc::clone(file), offset, length, version: FileVersion::of_open(file).unwrap() }
    }

    #[test]
    fn spans_leave_in_order_and_byte_for_byte() {
        let file = Arc::new(File::open("/dev/null").unwrap());
        let outbox = Outbox::default();
        outbox.put(span(&file, 10, 5));
        assert_eq!(outbox.put(span(&file, 0, 0)).remaining(), 0);
        outbox.put(span(&file, 0, 3));
        outbox.sent(2);
        let first = outbox.first().unwrap();
        assert_eq!((first.offset, first.length), (12, 3));
        outbox.sent(3);
        assert_eq!(outbox.first().unwrap().length, 3);
        outbox.sent(3);
        assert!(outbox.first().is_none());
    }

    #[test]
    fn a_piece_of_a_file_is_as_long_as_its_span_and_shows_placeholders_only() {
        let mut piece = Piece::File { length: PLACEHOLDER_BYTES as u64 + 7 };
        assert_eq!(piece.remaining(), PLACEHOLDER_BYTES + 7);
        assert_eq!(piece.chunk().len(), PLACEHOLDER_BYTES);
        piece.advance(PLACEHOLDER_BYTES);
        assert_eq!(piece.chunk().len(), 7);
        assert!(is_placeholder(piece.chunk()));
        assert!(!is_placeholder(Piece::Bytes(Bytes::from_static(b"x")).chunk()));
    }
}
