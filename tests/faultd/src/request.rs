//! A request as it was read: the head, split but not judged, and the small body of a control request.
//!
//! It does not read from a socket; [`Request::parse`] takes the bytes of a whole head.

use std::fmt;

/// The largest head that is read, in bytes.
pub const HEAD_LIMIT: usize = 64 * 1024;
/// The most header lines a request may have.
pub const HEADER_LIMIT: usize = 256;

/// One request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The method as sent: `GET`, `HEAD`, `OPTIONS`, …
    pub method: String,
    /// The target as sent, path and query.
    pub target: String,
    /// The protocol as sent: `HTTP/1.1`.
    pub protocol: String,
    /// The header lines in order, duplicates kept, names as sent.
    pub headers: Vec<(String, String)>,
    /// The body; only control requests have one.
    pub body: Vec<u8>,
    /// The number of its connection, from 1; 0 if there is none.
    pub connection: u64,
}

impl Request {
    /// A request without headers, over HTTP/1.1.
    pub fn new(method: &str, target: &str) -> Self {
        Self {
            method: method.to_owned(),
            target: target.to_owned(),
            protocol: "HTTP/1.1".to_owned(),
            headers: Vec::new(),
            body: Vec::new(),
            connection: 0,
        }
    }

    /// A `GET` without headers.
    pub fn get(target: &str) -> Self {
        Self::new("GET", target)
    }

    /// The same request with one more header line.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The same request without any header line of this name.
    #[must_use]
    pub fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(own, _)| !own.eq_ignore_ascii_case(name));
        self
    }

    /// The first value of a header; the name in any case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(own, _)| own.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// The target up to its query.
    pub fn path(&self) -> &str {
        self.target.split_once('?').map_or(self.target.as_str(), |(path, _)| path)
    }

    /// The first value of a query parameter, as sent (nothing is decoded).
    pub fn query(&self, name: &str) -> Option<&str> {
        let (_, query) = self.target.split_once('?')?;
        query.split('&').filter_map(|pair| pair.split_once('=')).find(|(own, _)| *own == name).map(|(_, value)| value)
    }

    /// Returns `true` if the client wants the connection closed after the answer (RFC 9112 §9.3).
    pub fn wants_close(&self) -> bool {
        let connection = self.header("Connection").unwrap_or_default().to_ascii_lowercase();
        let asks = |token: &str| connection.split(',').any(|own| own.trim() == token);
        asks("close") || (self.protocol == "HTTP/1.0" && !asks("keep-alive"))
    }

    /// Parses a head; `head` ends with its empty line, or just before it.
    ///
    /// # Errors
    /// The rule that the head breaks.
    pub fn parse(head: &[u8]) -> Result<Self, BadRequest> {
        if head.len() > HEAD_LIMIT {
            return Err(BadRequest("the head is too large"));
        }
        let text = std::str::from_utf8(head).map_err(|_| BadRequest("the head is not UTF-8"))?;
        let mut lines = text.split("\r\n");
        let mut words = lines.next().unwrap_or_default().split(' ');
        let (Some(method), Some(target), Some(protocol), None) =
            (words.next(), words.next(), words.next(), words.next())
        else {
            return Err(BadRequest("the request line does not have three words"));
        };
        if method.is_empty() || !target.starts_with(['/', '*']) || !protocol.starts_with("HTTP/1.") {
            return Err(BadRequest("the request line is not one of HTTP/1"));
        }
        let mut request = Self::new(method, target);
        request.protocol = protocol.to_owned();
        for line in lines.take_while(|line| !line.is_empty()) {
            if request.headers.len() == HEADER_LIMIT {
                return Err(BadRequest("there are too many headers"));
            }
            let (name, value) = line.split_once(':').ok_or(BadRequest("a header line has no colon"))?;
            request.headers.push((name.to_owned(), value.trim().to_owned()));
        }
        Ok(request)
    }
}

/// Why a head could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadRequest(&'static str);

impl fmt::Display for BadRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for BadRequest {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_split_into_method_target_and_headers() {
        let head = b"GET /a/b?x=1&version=2 HTTP/1.1\r\nHost: h\r\nRANGE:  bytes=1-\r\nRange: second\r\n\r\n";
        let request = Request::parse(head).expect("it is well formed");
        assert_eq!((request.method.as_str(), request.path()), ("GET", "/a/b"));
        assert_eq!(request.query("version"), Some("2"));
        assert_eq!(request.header("range"), Some("bytes=1-"));
        assert_eq!(request.headers.len(), 3);
    }

    #[test]
    fn a_head_that_breaks_a_rule_is_refused() {
        for head in [
            "",
            "GET /\r\n\r\n",
            "GET / HTTP/1.1 x\r\n\r\n",
            "GET x HTTP/1.1\r\n\r\n",
            "GET / HTTP/1.1\r\nno colon\r\n\r\n",
        ] {
            assert!(Request::parse(head.as_bytes()).is_err(), "{head:?}");
        }
        let many = format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(HEADER_LIMIT + 1));
        assert_eq!(Request::parse(many.as_bytes()), Err(BadRequest("there are too many headers")));
    }

    #[test]
    fn keep_alive_is_the_default_of_http_1_1_only() {
        assert!(!Request::get("/").wants_close());
        assert!(Request::get("/").with("Connection", "x, Close").wants_close());
        let mut old = Request::get("/");
        old.protocol = "HTTP/1.0".to_owned();
        assert!(old.wants_close());
        assert!(!old.with("Connection", "keep-alive").wants_close());
    }
}
