//! What the core relies on in a [`Transport`].
//!
//! The subject has a server that answers as it is asked to. One for HTTP/1 only has to write [`Answer::to_http1`] and then
//! do what [`Answer::then`] says.

use super::{Broken, ensure, promises};
use crate::error::Error;
use crate::transport::{Body, BodyEnd, ByteRange, Chunk, Request, Response, Transport};
use futures::future::{Either, select};
use std::pin::pin;

/// A transport, and a server for it.
pub trait TransportUnderTest {
    /// The transport.
    type Transport: Transport;

    /// The transport.
    fn transport(&self) -> &Self::Transport;
    /// The bytes of a chunk.
    fn bytes(chunk: <<Self::Transport as Transport>::Body as Body>::Chunk<'_>) -> Vec<u8>;
    /// Has the server answer every request for a new URL in this way, and returns the URL.
    async fn serve(&self, answer: Answer) -> String;
    /// Waits until the server has received a request for this URL, and returns the first one.
    async fn received(&self, url: &str) -> Received;
    /// Waits until the client has given up the request for this URL; `false` if it has not after a while.
    async fn gave_up(&self, url: &str) -> bool;
}

/// What a server does with a request.
#[derive(Clone, Debug, Default)]
pub struct Answer {
    /// 200 to 599; 0 for no answer at all: the request is kept waiting.
    pub status: u16,
    /// Fields in their order, the framing ones included.
    pub fields: Vec<(&'static str, &'static [u8])>,
    /// The bytes of the body. They are sent in chunks if the fields say `chunked`.
    pub body: Vec<u8>,
    /// What follows.
    pub then: Then,
}

/// What a server does after the last byte of an [`Answer`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Then {
    /// It ends the body, by its last chunk if it is chunked, and closes the connection.
    #[default]
    End,
    /// It closes the connection in the middle of the body.
    Cut,
    /// It sends nothing more and waits for the client to give up.
    Hold,
}

/// A request as a server received it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Received {
    /// The value of Range.
    pub range: Option<String>,
    /// The value of If-Range.
    pub if_range: Option<String>,
    /// The value of Accept-Encoding.
    pub accept_encoding: Option<String>,
}

impl Answer {
    /// Returns `true` if the body is sent in chunks.
    pub fn is_chunked(&self) -> bool {
        self.fields.contains(&CHUNKED)
    }

    /// The answer as HTTP/1.1 bytes.
    pub fn to_http1(&self) -> Vec<u8> {
        if self.status == 0 {
            return Vec::new();
        }
        let mut bytes = format!("HTTP/1.1 {} Answer\r\n", self.status).into_bytes();
        for (name, value) in &self.fields {
            bytes.extend([name.as_bytes(), b": ", value, b"\r\n"].concat());
        }
        bytes.extend(b"\r\n");
        if !self.is_chunked() {
            bytes.extend(&self.body);
            return bytes;
        }
        for piece in self.body.chunks(10_000) {
            bytes.extend(format!("{:x}\r\n", piece.len()).as_bytes());
            bytes.extend([piece, b"\r\n"].concat());
        }
        if self.then == Then::End {
            bytes.extend(b"0\r\n\r\n");
        }
        bytes
    }
}

promises! { TransportUnderTest:
    a_range_is_asked_for_as_it_is_given,
    if_range_is_sent_byte_for_byte,
    fields_arrive_as_they_were_sent,
    duplicate_fields_are_kept_apart,
    the_end_of_a_body_is_known,
    contradictory_framing_is_never_an_end,
    a_body_arrives_in_order_and_no_chunk_is_empty,
    a_cut_body_is_an_error_and_stays_one,
    an_error_status_is_a_response,
    dropping_a_body_ends_its_transfer_and_no_other,
    dropping_a_request_gives_it_up,
    pacing_lets_bytes_through,
}

type BodyOf<S> = <<S as TransportUnderTest>::Transport as Transport>::Body;

const CHUNKED: (&str, &[u8]) = ("transfer-encoding", b"chunked");
const FIVE: (&str, &[u8]) = ("content-length", b"5");

/// The Range field says what was asked for, with a last byte or without; without a range there is no such field, whatever the
/// [rules](Transport::rules) say. No content coding is asked for.
pub async fn a_range_is_asked_for_as_it_is_given<S: TransportUnderTest>(subject: &S) -> Result<(), Broken> {
    for (range, expected) in [
        (None, None),
        (Some(ByteRange::from(0)), Some("bytes=0-")),
        (Some(ByteRange::from(1 << 40)), Some("bytes=1099511627776-")),
        (Some(ByteRange { first: 0, last: Some(0) }), Some("bytes=0-0")),
        (Some(ByteRange { first: 7, last: Some(1 << 40) }), Some("bytes=7-1099511627776")),
    ] {
        let url = subject.serve(five(200, Then::End)).await;
        get(subject, &url, range, None).await?;
        let received = subject.received(&url).await;
        let range = received.range.as_deref();
        ensure!(range == expected, "{} for {}", text(range), text(expected));
        let coding = received.accept_encoding.as_deref();
        ensure!(coding.is_none_or(|coding| coding == "identity"), "asks for {}", text(coding));
    }
    Ok(())
}

/// If-Range goes on the wire as it is given, if the [rules](Transport::rules) allow one.
pub async fn if_range_is_sent_byte_for_byte<S: TransportUnderTest>(subject: &S) -> Result<(), Broken> {
    for sent in [None, Some("\"v1\""), Some("\"a, b;=\\\""), Some("Wed, 31 Dec 1997 23:59:59 GMT")] {
        let url = subject.serve(five(206, Then::End)).await;
        if sent.is_some() && !subject.transport().rules(&url).if_range {
            continue;
        }
        get(subject, &url, Some(ByteRange::from(9)), sent).await?;
        let received = subject.received(&url).await.if_range;
        ensure!(received.as_deref() == sent, "{} for {}", text(received.as_deref()), text(sent));
    }
    Ok(())
}

/// The values of the fields that the core reads arrive byte for byte, other bytes than ASCII as Latin-1.
pub async fn fields_arrive_as_they_were_sent<S: TransportUnderTest>(subject: &S) -> Result<(), Broken> {
    let fields: [(&str, &[u8]); 9] = [
        FIVE,
        ("content-encoding", b"x-odd"),
        ("content-range", b"bytes 0-4/5"),
        ("content-type", b"multipart/byteranges; boundary=\"a b\""),
        ("date", b"Thu, 01 Jan 1998 00:00:00 GMT"),
        ("etag", b"\"caf\xe9\""),
        ("last-modified", b"Wed, 31 Dec 1997 23:59:59 GMT"),
        ("repr-digest", b"sha-256=:AAAA=:"),
        ("retry-after", b"120"),
    ];
    let answer = Answer { fields: fields.to_vec(), ..five(206, Then::End) };
    let url = subject.serve(answer).await;
    let headers = get(subject, &url, Some(ByteRange::from(0)), None).await?.headers;
    for (name, value) in fields {
        let sent: String = value.iter().map(|&byte| char::from(byte)).collect();
        let only = headers.only(name);
        ensure!(only == Some(sent.as_str()), "{name} is {}", text(only));
    }
    ensure!(headers.all("location").next().is_none(), "a field that was not sent");
    Ok(())
}

/// A field that was sent twice arrives as two, in order: the core refuses to choose.
pub async fn duplicate_fields_are_kept_apart<S: TransportUnderTest>(subject: &S) -> Result<(), Broken> {
    let fields: [(&str, &[u8]); 4] = [FIVE, ("etag", b"\"a\""), ("date", b"x"), ("etag", b"\"b\"")];
    let url = subject.serve(Answer { fields: fields.to_vec(), ..five(200, Then::End) }).await;
    let headers = get(subject, &url, None, None).await?.headers;
    let etags: Vec<&str> = headers.all("etag").collect();
    ensure!(etags == ["\"a\"", "\"b\""], "the ETags are {}", etags.join(" and "));
    ensure!(headers.only("etag").is_none(), "one of two ETags is chosen");
    Ok(())
}

/// A length, a mark or the end of the connection: the core knows which of them ends a body.
pub async fn the_end_of_a_body_is_known<S: TransportUnderTest>(subject: &S) -> Result<(), Broken> {
    let none: &[(&str, &[u8])] = &[];
    for (fields, expected) in
        [(&[FIVE] as &[_], BodyEnd::Length(5)), (&[CHUNKED], BodyEnd::Marked), (none, BodyEnd::Unmarked)]
    {
        let url = subject.serve(Answer { fields: fields.to_vec(), ..five(200, Then::End) }).await;
        let response = get(subject, &url, None, None).await?;
        ensure!(response.end == Ok(expected), "{expected:?} is not seen");
        let (bytes, ended) = read::<S>(response.body).await;
        ended?;
        ensure!(bytes == b"abcde", "{} of 5 bytes", bytes.len());
    }
    Ok(())
}

/// Two lengths that differ, or a length beside chunks: the request fails, or the end is an error.
pub async fn contradictory_framing_is_never_an_end<S: TransportUnderTest>(subject: &S) -> Result<(), Broken> {
    for (other, value) in [("content-length", b"6" as &[u8]), CHUNKED] {
        let answer = Answer { fields: vec![FIVE, (other, value)], ..five(200, Then::End) };
        let url = subject.serve(answer).await;
        let response = get(subject, &url, None, None).await;
        let end = response.map(|response| response.end);
        ensure!(!matches!(end, Ok(Ok(_))), "a length and another {other} are an end");
    }
    Ok(())
}

/// The bytes arrive in order, in chunks that are never empty and can be split anywhere; after the last one there is none.
pub async fn a_body_arrives_in_order_and_no_chunk_is_empty<S: TransportUnderTest>(subject: &S) -> Result<(), Broken> {
    for framing in [("content-length", b"300000" as &[u8]), CHUNKED] {
        let url = subject.serve(large(framing)).await;
        let mut body = get(subject, &url, None, None).await?.body;
        let mut got = Vec::new();
        while let Some(chunk) = body.chunk().await? {
            let length = chunk.length();
            ensure!(length > 0, "an empty chunk");
            let (first, rest) = chunk.split_at(length / 3);
            let lengths = (first.length(), rest.length());
            ensure!(lengths == (length / 3, length - length / 3), "a chunk is split elsewhere");
            let (rest, none) = rest.split_at(u64::MAX);
            ensure!(none.length() == 0, "a split beyond the end leaves bytes");
            got.extend(S::bytes(first));
            got.extend(S::bytes(rest));
        }
        ensure!(got == large(framing).body, "{} bytes, or others", got.len());
        ensure!(body.chunk().await?.is_none(), "a chunk after the last one");
    }
    Ok(())
}

/// A body that ends too early is an error after the bytes before it, and is never mistaken for a whole one afterwards.
pub async fn a_cut_body_is_an_error_and_stays_one<S: TransportUnderTest>(subject: &S) -> Result<(), Broken> {
    for framing in [("content-length", b"100" as &[u8]), CHUNKED] {
        let answer = Answer { fields: vec![framing], ..five(200, Then::Cut) };
        let url = subject.serve(answer).await;
        let mut body = get(subject, &url, None, None).await?.body;
        let mut got = Vec::new();
        for again in [false, true] {
            let error = loop {
                match body.chunk().await {
                    Ok(Some(chunk)) => got.extend(S::bytes(chunk)),
                    Ok(None) => ensure!(false, "a cut body ends, again: {again}"),
                    Err(error) => break error,
                }
            };
            let broken = matches!(error, Error::Network { .. } | Error::Incomplete { .. });
            ensure!(broken, "failed with {}", error.code());
        }
        ensure!(b"abcde".starts_with(&got), "bytes that were not sent");
    }
    Ok(())
}

/// What a status means is decided elsewhere: each one is a response.
pub async fn an_error_status_is_a_response<S: TransportUnderTest>(subject: &S) -> Result<(), Broken> {
    for status in [200, 206, 400, 401, 403, 404, 408, 416, 429, 500, 503, 599] {
        let url = subject.serve(five(status, Then::End)).await;
        let response = get(subject, &url, Some(ByteRange::from(0)), None).await?;
        ensure!(response.status == status, "{} for {status}", response.status);
    }
    Ok(())
}

/// Dropping a body, read in part or not at all, makes the server notice. Another body goes on.
pub async fn dropping_a_body_ends_its_transfer_and_no_other<S: TransportUnderTest>(subject: &S) -> Result<(), Broken> {
    for read_some in [true, false] {
        let length = ("content-length", b"99999999" as &[u8]);
        let held = Answer { fields: vec![length], ..five(200, Then::Hold) };
        let url = subject.serve(held).await;
        let mut dropped = get(subject, &url, None, None).await?.body;
        let other = subject.serve(large(CHUNKED)).await;
        let other = get(subject, &other, None, None).await?.body;
        if read_some {
            let chunk = dropped.chunk().await?.map(S::bytes);
            ensure!(chunk.is_some(), "no chunk of a body that is sent");
        }
        drop(dropped);
        ensure!(subject.gave_up(&url).await, "the transfer goes on, read: {read_some}");
        let (bytes, ended) = read::<S>(other).await;
        ended?;
        ensure!(bytes == large(CHUNKED).body, "another body has lost bytes");
    }
    Ok(())
}

/// Dropping a request that waits for its head makes the server notice.
pub async fn dropping_a_request_gives_it_up<S: TransportUnderTest>(subject: &S) -> Result<(), Broken> {
    let url = subject.serve(Answer { then: Then::Hold, ..Answer::default() }).await;
    let request = Request { url: &url, range: None, if_range: None };
    let waiting = Box::pin(subject.transport().get(request));
    match select(waiting, pin!(subject.received(&url))).await {
        Either::Left(_) => ensure!(false, "an answer that was not sent"),
        Either::Right((_, waiting)) => drop(waiting),
    }
    ensure!(subject.gave_up(&url).await, "the request goes on");
    Ok(())
}

/// Whatever the limit, a small number of bytes passes in time.
pub async fn pacing_lets_bytes_through<S: TransportUnderTest>(subject: &S) -> Result<(), Broken> {
    for bytes in [0, 1, 100] {
        subject.transport().pace(bytes).await;
    }
    Ok(())
}

fn five(status: u16, then: Then) -> Answer {
    Answer { status, fields: vec![FIVE], body: b"abcde".to_vec(), then }
}

/// More than a socket takes at once.
fn large(framing: (&'static str, &'static [u8])) -> Answer {
    Answer {
        fields: vec![framing],
        body: (0..300_000_u32).map(|at| (at % 251) as u8).collect(),
        ..five(200, Then::End)
    }
}

async fn get<S: TransportUnderTest>(
    subject: &S,
    url: &str,
    range: Option<ByteRange>,
    if_range: Option<&str>,
) -> Result<Response<BodyOf<S>>, Broken> {
    let request = Request { url, range, if_range };
    Ok(subject.transport().get(request).await?)
}

/// What a body brings, and how it ends.
async fn read<S: TransportUnderTest>(mut body: BodyOf<S>) -> (Vec<u8>, Result<(), Error>) {
    let mut bytes = Vec::new();
    loop {
        match body.chunk().await {
            Ok(Some(chunk)) => bytes.extend(S::bytes(chunk)),
            Ok(None) => return (bytes, Ok(())),
            Err(error) => return (bytes, Err(error)),
        }
    }
}

fn text(value: Option<&str>) -> &str {
    value.unwrap_or("nothing")
}
