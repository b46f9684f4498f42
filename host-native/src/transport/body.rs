//! The body of a response, lent as the pieces hyper read.
//!
//! The reader owns the frames and the connection they come over and polls both, so that nothing outlives it: dropped early,
//! it closes the socket at once; at the proven end (RFC 9112 §6.3) the connection goes back to the pool, never before.
//! After an error it stays broken and is never mistaken for an end.

use super::connection::Connection;
use super::errors;
use super::pool::Pool;
use super::proxy::Route;
use bytes::{Buf, Bytes};
use futures::io::{AsyncBufRead, AsyncRead};
use futures::ready;
use hyper::body::{Body, Incoming};
use regrip_core::Error;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

/// A connection in use, and where it belongs afterwards.
pub(super) struct Lease {
    pub(super) connection: Connection,
    pub(super) route: Route,
    pub(super) pool: Arc<Pool>,
}

impl Lease {
    fn give_back(mut self) {
        self.connection.trial().end_well();
        self.pool.put(self.route, self.connection);
    }
}

enum State {
    Open { frames: Incoming, lease: Box<Lease> },
    Ended,
    Broken,
}

/// The body of a response.
pub(super) struct BodyReader {
    /// What the reader has not consumed yet.
    chunk: Bytes,
    state: State,
}

impl BodyReader {
    /// A body that comes over the leased connection.
    pub(super) fn new(frames: Incoming, lease: Lease) -> BodyReader {
        let mut reader = BodyReader {
            chunk: Bytes::new(),
            state: State::Open {
                frames,
                lease: Box::new(lease),
            },
        };
        reader.end_if_proven();
        reader
    }

    fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let State::Open { frames, lease } = &mut self.state else {
            let ended = matches!(self.state, State::Ended);
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
        if matches!(&self.state, State::Open { frames, .. } if frames.is_end_stream()) {
            self.end();
        }
    }

    fn end(&mut self) {
        if let State::Open { frames, lease } = std::mem::replace(&mut self.state, State::Ended) {
            drop(frames);
            lease.give_back();
        }
    }

    fn fail(&mut self, error: Error) -> Error {
        self.state = State::Broken;
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
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        room: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let chunk = ready!(self.as_mut().poll_fill_buf(cx))?;
        let count = chunk.len().min(room.len());
        room[..count].copy_from_slice(&chunk[..count]);
        self.consume(count);
        Poll::Ready(Ok(count))
    }
}
