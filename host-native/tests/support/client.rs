//! An HTTP client that hides nothing, for tests that care what is on the wire; how long it waits is `support::PATIENCE` of
//! the tests that use it.

use crate::support::PATIENCE;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// Waits for something to become so, however long a loaded machine takes.
pub(crate) fn until<T>(mut so: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(value) = so() {
            return value;
        }
        assert!(begun.elapsed() < PATIENCE, "it never became so");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A connection.
pub(crate) struct Client {
    pub(crate) stream: TcpStream,
    ahead: Vec<u8>,
}

/// A reply, read whole.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
    /// `true` if the body was as long as its head said.
    pub(crate) whole: bool,
}

impl Reply {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let fields = self.head.lines().filter_map(|line| line.split_once(": "));
        let mut values = fields.filter(|(field, _)| field.eq_ignore_ascii_case(name));
        values.next().map(|(_, value)| value)
    }
}

impl Client {
    pub(crate) fn connect(address: SocketAddr) -> Client {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let ahead = Vec::new();
        Client { stream, ahead }
    }

    pub(crate) fn write(&mut self, text: &str) {
        self.stream.write_all(text.as_bytes()).unwrap();
    }

    /// The next reply; `None` if the connection was closed instead.
    pub(crate) fn reply(&mut self, to_head: bool) -> Option<Reply> {
        let head = self.head()?;
        let status = head.split(' ').nth(1)?.parse().ok()?;
        let mut reply = Reply { status, head, body: Vec::new(), whole: true };
        let length = reply.header("content-length");
        let length = length.map_or(0, |length| length.parse().unwrap());
        if !to_head {
            reply.body = self.take(length);
            reply.whole = reply.body.len() == length;
        }
        Some(reply)
    }

    /// A head, without its empty line.
    pub(crate) fn head(&mut self) -> Option<String> {
        let head = self.through("\r\n\r\n")?;
        Some(head.trim_end().to_owned())
    }

    /// All up to and with a mark; `None` if the connection ends before.
    pub(crate) fn through(&mut self, mark: &str) -> Option<String> {
        loop {
            let mark = mark.as_bytes();
            let at = self.ahead.windows(mark.len()).position(|some| some == mark);
            if let Some(at) = at {
                let rest = self.ahead.split_off(at + mark.len());
                let text = std::mem::replace(&mut self.ahead, rest);
                return Some(String::from_utf8(text).unwrap());
            }
            if !self.more() {
                return None;
            }
        }
    }

    /// This many bytes, or fewer if the connection ends.
    pub(crate) fn take(&mut self, length: usize) -> Vec<u8> {
        while self.ahead.len() < length && self.more() {}
        let rest = self.ahead.split_off(length.min(self.ahead.len()));
        std::mem::replace(&mut self.ahead, rest)
    }

    /// Returns `true` if the server has closed, once nothing more comes.
    pub(crate) fn is_closed(&mut self) -> bool {
        while self.more() {}
        true
    }

    fn more(&mut self) -> bool {
        let mut block = vec![0; 64 << 10];
        match self.stream.read(&mut block) {
            Ok(0) => false,
            Ok(count) => {
                self.ahead.extend_from_slice(&block[..count]);
                true
            }
            Err(error) if error.kind() == ErrorKind::ConnectionReset => false,
            Err(error) => panic!("the server neither answers nor closes: {error}"),
        }
    }
}
