//! One connection: hyper parses requests and frames replies, one after the other.

use super::host;
use super::limits::Limits;
use super::outbox::{Outbox, Piece};
use super::places::{Leave, Place};
use super::reply::{Payload, Reply};
use super::router::Answer;
use super::socket::ServedSocket;
use super::timer::SmolTimer;
use crate::time;
use async_io::{Async, Timer};
use futures::{AsyncReadExt, AsyncWriteExt, FutureExt, StreamExt, ready};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use smol::channel::Receiver;
use std::convert::Infallible;
use std::net::{SocketAddr, TcpStream};
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::SystemTime;

/// Serves a connection to its end, or until it is to make room. Once `stopping` is closed the reply under way may go on for
/// `stop_within`.
///
/// A client that closes its sending half has its requests answered all the same (RFC 9112 §9.6).
pub(super) async fn serve(
    stream: Async<TcpStream>,
    from: SocketAddr,
    answer: Answer,
    limits: Limits,
    place: Place,
    stopping: Receiver<()>,
) {
    if !time::has_text(SystemTime::now()) {
        return refuse_by_clock(stream, &limits).await;
    }
    let outbox = Outbox::default();
    let socket = ServedSocket::new(stream, outbox.clone(), place.clone(), limits.idle_timeout);
    let Ok(socket) = socket else {
        return;
    };
    let requests = place.clone();
    let service = service_fn(move |mut request: Request<Incoming>| {
        requests.begin();
        outbox.begin_reply();
        let reply = match host::settle(&mut request) {
            Ok(()) => {
                request.extensions_mut().insert(requests.clone());
                answer(request, from)
            }
            Err(refusal) => std::future::ready(refusal.into()).boxed(),
        };
        let outbox = outbox.clone();
        async move { Ok::<_, Infallible>(response(reply.await, outbox)) }
    });
    let connection = http1::Builder::new()
        .timer(SmolTimer)
        .header_read_timeout(limits.head_timeout)
        .max_buf_size(limits.head_bytes)
        .max_headers(limits.head_fields)
        .writev(true)
        .half_close(true)
        .serve_connection(socket, service);
    let mut connection = pin!(connection);
    // How a connection ended is its client's affair: a cut, a timeout or a malformed head is nothing the server can mend.
    let end_gracefully = futures::select_biased! {
        _ = connection.as_mut().fuse() => false,
        _ = stopping.recv().fuse() => true,
        leave = place.asked_to_leave().fuse() => leave == Leave::AfterReply,
    };
    if end_gracefully {
        connection.as_mut().graceful_shutdown();
        let overtime = Timer::after(limits.stop_within);
        futures::future::select(connection, overtime).await;
    }
}

/// hyper cannot write the date, and would take its thread along.
async fn refuse_by_clock(mut stream: Async<TcpStream>, limits: &Limits) {
    const WHY: &str = "the clock of this server is before 1970 or after 9999";
    tracing::error!("a request was refused: {WHY}");
    let reply = format!(
        "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 60\r\nConnection: close\r\n\
         Content-Type: text/plain\r\nContent-Length: {}\r\n\r\n{WHY}",
        WHY.len()
    );
    let answered = async {
        // Closed with something unread, the connection would be reset and the reply lost.
        let mut head = [0; 8 << 10];
        let _ = stream.read(&mut head).await;
        // Whoever asks may be gone.
        let _ = stream.write_all(reply.as_bytes()).await;
    };
    let too_late = Timer::after(limits.head_timeout);
    futures::future::select(pin!(answered), too_late).await;
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

impl Drop for Outgoing {
    fn drop(&mut self) {
        self.outbox.end_reply();
    }
}

impl Body for Outgoing {
    type Data = Piece;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Piece>, Infallible>>> {
        if let Payload::Stream(stream) = &mut self.payload {
            let bytes = ready!(stream.poll_next_unpin(cx));
            return Poll::Ready(bytes.map(|bytes| Ok(Frame::data(Piece::Bytes(bytes)))));
        }
        let piece = match std::mem::take(&mut self.payload) {
            Payload::Empty | Payload::Stream(_) => return Poll::Ready(None),
            Payload::Bytes(bytes) => Piece::Bytes(bytes),
            Payload::File(span) => self.outbox.put(span),
        };
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.payload, Payload::Empty)
    }

    fn size_hint(&self) -> SizeHint {
        match &self.payload {
            Payload::Empty => SizeHint::with_exact(0),
            Payload::Bytes(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Payload::File(span) => SizeHint::with_exact(span.length),
            Payload::Stream(_) => SizeHint::default(),
        }
    }
}
