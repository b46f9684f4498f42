//! A raw server, and what the tests ask of the transport.

use regrip::transport::{HttpTransport, TransportOptions};
use regrip_core::Error;
use regrip_core::transport::{Body, Headers, Request, Transport};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// Long enough that only a failing test waits for it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// One request as the server saw it.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    /// Connections are counted from 0.
    pub(crate) connection: usize,
    /// The request head, without the empty line.
    pub(crate) head: String,
}

impl Seen {
    /// The request target.
    pub(crate) fn target(&self) -> &str {
        self.head.split(' ').nth(1).unwrap_or("")
    }

    /// The value of a header; `None` if it is not there.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let fields = self.head.lines().skip(1).filter_map(|line| line.split_once(':'));
        let mut values = fields.filter(|(have, _)| have.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim());
        let value = values.next();
        assert_eq!(values.next(), None, "{name} came twice");
        value
    }
}

/// What a server does after it has written its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Then {
    /// Reads the next request.
    Next,
    /// Closes.
    Close,
    /// Writes nothing more and waits for the client to close.
    Hold,
    /// Writes the byte `z` for ever.
    Flood,
}

/// An answer: bytes, as they go on the wire.
pub(crate) struct Answer(pub(crate) Vec<u8>, pub(crate) Then);

/// An answer that leaves the connection open.
pub(crate) fn keep(bytes: impl AsRef<[u8]>) -> Answer {
    Answer(bytes.as_ref().to_vec(), Then::Next)
}

/// An answer that ends with the connection.
pub(crate) fn close(bytes: impl AsRef<[u8]>) -> Answer {
    Answer(bytes.as_ref().to_vec(), Then::Close)
}

/// An answer that is all there will be, on a connection that stays open.
pub(crate) fn hold(bytes: impl AsRef<[u8]>) -> Answer {
    Answer(bytes.as_ref().to_vec(), Then::Hold)
}

/// A 200 with a body of known length.
pub(crate) fn ok(body: &str) -> Answer {
    keep(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()))
}

/// A redirect without a body.
pub(crate) fn found(location: &str) -> Answer {
    keep(format!("HTTP/1.1 302 Found\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n"))
}

/// What carries a connection of the server.
pub(crate) trait Wire: Read + Write + Send {}
impl<T: Read + Write + Send> Wire for T {}

/// Wraps an accepted socket (TLS), or leaves it as it is.
pub(crate) type Wrap = Arc<dyn Fn(TcpStream) -> Box<dyn Wire> + Send + Sync>;
type Script = Arc<dyn Fn(&Seen) -> Answer + Send + Sync>;

/// A raw server; its threads end with the test process.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    closed: Receiver<usize>,
}

impl Server {
    /// Answers every request on 127.0.0.1 by the script.
    pub(crate) fn new(script: impl Fn(&Seen) -> Answer + Send + Sync + 'static) -> Server {
        Server::at("127.0.0.1:0", script).expect("127.0.0.1 is there")
    }

    /// The same at another address; `None` if the machine does not have it.
    pub(crate) fn at(address: &str, script: impl Fn(&Seen) -> Answer + Send + Sync + 'static) -> Option<Server> {
        Server::wrapped(address, Arc::new(|stream| Box::new(stream)), script)
    }

    /// The same with something between the socket and HTTP.
    pub(crate) fn wrapped(
        address: &str,
        wrap: Wrap,
        script: impl Fn(&Seen) -> Answer + Send + Sync + 'static,
    ) -> Option<Server> {
        let listener = TcpListener::bind(address).ok()?;
        let address = listener.local_addr().ok()?;
        let (script, seen, (tell, closed)) = (Arc::new(script) as Script, Arc::default(), channel());
        let log: Arc<Mutex<Vec<Seen>>> = Arc::clone(&seen);
        thread::spawn(move || {
            for (connection, stream) in listener.incoming().flatten().enumerate() {
                let (wrap, script, log, tell) = (wrap.clone(), script.clone(), log.clone(), tell.clone());
                thread::spawn(move || converse(connection, wrap(stream), &script, &log, &tell));
            }
        });
        Some(Server { address, seen, closed })
    }

    /// An URL on this server.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// All requests so far.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// The only request so far.
    pub(crate) fn only_request(&self) -> Seen {
        let seen = self.seen();
        assert_eq!(seen.len(), 1, "{seen:?}");
        seen[0].clone()
    }

    /// Waits until the client has closed a connection.
    pub(crate) fn client_closed(&self) -> bool {
        self.closed.recv_timeout(PATIENCE).is_ok()
    }
}

fn converse(
    connection: usize,
    mut wire: Box<dyn Wire>,
    script: &Script,
    log: &Mutex<Vec<Seen>>,
    closed: &Sender<usize>,
) {
    while let Some(head) = read_head(&mut wire) {
        let seen = Seen { connection, head };
        log.lock().unwrap().push(seen.clone());
        let Answer(bytes, then) = script(&seen);
        let sent = wire.write_all(&bytes).and_then(|()| wire.flush());
        match then {
            Then::Next if sent.is_ok() => {}
            Then::Next | Then::Hold => break,
            Then::Close => return,
            Then::Flood => while wire.write_all(&[b'z'; 65_536]).is_ok() {},
        }
    }
    while matches!(wire.read(&mut [0; 1024]), Ok(1..)) {}
    let _ = closed.send(connection);
}

/// `None` at the end of the connection.
fn read_head(wire: &mut Box<dyn Wire>) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        match wire.read(&mut byte) {
            Ok(1) => head.push(byte[0]),
            _ => return None,
        }
    }
    head.truncate(head.len() - 4);
    Some(head.into_iter().map(char::from).collect())
}

/// A response, read to its end.
#[derive(Debug)]
pub(crate) struct Whole {
    pub(crate) status: u16,
    pub(crate) headers: Headers,
    pub(crate) body: String,
}

/// Options with patience.
pub(crate) fn options() -> TransportOptions {
    TransportOptions { connect_timeout: PATIENCE, headers_timeout: PATIENCE, ..TransportOptions::default() }
}

/// A transport with patience and nothing else set.
pub(crate) fn transport() -> HttpTransport {
    HttpTransport::new(options())
}

/// A plain GET.
pub(crate) fn plain(url: &str) -> Request<'_> {
    Request { url, range: None, if_range: None }
}

/// Fetches a URL to its end.
pub(crate) fn fetch(transport: &HttpTransport, url: &str) -> Result<Whole, Error> {
    fetch_request(transport, plain(url))
}

/// The same, for a request of any kind.
pub(crate) fn fetch_request(transport: &HttpTransport, request: Request<'_>) -> Result<Whole, Error> {
    smol::block_on(async {
        let mut response = transport.get(request).await?;
        let mut body = Vec::new();
        while let Some(chunk) = response.body.chunk().await? {
            assert!(!chunk.is_empty(), "a chunk is never empty");
            body.extend_from_slice(chunk);
        }
        let body = body.into_iter().map(char::from).collect();
        Ok(Whole { status: response.status, headers: response.headers, body })
    })
}

/// Fetches a URL and returns the bytes before the body broke, and how it broke.
pub(crate) fn fetch_broken(transport: &HttpTransport, url: &str) -> (String, Error) {
    smol::block_on(async {
        let mut response = transport.get(plain(url)).await.expect("the head is fine");
        let mut body = String::new();
        loop {
            match response.body.chunk().await {
                Ok(Some(chunk)) => body.extend(chunk.iter().copied().map(char::from)),
                Ok(None) => panic!("the body ended as if nothing had happened, after {body:?}"),
                Err(error) => {
                    assert!(response.body.chunk().await.is_err(), "a broken body stays broken");
                    return (body, error);
                }
            }
        }
    })
}
