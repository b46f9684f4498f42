//! One HTTP/1.1 connection, and the body of a response, lent as the pieces hyper read.
//!
//! hyper's connection is a future that somebody has to poll. Here that is whoever waits for the head or the body, in their own
//! task: nothing is spawned, so dropping the connection closes its socket at once, and a body nobody reads is not read ahead
//! (TCP holds the server back). At the proven end of a body (RFC 9112 §6.3) the connection goes back to the pool, never before.
//! After an error it stays broken and is never mistaken for an end.

use super::address_policy::Trial;
use super::client::Pool;
use super::dial::Dialed;
use super::errors;
use super::head::MAX_KEPT_FIELDS;
use super::proxy::ProxyRoute;
use super::socket::{Meter, Socket};
use bytes::{Buf, Bytes};
use futures::io::{AsyncBufRead, AsyncRead};
use futures::ready;
use http_body_util::Full;
use hyper::body::{Body, Incoming};
use hyper::client::conn::http1::{self, SendRequest};
use regrip_core::Error;
use std::io;
use std::net::IpAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

/// A connection in use, and where it belongs afterwards.
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
        let mut reader = BodyReader {
            chunk: Bytes::new(),
            state: BodyState::Open {
                frames,
                lease: Box::new(lease),
            },
        };
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
        if let BodyState::Open { frames, lease } =
            std::mem::replace(&mut self.state, BodyState::Ended)
        {
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
        builder
            .max_headers(MAX_KEPT_FIELDS)
            .title_case_headers(true);
        if dialed.slow {
            builder.max_buf_size(SLOW_BUFFER_BYTES);
        }
        let (sender, driver) = builder
            .handshake(dialed.socket)
            .await
            .map_err(errors::answer)?;
        Ok(Connection {
            sender,
            driver,
            ended: false,
            meter: dialed.meter,
            peer: dialed.peer,
            trial: dialed.trial,
        })
    }

    /// Who answers at the other end, if that is known.
    pub(super) fn peer(&self) -> Option<IpAddr> {
        self.peer
    }

    /// How its address does.
    pub(super) fn trial(&mut self) -> &mut Trial {
        &mut self.trial
    }

    /// Bytes that came over it so far.
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
