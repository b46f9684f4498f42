//! Accepts connections and serves them: hyper parses requests and frames replies, one after the other.
//!
//! [`Limits`] bounds what a client can make the server hold, and for how long. At the limit [`Places`] decides which connection
//! makes room.

use super::guesses::ClientNetwork;
use super::places::{Leave, Place, Places};
use super::reply::{Payload, Reply};
use super::router;
use super::router::Answer;
use super::socket::ServedSocket;
use super::socket::{Outbox, Piece};
use crate::time;
use async_io::{Async, Timer};
use futures::{AsyncReadExt, AsyncWriteExt, FutureExt, StreamExt, ready};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::rt::Sleep;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use rustix::process::{Resource, getrlimit};
use smol::Executor;
use smol::channel::{self, Receiver};
use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant, SystemTime};

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
        let reply = match router::settle(&mut request) {
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

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Piece>, Infallible>>> {
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

/// How long to wait for file descriptors or memory if there are none left.
const BEFORE_NEXT_ACCEPT: Duration = Duration::from_millis(100);

/// A listening socket.
#[derive(Debug)]
pub struct Server {
    listener: Async<TcpListener>,
    address: SocketAddr,
    limits: Limits,
}

impl Server {
    /// Listens at an address; port 0 is any free one.
    ///
    /// # Errors
    /// The error of the system: the address is taken, or not this machine's.
    pub fn bind(address: SocketAddr, limits: Limits) -> io::Result<Server> {
        let listener = Async::<TcpListener>::bind(address)?;
        let address = listener.get_ref().local_addr()?;
        Ok(Server { listener, address, limits: limits.within_open_files() })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `stop` ends; then takes no more connections, closes the idle ones, lets replies go on for
    /// `stop_within` and cuts what is left.
    pub async fn run(self, executor: &Executor<'static>, answer: Answer, stop: impl Future<Output = ()>) {
        let places = Places::new(self.limits.connections);
        let (stopped, stopping) = channel::bounded::<()>(1);
        let accept = self.accept(executor, answer, &places, stopping);
        smol::future::or(stop, accept).await;
        // The listener is closed; a closed channel is what every connection waits for.
        drop(stopped);
        places.all_closed().await;
    }

    async fn accept(self, executor: &Executor<'static>, answer: Answer, places: &Places, stopping: Receiver<()>) {
        loop {
            let (stream, from) = self.next(places).await;
            let place = places.admit(ClientNetwork::of(from.ip())).await;
            let served = serve(stream, from, Arc::clone(&answer), self.limits, place, stopping.clone());
            executor.spawn(served).detach();
        }
    }

    async fn next(&self, places: &Places) -> (Async<TcpStream>, SocketAddr) {
        loop {
            match self.listener.accept().await {
                Ok(accepted) => return accepted,
                Err(error) if is_of_one_connection(&error) => {}
                Err(_) => {
                    places.make_room();
                    Timer::after(BEFORE_NEXT_ACCEPT).await;
                }
            }
        }
    }
}

/// The client went away before it was accepted.
fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::Interrupted
    )
}

/// Bounds of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections at once, fewer if the process may open few files. A newcomer then takes the place of an idle one; a
    /// quarter is kept for those that showed a key.
    pub connections: usize,
    /// Most bytes of a request head, at least 8 KiB; a longer one is answered with 431.
    pub head_bytes: usize,
    /// Most fields of a request head; more are answered with 431.
    pub head_fields: usize,
    /// The time for a request head, from the connection or the reply before.
    pub head_timeout: Duration,
    /// A connection without any data for this long is closed.
    pub idle_timeout: Duration,
    /// How long replies may go on after the server begins to stop.
    pub stop_within: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            connections: 256,
            head_bytes: 16 << 10,
            head_fields: 64,
            head_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(60),
            stop_within: Duration::from_secs(8),
        }
    }
}

impl Limits {
    /// No more connections than a quarter of the files that the process may open: each may send a file, and downloads need
    /// some.
    pub(super) fn within_open_files(self) -> Limits {
        let files = getrlimit(Resource::Nofile).current;
        let files = files.and_then(|files| usize::try_from(files).ok());
        let most = files.map_or(usize::MAX, |files| (files / 4).max(4));
        Limits { connections: self.connections.min(most), ..self }
    }
}

/// Makes timers for hyper.
#[derive(Clone, Copy, Debug)]
pub(super) struct SmolTimer;

impl hyper::rt::Timer for SmolTimer {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Sleep>> {
        Box::pin(SmolSleep(Timer::after(duration)))
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn Sleep>> {
        Box::pin(SmolSleep(Timer::at(deadline)))
    }
}

struct SmolSleep(Timer);

impl Future for SmolSleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        Pin::new(&mut self.0).poll(cx).map(drop)
    }
}

impl Sleep for SmolSleep {}
