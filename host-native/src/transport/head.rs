//! Response heads as servers really send them, made into heads that hyper reads (RFC 9112 §2.2, §4, §5).
//!
//! What curl or wget accepts is accepted: folded values, control characters, a space before the colon, lines that are no
//! field, lines that end with a bare LF, status lines without a reason. Only the fields that somebody reads are kept
//! ([`KEPT`]), so that nothing in the others matters.
//!
//! Invariant: **a field that decides which bytes are the file ([`FRAMING`]) is either read as it was meant or refused**. A
//! line that looks like one of these without being one is an error, not an ignored line.
//!
//! It knows no sockets: [`Socket`](super::connection::Socket) feeds it, and hands on what it made.

use hyper::header::{self, HeaderName};
use percent_encoding::{AsciiSet, CONTROLS, percent_encode};
use regrip_core::transport::Headers;
use std::fmt;
use std::sync::Arc;

/// Longest response head.
pub(super) const MAX_HEAD_BYTES: usize = 256 * 1024;

/// Most fields of a head that are kept.
pub(super) const MAX_KEPT_FIELDS: usize = 512;

/// Most `Set-Cookie` fields of a head; the others are ignored.
const MAX_COOKIES: usize = 50;

/// Most interim responses (1xx) before the response.
const MAX_INTERIM: usize = 64;

/// The fields that say which bytes are the file.
const FRAMING: [HeaderName; 4] =
    [header::CONTENT_LENGTH, header::TRANSFER_ENCODING, header::CONTENT_RANGE, header::CONTENT_ENCODING];

/// The fields that are read beside [`Headers::NAMES`].
const KEPT: [HeaderName; 6] = [
    header::CONNECTION,
    header::CONTENT_DISPOSITION,
    header::LOCATION,
    header::SET_COOKIE,
    HeaderName::from_static("x-amz-meta-regrip-upload"),
    HeaderName::from_static("x-amz-bucket-region"),
];

/// What no URL has as it is, beside bytes that are not ASCII.
const NOT_IN_A_URL: &AsciiSet = &CONTROLS.add(b' ');

/// Why a response head was refused, in one clause. Travels as the source of an `io::Error`.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(super) struct HeadRefused(pub(super) String);

/// Reads heads until the one of the response is complete.
#[derive(Debug, Default)]
pub(super) struct HeadReader {
    /// The line that is not at its end yet.
    line: Vec<u8>,
    /// Bytes of this head so far.
    length: usize,
    /// The status, once its line was read.
    status: Option<u16>,
    /// The last line, which the next one may continue.
    last: Last,
    fields: usize,
    cookies: usize,
    interim: usize,
    /// The heads, as hyper will read them.
    clean: Vec<u8>,
}

/// The line before, as far as the next one may continue it.
#[derive(Debug, Default)]
enum Last {
    /// Nothing that is kept.
    #[default]
    Ignored,
    /// A field that is kept.
    Field(HeaderName, Vec<u8>),
}

impl HeadReader {
    /// Takes bytes as they were received. Once the head of the response is complete it returns how many of them belong to
    /// it; the others are the body's.
    ///
    /// # Errors
    /// A head that is no HTTP, too large, or unclear about the bytes that follow it.
    pub(super) fn read(&mut self, bytes: &[u8]) -> Result<Option<usize>, HeadRefused> {
        let mut rest = bytes;
        while let Some(end) = rest.iter().position(|&byte| byte == b'\n') {
            let (line, after) = rest.split_at(end + 1);
            self.take(line)?;
            rest = after;
            let line = std::mem::take(&mut self.line);
            if self.end_of_line(&line)? {
                return Ok(Some(bytes.len() - rest.len()));
            }
        }
        self.take(rest)?;
        if self.status.is_none() {
            self.check_beginning()?;
        }
        Ok(None)
    }

    /// The heads that were read, interim ones included.
    pub(super) fn into_clean(self) -> Vec<u8> {
        self.clean
    }

    fn take(&mut self, bytes: &[u8]) -> Result<(), HeadRefused> {
        self.length += bytes.len();
        if self.length > MAX_HEAD_BYTES {
            return refuse(format_args!("the response head is longer than {} KiB", MAX_HEAD_BYTES / 1024));
        }
        self.line.extend_from_slice(bytes);
        Ok(())
    }

    /// Refuses what is no HTTP at once: a server that waits for something else would never end its line.
    fn check_beginning(&self) -> Result<(), HeadRefused> {
        let start = without_line_end(&self.line);
        let count = start.len().min(HTTP.len());
        if start[..count].eq_ignore_ascii_case(&HTTP[..count]) {
            return Ok(());
        }
        refuse(format_args!("the response is not HTTP"))
    }

    /// Reads a line; `true` at the end of the response's head.
    fn end_of_line(&mut self, line: &[u8]) -> Result<bool, HeadRefused> {
        let line = without_line_end(line);
        let Some(status) = self.status else {
            if !line.is_empty() {
                self.status_line(line)?;
            }
            return Ok(false);
        };
        if !line.is_empty() {
            self.field_line(line)?;
            return Ok(false);
        }
        self.keep_last()?;
        self.clean.extend_from_slice(b"\r\n");
        if !matches!(status, 100 | 102..=199) {
            return Ok(true);
        }
        self.interim += 1;
        if self.interim > MAX_INTERIM {
            return refuse(format_args!("more than {MAX_INTERIM} interim responses"));
        }
        (self.length, self.status, self.fields, self.cookies) = (0, None, 0, 0);
        Ok(false)
    }

    fn status_line(&mut self, line: &[u8]) -> Result<(), HeadRefused> {
        let (version, status) = match status_line(line) {
            Some(read) => read,
            None if line.len() >= HTTP.len() && line[..HTTP.len()].eq_ignore_ascii_case(HTTP) => {
                return refuse(format_args!("malformed status line"));
            }
            None => return refuse(format_args!("the response is not HTTP")),
        };
        self.status = Some(status);
        self.clean.extend_from_slice(format!("{version} {status}\r\n").as_bytes());
        Ok(())
    }

    fn field_line(&mut self, line: &[u8]) -> Result<(), HeadRefused> {
        let (name, value) = match line.iter().position(|&byte| byte == b':') {
            Some(colon) => (&line[..colon], &line[colon + 1..]),
            None => (line, &line[line.len()..]),
        };
        let has_colon = name.len() < line.len();
        if line.starts_with(b" ") || line.starts_with(b"\t") {
            if has_colon {
                refuse_if_framing(name)?;
            }
            if let Last::Field(_, value) = &mut self.last {
                value.push(b' ');
                value.extend_from_slice(line.trim_ascii());
            }
            return Ok(());
        }
        self.keep_last()?;
        let known = HeaderName::from_bytes(name.trim_ascii_end()).ok();
        match known.filter(|_| has_colon) {
            Some(name) if is_kept(&name) => self.last = Last::Field(name, value.to_vec()),
            Some(_) => {}
            None => refuse_if_framing(name)?,
        }
        Ok(())
    }

    /// Writes the last field, which nothing continues any more.
    fn keep_last(&mut self) -> Result<(), HeadRefused> {
        let Last::Field(name, value) = std::mem::take(&mut self.last) else {
            return Ok(());
        };
        let value = value.trim_ascii();
        let odd = value.iter().any(|&byte| byte.is_ascii_control() && byte != b'\t');
        if odd && FRAMING.contains(&name) {
            return refuse(format_args!("a control character in {name}"));
        }
        let encoded;
        let value = if name == header::LOCATION {
            encoded = percent_encode(value, NOT_IN_A_URL).to_string();
            encoded.as_bytes()
        } else if odd {
            return Ok(()); // what cannot be read is as good as missing
        } else {
            value
        };
        if name == header::SET_COOKIE {
            self.cookies += 1;
            if self.cookies > MAX_COOKIES {
                return Ok(());
            }
        }
        self.fields += 1;
        if self.fields > MAX_KEPT_FIELDS {
            return refuse(format_args!("too many header fields"));
        }
        for part in [name.as_str().as_bytes(), b": ", value, b"\r\n"] {
            self.clean.extend_from_slice(part);
        }
        Ok(())
    }
}

/// How a status line starts, in any case.
const HTTP: &[u8] = b"HTTP/";

/// The version that hyper is to read, and the status: three digits, and no fourth.
pub(super) fn status_line(line: &[u8]) -> Option<(&'static str, u16)> {
    let (start, rest) = line.split_at_checked(HTTP.len())?;
    let blank = rest.iter().position(u8::is_ascii_whitespace)?;
    let (version, rest) = rest.split_at(blank);
    let numbers = version.iter().all(|&byte| byte.is_ascii_digit() || byte == b'.');
    if !start.eq_ignore_ascii_case(HTTP) || version.is_empty() || !numbers {
        return None;
    }
    let (digits, reason) = rest.trim_ascii_start().split_at_checked(3)?;
    if !digits.iter().all(u8::is_ascii_digit) || reason.first().is_some_and(u8::is_ascii_digit) {
        return None;
    }
    let status = std::str::from_utf8(digits).ok()?.parse().ok()?;
    let version = match version {
        b"1.0" => "HTTP/1.0",
        _ => "HTTP/1.1",
    };
    (status >= 100).then_some((version, status))
}

fn is_kept(name: &HeaderName) -> bool {
    KEPT.contains(name) || Headers::NAMES.contains(&name.as_str())
}

/// Refuses the name of a line that is to be ignored, if another reader could take it for a framing field.
fn refuse_if_framing(name: &[u8]) -> Result<(), HeadRefused> {
    let letters = name.iter().filter(|byte| byte.is_ascii_alphanumeric());
    let letters: Vec<u8> = letters.map(u8::to_ascii_lowercase).collect();
    let looks_like = |framing: &&HeaderName| {
        let framing = framing.as_str().bytes().filter(|&byte| byte != b'-');
        letters.starts_with(&framing.collect::<Vec<u8>>())
    };
    match FRAMING.iter().find(looks_like) {
        Some(framing) => refuse(format_args!("a broken {framing} field")),
        None => Ok(()),
    }
}

/// Without its LF, and the CRs before it: some servers send two.
fn without_line_end(mut line: &[u8]) -> &[u8] {
    while let [start @ .., b'\r' | b'\n'] = line {
        line = start;
    }
    line
}

fn refuse<T>(why: fmt::Arguments<'_>) -> Result<T, HeadRefused> {
    Err(HeadRefused(why.to_string()))
}

/// Is given connections and the heads of requests and responses as lines, as curl's `-v` shows them: without secrets and
/// control characters. The default does nothing.
#[derive(Clone, Default)]
pub struct Trace(Option<Arc<ShowLines>>);

type ShowLines = dyn Fn(&[String]) + Send + Sync;

impl Trace {
    /// Hands all lines of a head to `show` at once.
    pub fn new(show: impl Fn(&[String]) + Send + Sync + 'static) -> Trace {
        Trace(Some(Arc::new(show)))
    }

    pub(super) fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// A line about a connection, which is only made if it is shown.
    pub(super) fn note(&self, line: impl FnOnce() -> String) {
        if let Some(show) = &self.0 {
            show(&[format!("* {}", line())]);
        }
    }

    /// A head as it is on the wire, of a request (`>`) or a response (`<`).
    pub(super) fn head(&self, mark: char, head: &[u8]) {
        if let Some(show) = &self.0 {
            show(&shown(mark, head));
        }
    }
}

impl fmt::Debug for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Trace({})", self.is_on())
    }
}

/// What may be shown of a request: the fields that are not for a user's secrets.
const REQUEST_FIELDS: [&str; 12] = [
    "accept",
    "accept-encoding",
    "accept-language",
    "connection",
    "content-length",
    "host",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "range",
    "referer",
    "user-agent",
];

/// A field of a response whose name contains one of these has a secret value.
const SECRET_WORDS: [&str; 11] =
    ["auth", "cookie", "credential", "csrf", "jwt", "key", "pass", "secret", "session", "signature", "token"];

/// Fields whose value is a URL, or has one in it, with or without its scheme.
const URL_FIELDS: [&str; 5] = ["content-location", "link", "location", "referer", "refresh"];

fn shown(mark: char, head: &[u8]) -> Vec<String> {
    let mut at_start = true; // a status line may follow an interim response
    let head = head.strip_suffix(b"\n").unwrap_or(head);
    let shown = |line: &[u8]| {
        let line = String::from_utf8_lossy(without_line_end(line)).into_owned();
        let text = line.replace(char::is_control, "?");
        let is_start = std::mem::replace(&mut at_start, text.is_empty());
        let text = match text.split_once('?') {
            _ if text.is_empty() => text,
            // Continues a field, whichever that was.
            _ if !is_start && line.starts_with([' ', '\t']) => "***".to_owned(),
            _ if !is_start => shown_field(mark, &text),
            Some((path, query)) if mark == '>' => {
                format!("{path}?***{}", &query[query.find(' ').unwrap_or(query.len())..])
            }
            _ => text,
        };
        format!("{mark} {text}").trim_end().to_owned()
    };
    head.split(|&byte| byte == b'\n').map(shown).collect()
}

/// A field line without secrets: those in a value, and query and userinfo of URLs.
fn shown_field(mark: char, line: &str) -> String {
    let Some((name, value)) = line.split_once(':') else {
        return "***".to_owned();
    };
    let key = name.trim().to_ascii_lowercase();
    let is_secret = match mark {
        '>' => !REQUEST_FIELDS.contains(&key.as_str()),
        _ => SECRET_WORDS.iter().any(|word| key.contains(word)) && !key.ends_with("-authenticate"),
    };
    if is_secret {
        return format!("{name}: ***");
    }
    if !value.contains("//") && !URL_FIELDS.contains(&key.as_str()) {
        return line.to_owned();
    }
    let (url, query) = value.split_at(value.find(['?', '#']).unwrap_or(value.len()));
    let without_userinfo = |(at, part): (usize, &str)| {
        let (authority, path) = part.split_at(part.find('/').unwrap_or(part.len()));
        match authority.rsplit_once('@') {
            Some((_, host)) if at > 0 => format!("***@{host}{path}"),
            _ => part.to_owned(),
        }
    };
    let url: Vec<String> = url.split("//").enumerate().map(without_userinfo).collect();
    format!("{name}:{}{}", url.join("//"), if query.is_empty() { "" } else { "?***" })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What hyper gets to read of a head, and how many bytes followed it.
    fn clean(head: &[u8]) -> Result<(String, usize), String> {
        let mut reader = HeadReader::default();
        match reader.read(head) {
            Ok(Some(end)) => {
                let clean = String::from_utf8(reader.into_clean()).unwrap();
                Ok((clean, head.len() - end))
            }
            Ok(None) => Err("not at its end".to_owned()),
            Err(HeadRefused(why)) => Err(why),
        }
    }

    /// The fields that are kept of these lines.
    fn fields(lines: &str) -> Result<String, String> {
        let head = format!("HTTP/1.1 200 OK\r\n{lines}\r\n");
        let (clean, _) = clean(head.as_bytes())?;
        let fields = clean.strip_prefix("HTTP/1.1 200\r\n").unwrap();
        Ok(fields.strip_suffix("\r\n").unwrap().to_owned())
    }

    #[test]
    fn fields_are_read_as_curl_and_wget_read_them() {
        let table = [
            ("ETag: \"a\"\r\n", "etag: \"a\"\r\n"),
            ("ETag:\"a\"\t \n", "etag: \"a\"\r\n"),
            ("ETag : \"a\"\r\n", "etag: \"a\"\r\n"),
            ("ETag: \"a\"\r\r\n", "etag: \"a\"\r\n"),
            ("Content-Length : 5\r\n", "content-length: 5\r\n"),
            ("Content-Length:\r\n 5\r\n", "content-length: 5\r\n"),
            ("Content-Length: 5\r\n\t6\r\n", "content-length: 5 6\r\n"),
            ("Content-Length: 5\r\nContent-Length: 6\r\n", "content-length: 5\r\ncontent-length: 6\r\n"),
            ("Vary: Accept,\r\n Content-Encoding\r\n", ""),
            ("X: a\r\n b\r\nETag: \"a\"\r\n", "etag: \"a\"\r\n"),
            (" ETag: \"a\"\r\n", ""),
            ("X: a\x01\x7f\u{e9}\0\r\nX\u{e9}: b\r\n", ""),
            ("junk\r\n: y\r\nX Y: z\r\n@\r\n", ""),
            ("ETag\r\n", ""),
            ("ETag: \"\x01\"\r\nDate: \x7f\r\n", ""),
            ("Last-Modified: a\rb\r\n", ""),
            ("Location: /a b\u{e9}\x01\r\n", "location: /a%20b%C3%A9%01\r\n"),
            ("Location:\r\n", "location: \r\n"),
        ];
        for (lines, kept) in table {
            assert_eq!(fields(lines).as_deref(), Ok(kept), "{lines:?}");
        }
    }

    #[test]
    fn a_location_in_latin_1_is_encoded_byte_by_byte() {
        let head = b"HTTP/1.1 302 Found\r\nLocation: /caf\xe9\r\n\r\n";
        let (clean, _) = clean(head).unwrap();
        assert_eq!(clean, "HTTP/1.1 302\r\nlocation: /caf%E9\r\n\r\n");
    }

    #[test]
    fn a_line_that_may_be_meant_as_framing_is_never_ignored() {
        let table = [
            "Content-Length: 5\x01\r\n",
            "Content-Length: \x005\r\n",
            "Content-Length: 5\r6\r\n",
            "Content-Length\x01: 5\r\n",
            "Content-Length 5\r\n",
            "Content Length: 5\r\n",
            "\x0bContent-Length: 5\r\n",
            "X: y\r\n Content-Length: 5\r\n",
            " Transfer-Encoding: chunked\r\n",
            "Transfer-Encoding: \x0bchunked\r\n",
            "Transfer-Encoding\u{e9}: chunked\r\n",
            "\u{feff}Content-Range: bytes 0-1/2\r\n",
            "Content-Range: bytes 0-1/2\x7f\r\n",
            "Content-Encoding: gzip\x08\r\n",
        ];
        for lines in table {
            assert!(fields(lines).is_err(), "{lines:?}");
        }
    }

    #[test]
    fn odd_status_lines_are_read_as_curl_or_wget_reads_them() {
        let table = [
            ("HTTP/1.1 200", "HTTP/1.1 200"),
            ("HTTP/1.1 404 ", "HTTP/1.1 404"),
            ("HTTP/1.1  206 Partial", "HTTP/1.1 206"),
            ("HTTP/1.1\t200 OK", "HTTP/1.1 200"),
            ("HTTP/1.1 200OK", "HTTP/1.1 200"),
            ("HTTP/1.1 200 \u{d6}\x01", "HTTP/1.1 200"),
            ("http/1.0 200 ok", "HTTP/1.0 200"),
            ("HTTP/1.2 200 OK", "HTTP/1.1 200"),
            ("HTTP/2 200", "HTTP/1.1 200"),
            ("\r\n\nHTTP/1.1 200 OK", "HTTP/1.1 200"),
        ];
        for (line, read) in table {
            let head = format!("{line}\r\n\r\nbody");
            let read = format!("{read}\r\n\r\n");
            assert_eq!(clean(head.as_bytes()), Ok((read, 4)), "{line:?}");
        }
        let table = [
            "HTTP/1.1 20 OK",
            "HTTP/1.1 2000 OK",
            "HTTP/1.1 000 OK",
            "HTTP/1.1 OK",
            "HTTP/1.1 ",
            "HTTP/x 200 OK",
            "HTTP/ 200 OK",
            "ICY 200 OK",
            " HTTP/1.1 200 OK",
            "junk\r\nHTTP/1.1 200 OK",
            "SSH-2.0-OpenSSH_9.6",
        ];
        for line in table {
            let refused = clean(format!("{line}\r\n\r\n").as_bytes()).unwrap_err();
            assert!(refused != "not at its end", "{line:?}");
        }
    }

    #[test]
    fn what_is_no_http_is_refused_before_its_line_ends() {
        for start in ["S", "\r\nSSH", "HTTPS"] {
            assert!(HeadReader::default().read(start.as_bytes()).is_err());
        }
        for start in ["", "\r\n", "h", "HTTP/1.1 20"] {
            assert_eq!(HeadReader::default().read(start.as_bytes()), Ok(None));
        }
    }

    #[test]
    fn interim_responses_are_handed_on_and_are_not_the_answer() {
        let head = b"HTTP/1.1 103 Hints\nLink: x\n\nHTTP/1.1 200 OK\nETag: \"a\"\n\nHTTP/1.1 body";
        let read = "HTTP/1.1 103\r\n\r\nHTTP/1.1 200\r\netag: \"a\"\r\n\r\n".to_owned();
        assert_eq!(clean(head), Ok((read, 13)));
        let endless = "HTTP/1.1 103 Hints\r\n\r\n".repeat(MAX_INTERIM + 1);
        assert!(clean(endless.as_bytes()).unwrap_err().contains("interim"));
    }

    #[test]
    fn it_does_not_matter_how_the_bytes_are_cut() {
        let head = b"\r\nHTTP/1.1 100 C\r\n\r\nHTTP/1.1 200 OK\r\nX: a\r\n b\r\nETag:\r\n \"a\"\r\n\r\nbody";
        let whole = clean(head).unwrap();
        let mut reader = HeadReader::default();
        let mut read = 0;
        let end = loop {
            let end = reader.read(&head[read..=read]).unwrap();
            read += 1;
            if let Some(end) = end {
                break read - 1 + end;
            }
        };
        let clean = String::from_utf8(reader.into_clean()).unwrap();
        assert_eq!((clean, head.len() - end), whole);
    }

    #[test]
    fn a_head_of_256_kib_is_read_and_a_longer_one_is_refused() {
        let head = |length: usize| {
            let (start, end) = ("HTTP/1.1 200 OK\r\nX: ", "\r\n\r\n");
            let value = "y".repeat(length - start.len() - end.len());
            clean(format!("{start}{value}{end}").as_bytes())
        };
        assert!(head(MAX_HEAD_BYTES).is_ok());
        assert_eq!(head(MAX_HEAD_BYTES + 1), Err("the response head is longer than 256 KiB".to_owned()));
    }

    #[test]
    fn many_fields_are_read_and_those_that_are_kept_are_bounded() {
        assert_eq!(fields(&"X: y\r\n".repeat(30_000)).as_deref(), Ok(""));
        let kept = |count| fields(&"ETag: \"a\"\r\n".repeat(count));
        assert!(kept(MAX_KEPT_FIELDS).is_ok());
        assert!(kept(MAX_KEPT_FIELDS + 1).is_err());
        let cookies = fields(&"Set-Cookie: a=b\r\n".repeat(5000)).unwrap();
        assert_eq!(cookies.lines().count(), MAX_COOKIES);
    }

    #[test]
    fn heads_are_shown_without_secrets_and_control_characters() {
        let table = [
            ('>', "GET /x?a=b HTTP/1.1\r\n", "> GET /x?*** HTTP/1.1"),
            ('>', "GET http://a.test/x?a=b HTTP/1.1\r\n", "> GET http://a.test/x?*** HTTP/1.1"),
            ('<', "HTTP/1.1 200 OK?\x1b[0m\r\n", "< HTTP/1.1 200 OK??[0m"),
            ('<', "HTTP/1.1 100\n\nHTTP/1.1 200 OK: 1\n", "< HTTP/1.1 100|<|< HTTP/1.1 200 OK: 1"),
            ('<', "H\r\nSet-Cookie : a=b\r\n c=d\r\nETag: \"a?b\"\r\n", "< H|< Set-Cookie : ***|< ***|< ETag: \"a?b\""),
            ('<', "H\r\nSet-Cookie a=b\r\n: c\r\n", "< H|< ***|< : c"),
            ('<', "H\r\nLocation: /x#token\r\nVia: //u:p@h/y//z@\r\n", "< H|< Location: /x?***|< Via: //***@h/y//***@"),
            ('<', "H\nProxy-Authenticate: Basic\nKeep-Alive: 1\n", "< H|< Proxy-Authenticate: Basic|< Keep-Alive: 1"),
            ('>', "H\nX-Jfrog-Art-Api: a\nRange: bytes=1-\n", "> H|> X-Jfrog-Art-Api: ***|> Range: bytes=1-"),
            ('<', "H\nX-API-KEY: a\nX-\u{e9}: \u{9b}\n", "< H|< X-API-KEY: ***|< X-\u{e9}: ?"),
        ];
        for (mark, head, wanted) in table {
            assert_eq!(shown(mark, head.as_bytes()).join("|"), wanted, "{head:?}");
        }
    }
}
