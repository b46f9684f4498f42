//! A connection's bytes, plain or over TLS, and how it ends.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::thread;
use std::time::Duration;

use rustls::{ServerConnection, StreamOwned};

/// Socket timeouts are coarse (a tick of the kernel): shorter waits sleep instead.
const SHORTEST_TIMEOUT: Duration = Duration::from_millis(8);
/// How long a reset waits so that what was sent before it is likely to have arrived.
const BEFORE_RESET: Duration = Duration::from_millis(10);

/// One connection.
pub(crate) enum Stream {
    /// Bare TCP.
    Plain(TcpStream),
    /// TLS; the handshake happens with the first read.
    Tls(Box<StreamOwned<ServerConnection, TcpStream>>),
}

impl Stream {
    fn socket(&self) -> &TcpStream {
        match self {
            Stream::Plain(socket) => socket,
            Stream::Tls(tls) => &tls.sock,
        }
    }

    /// Reads what is there, waiting for the first byte; 0 is the end.
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let result = match self {
                Stream::Plain(socket) => socket.read(buffer),
                Stream::Tls(tls) => tls.read(buffer),
            };
            match result {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => return result,
            }
        }
    }

    /// Hands all bytes to the kernel.
    pub(crate) fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Stream::Plain(socket) => socket.write_all(bytes),
            Stream::Tls(tls) => {
                tls.write_all(bytes)?;
                tls.flush()
            }
        }
    }

    /// Waits for this time and returns `true` if the peer has gone by then; returns at once when it goes. A peer that
    /// has closed its own side only counts as gone.
    pub(crate) fn gone_within(&mut self, wait: Duration) -> bool {
        if wait < SHORTEST_TIMEOUT {
            thread::sleep(wait);
            return false;
        }
        if self.socket().set_read_timeout(Some(wait)).is_err() {
            return true;
        }
        let gone = match self {
            Stream::Plain(socket) => plain_gone(socket),
            Stream::Tls(tls) => tls_gone(tls),
        };
        gone || self.socket().set_read_timeout(None).is_err()
    }

    /// Closes in order.
    pub(crate) fn close(mut self) {
        if let Stream::Tls(tls) = &mut self {
            tls.conn.send_close_notify();
            // The peer may be gone already: then nobody reads it.
            let _ = tls.flush();
        }
        let _ = self.socket().shutdown(Shutdown::Write);
    }

    /// Closes with a reset. No other handle of the socket may be left.
    pub(crate) fn reset(self) {
        thread::sleep(BEFORE_RESET);
        #[cfg(unix)]
        {
            // A linger of zero makes close send RST; if that fails, the close is an ordinary one.
            let _ = rustix::net::sockopt::set_socket_linger(self.socket(), Some(Duration::ZERO));
        }
        drop(self);
    }
}

/// Returns `true` if the end of the stream is there; waits as long as the read timeout says.
fn plain_gone(socket: &TcpStream) -> bool {
    match socket.peek(&mut [0]) {
        Ok(0) => true,
        Ok(_) => {
            // The next request is already waiting: it must not turn this wait into a busy loop.
            thread::sleep(SHORTEST_TIMEOUT);
            false
        }
        Err(error) => !is_timeout(&error),
    }
}

/// The same for TLS, whose end is an alert: received bytes are discarded.
fn tls_gone(tls: &mut StreamOwned<ServerConnection, TcpStream>) -> bool {
    match tls.conn.read_tls(&mut tls.sock) {
        Ok(0) => true,
        Ok(_) => tls.conn.process_new_packets().map_or(true, |state| state.peer_has_closed()),
        Err(error) => !is_timeout(&error),
    }
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted)
}
