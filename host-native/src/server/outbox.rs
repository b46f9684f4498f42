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

use crate::store::FileVersion;
use crate::sync::lock;
use bytes::{Buf, Bytes};
use smol::{Executor, channel};
use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::num::NonZeroUsize;
use std::sync::{Arc, LazyLock, Mutex};

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

    /// So many bytes of the first span were sent.
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
    /// So many bytes of a file.
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
            std::thread::Builder::new()
                .name(format!("server {number}"))
                .spawn(move || {
                    // Ends when the sender is dropped, as an error.
                    let _ = smol::block_on(executor.run(stopped.recv()));
                })?;
        }
        Ok(Threads {
            executor,
            _stop: stop,
        })
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
        FileSpan {
            file: Arc::clone(file),
            offset,
            length,
            version: FileVersion::of_open(file).unwrap(),
        }
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
        let mut piece = Piece::File {
            length: PLACEHOLDER_BYTES as u64 + 7,
        };
        assert_eq!(piece.remaining(), PLACEHOLDER_BYTES + 7);
        assert_eq!(piece.chunk().len(), PLACEHOLDER_BYTES);
        piece.advance(PLACEHOLDER_BYTES);
        assert_eq!(piece.chunk().len(), 7);
        assert!(is_placeholder(piece.chunk()));
        assert!(!is_placeholder(
            Piece::Bytes(Bytes::from_static(b"x")).chunk()
        ));
    }
}
