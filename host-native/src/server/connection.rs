//! One connection: hyper parses requests and frames replies, one after the other.

use super::limits::Limits;
use super::outbox::{Outbox, Piece};
use super::reply::{Payload, Reply};
use super::router::Answer;
use super::socket::ServedSocket;
use super::timer::SmolTimer;
use async_io::{Async, Timer};
use futures::FutureExt;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use smol::channel::Receiver;
use std::convert::Infallible;
use std::net::{SocketAddr, TcpStream};
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

/// Serves a connection to its end. Once `stopping` is closed the reply under way may go on for `stop_within`.
pub(super) async fn serve(
    stream: Async<TcpStream>,
    from: SocketAddr,
    answer: Answer,
    limits: Limits,
    stopping: Receiver<()>,
) {
    let outbox = Outbox::default();
    let Ok(socket) = ServedSocket::new(stream, outbox.clone(), limits.idle_timeout) else {
        return;
    };
    let service = service_fn(move |request: Request<Incoming>| {
        let reply = answer(request, from);
        let outbox = outbox.clone();
        async move { Ok::<_, Infallible>(response(reply.await, outbox)) }
    });
    let connection = http1::Builder::new()
        .timer(SmolTimer)
        .header_read_timeout(limits.head_timeout)
        .max_buf_size(limits.head_bytes)
        .max_headers(limits.head_fields)
        .writev(true)
        .serve_connection(socket, service);
    let mut connection = pin!(connection);
    // How a connection ended is its client's affair: a cut, a timeout or a malformed head is nothing the server can mend.
    let ended = futures::select_biased! {
        _ = connection.as_mut().fuse() => true,
        _ = stopping.recv().fuse() => false,
    };
    if !ended {
        connection.as_mut().graceful_shutdown();
        let overtime = Timer::after(limits.stop_within);
        futures::future::select(connection, overtime).await;
    }
}

fn response(reply: Reply, outbox: Outbox) -> Response<Outgoing> {
    let (parts, payload) = reply.into_parts();
    Response::from_parts(parts, Outgoing { payload, outbox })
}

/// A payload on its way into hyper.
struct Outgoing {
    payload: Payload,
    outbox: Outbox,
}

impl Body for Outgoing {
    type Data = Piece;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Piece>, Infallible>>> {
        let piece = match std::mem::take(&mut self.payload) {
            Payload::Empty => return Poll::Ready(None),
            Payload::Bytes(bytes) => Piece::Bytes(bytes),
            Payload::File(span) => self.outbox.put(span),
        };
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.payload, Payload::Empty)
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(match &self.payload {
            Payload::Empty => 0,
            Payload::Bytes(bytes) => bytes.len() as u64,
            Payload::File(span) => span.length,
        })
    }
}
