//! A site on a real port: one thread accepts, one thread per connection answers.
//!
//! Invariant: after [`Server::stop`] returns no connection is open, also none that stalls by script.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::connection::{self, Served};
use crate::log::LogEntry;
use crate::pages::Pages;
use crate::reply::End;
use crate::script::Script;
use crate::site::Site;
use crate::stream::Stream;
use crate::tls::TlsIdentity;

/// The most connections at once; further ones are closed as they come.
const CONNECTION_LIMIT: usize = 4096;
/// How long a stop waits for the connection threads; they need milliseconds.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// Where and how a server listens.
#[derive(Clone, Debug)]
pub struct Options {
    /// The address; port 0 takes a free one. By default `127.0.0.1:0`.
    pub listen: SocketAddr,
    /// The certificate to speak TLS with; none speaks plain HTTP.
    pub tls: Option<TlsIdentity>,
    /// Files served beside the script.
    pub pages: Pages,
}

impl Default for Options {
    fn default() -> Self {
        Self { listen: SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 0), tls: None, pages: Pages::default() }
    }
}

/// A running server. It stops when it is dropped.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    scheme: &'static str,
    shared: Arc<Shared>,
    accepting: Mutex<Option<JoinHandle<()>>>,
}

/// What the threads share.
#[derive(Debug)]
struct Shared {
    site: Site,
    pages: Pages,
    stop: AtomicBool,
    open: Mutex<HashMap<u64, TcpStream>>,
    closed: Condvar,
    tls: Option<Arc<ServerConfig>>,
}

impl Server {
    /// Starts on a free port of 127.0.0.1.
    ///
    /// # Errors
    /// The address cannot be bound.
    pub fn start(script: Script) -> io::Result<Self> {
        Self::start_with(Options::default(), script)
    }

    /// Starts as the options say.
    ///
    /// # Errors
    /// The address cannot be bound, or the certificate cannot be used.
    pub fn start_with(options: Options, script: Script) -> io::Result<Self> {
        let listener = TcpListener::bind(options.listen)?;
        let address = listener.local_addr()?;
        let tls = options.tls.map(|identity| identity.server_config()).transpose()?;
        let scheme = if tls.is_some() { "https" } else { "http" };
        let shared = Arc::new(Shared {
            site: Site::new(script),
            pages: options.pages,
            stop: AtomicBool::new(false),
            open: Mutex::new(HashMap::new()),
            closed: Condvar::new(),
            tls,
        });
        let for_accepting = Arc::clone(&shared);
        let accepting =
            thread::Builder::new().name("faultd-accept".to_owned()).spawn(move || accept(&listener, &for_accepting))?;
        let server = Self { address, scheme, shared, accepting: Mutex::new(Some(accepting)) };
        server.site().set_origin(&server.origin());
        Ok(server)
    }

    /// Scheme, host and port: `http://127.0.0.1:40001`.
    pub fn origin(&self) -> String {
        format!("{}://{}", self.scheme, self.reachable_address())
    }

    /// The URL of a path that begins with `/`.
    pub fn url(&self, path: &str) -> String {
        self.origin() + path
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The script being played.
    pub fn site(&self) -> &Site {
        &self.shared.site
    }

    /// Every request so far, oldest first.
    pub fn log(&self) -> Vec<LogEntry> {
        self.site().log()
    }

    /// How many connections are open now.
    pub fn open_connections(&self) -> usize {
        self.shared.open().len()
    }

    /// Closes the port and every connection, also those that stall, and waits until they are closed.
    pub fn stop(&self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        let accepting = self.accepting.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(accepting) = accepting {
            // `accept` cannot be interrupted, but a connection wakes it.
            let _ = TcpStream::connect_timeout(&self.reachable_address(), STOP_TIMEOUT);
            // It holds nothing that a panic there could have spoilt.
            let _ = accepting.join();
        }
        self.shared.close_all();
    }

    /// The address with a host that one can connect to.
    fn reachable_address(&self) -> SocketAddr {
        match self.address.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => SocketAddr::new(Ipv4Addr::LOCALHOST.into(), self.address.port()),
            IpAddr::V6(ip) if ip.is_unspecified() => {
                SocketAddr::new(std::net::Ipv6Addr::LOCALHOST.into(), self.address.port())
            }
            _ => self.address,
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Shared {
    fn open(&self) -> MutexGuard<'_, HashMap<u64, TcpStream>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes every connection out of its read, write or wait, and waits for its thread.
    fn close_all(&self) {
        let open = self.open();
        for socket in open.values() {
            // It may have closed by itself.
            let _ = socket.shutdown(Shutdown::Both);
        }
        // A thread that hangs is reported by whoever counts threads, not by a server that never stops.
        let _ = self.closed.wait_timeout_while(open, STOP_TIMEOUT, |open| !open.is_empty());
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    let mut number = 0;
    loop {
        let accepted = listener.accept();
        if shared.stop.load(Ordering::SeqCst) {
            return;
        }
        let Ok((socket, _)) = accepted else {
            // Out of file descriptors, most likely: it passes, but not at once.
            thread::sleep(Duration::from_millis(10));
            continue;
        };
        number += 1;
        // Where a connection cannot be served it is closed, and its client sees that.
        let _ = serve(socket, number, shared);
    }
}

/// Registers a connection and gives it its thread.
fn serve(socket: TcpStream, number: u64, shared: &Arc<Shared>) -> io::Result<()> {
    socket.set_nodelay(true)?;
    let handle = socket.try_clone()?;
    let stream = match &shared.tls {
        None => Stream::Plain(socket),
        Some(config) => {
            let connection = ServerConnection::new(Arc::clone(config)).map_err(io::Error::other)?;
            Stream::Tls(Box::new(StreamOwned::new(connection, socket)))
        }
    };
    let mut open = shared.open();
    if open.len() >= CONNECTION_LIMIT {
        return Ok(());
    }
    open.insert(number, handle);
    drop(open);
    let registered = Registered { number, shared: Arc::clone(shared) };
    thread::Builder::new().name(format!("faultd-{number}")).spawn(move || run(stream, registered))?;
    Ok(())
}

/// The life of a connection thread.
fn run(mut stream: Stream, registered: Registered) {
    let shared = Arc::clone(&registered.shared);
    let served = Served { site: &shared.site, pages: &shared.pages, stop: &shared.stop };
    let end = connection::serve(&mut stream, registered.number, served);
    match end {
        End::Reset => {
            // Only the last handle of a socket can reset it.
            drop(registered);
            stream.reset();
        }
        End::Close | End::KeepAlive => {
            stream.close();
            drop(registered);
        }
    }
}

/// A connection's place among the open ones, given up when it is dropped, also by a panic.
struct Registered {
    number: u64,
    shared: Arc<Shared>,
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.shared.open().remove(&self.number);
        self.shared.closed.notify_all();
    }
}
