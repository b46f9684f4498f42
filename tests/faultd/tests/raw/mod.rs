//! A client that hides nothing: it writes bytes, reads bytes, and says how the reading ended.

#![allow(dead_code, reason = "each test file uses its own part")]

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use regrip_faultd::{FileScript, Script, Server, Version};

/// Longer than anything here takes; a test that gets there has failed.
const PATIENCE: Duration = Duration::from_secs(20);

/// The seed of the file most tests are about.
pub(crate) const SEED: u64 = 1;

/// A server of one file `/a` of `size` bytes, tag `"v1"`.
pub(crate) fn server(size: u64, change: impl FnOnce(FileScript) -> FileScript) -> Server {
    let file = FileScript::honest(version(size));
    Server::start(Script::one("/a", change(file))).expect("a loopback port is free")
}

/// The version that [`server`] serves.
pub(crate) fn version(size: u64) -> Version {
    Version::new(SEED, size).etag("\"v1\"")
}

/// Its bytes.
pub(crate) fn bytes(from: u64, to: u64) -> Vec<u8> {
    version(to).content().bytes(from..to)
}

/// A connection to a server.
pub(crate) fn connect(server: &Server) -> TcpStream {
    let stream = TcpStream::connect(server.address()).expect("the server listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout can be set");
    stream
}

/// Writes a GET of `/a` with these header lines, each ended by CR LF.
pub(crate) fn ask(stream: &mut impl Write, headers: &str) {
    write!(stream, "GET /a HTTP/1.1\r\nHost: h\r\n{headers}\r\n").expect("the server reads");
}

/// A head, and the status in it.
pub(crate) struct Head {
    pub(crate) status: u16,
    pub(crate) text: String,
}

impl Head {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let lines = self.text.lines().skip(1).filter_map(|line| line.split_once(": "));
        lines.into_iter().find(|(own, _)| own.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }
}

/// Reads up to the empty line and nothing more.
pub(crate) fn read_head(stream: &mut impl Read) -> Head {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).expect("a head ends");
        head.push(byte[0]);
    }
    let text = String::from_utf8(head).expect("this head is UTF-8");
    let status = text.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a head has a status");
    Head { status, text }
}

/// Reads exactly this many bytes.
pub(crate) fn read_exactly(stream: &mut impl Read, len: usize) -> Vec<u8> {
    let mut out = vec![0; len];
    stream.read_exact(&mut out).expect("that many bytes");
    out
}

/// Reads to the end: the bytes, and the error if there was no proper end.
pub(crate) fn read_to_end(stream: &mut impl Read) -> (Vec<u8>, Option<io::ErrorKind>) {
    let mut out = Vec::new();
    let error = stream.read_to_end(&mut out).err();
    (out, error.map(|error| error.kind()))
}

/// Waits until something is so.
pub(crate) fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !is_so() {
        assert!(begin.elapsed() < PATIENCE, "not within {PATIENCE:?}: {what}");
        thread::sleep(Duration::from_millis(2));
    }
}
