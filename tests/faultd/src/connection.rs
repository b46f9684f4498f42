//! One connection: read a request, answer it, and so on until one side has had enough.

use std::sync::atomic::AtomicBool;

use crate::control;
use crate::honest;
use crate::pages::Pages;
use crate::reply::{End, Reply};
use crate::request::{HEAD_LIMIT, Request};
use crate::send::{Gone, Sender};
use crate::site::Site;
use crate::stream::Stream;

/// The largest request body that is read, in bytes: a script.
const BODY_LIMIT: usize = 4 * 1024 * 1024;

/// What connections are served from.
#[derive(Clone, Copy)]
pub(crate) struct Served<'a> {
    pub(crate) site: &'a Site,
    pub(crate) pages: &'a Pages,
    /// The server stops.
    pub(crate) stop: &'a AtomicBool,
}

/// Serves a connection until it is over; returns how it is to end.
pub(crate) fn serve(stream: &mut Stream, number: u64, served: Served<'_>) -> End {
    let mut pending = Vec::new();
    let mut block = Vec::new();
    loop {
        let request = match read_request(stream, &mut pending) {
            Ok(Some(request)) => Request { connection: number, ..request },
            Ok(None) => return End::Close,
            Err(refusal) => {
                // The connection ends, whether or not the refusal arrives.
                let _ = Sender::new(stream, served.stop, &mut block).send(&refusal.reply(), &mut |_| {});
                return End::Close;
            }
        };
        let sender = Sender::new(stream, served.stop, &mut block);
        match answer(&request, sender, served) {
            Ok(End::KeepAlive) => {}
            Ok(end) => return end,
            Err(Gone) => return End::Close,
        }
    }
}

fn answer<'a>(request: &Request, mut sender: Sender<'a>, served: Served<'a>) -> Result<End, Gone> {
    let site = served.site;
    if let Some(reply) = control::answer(site, request).or_else(|| served.pages.answer(request)) {
        return sender.send(&reply, &mut |_| {});
    }
    // Before the log says that the answer is under way.
    sender = sender.ruled_by(site.cuts(), site.goes());
    let exchange = site.exchange(request);
    let end = sender.send(&exchange.reply, &mut |sent| site.record_sent(exchange.entry, sent));
    site.record_end(exchange.entry, end.is_err());
    end
}

/// The next request; none if the peer closed, a refusal if it cannot be read.
fn read_request(stream: &mut Stream, pending: &mut Vec<u8>) -> Result<Option<Request>, Refusal> {
    let head_bytes = loop {
        if let Some(end) = pending.windows(4).position(|window| window == b"\r\n\r\n") {
            break end + 4;
        }
        if pending.len() > HEAD_LIMIT {
            return Err(refusal(431, "the head is too large\n"));
        }
        if !read_more(stream, pending) {
            return Ok(None);
        }
    };
    let head: Vec<u8> = pending.drain(..head_bytes).collect();
    let mut request = Request::parse(&head).map_err(|error| refusal(400, &format!("{error}\n")))?;
    let body_bytes = match (request.header("Transfer-Encoding"), request.header("Content-Length")) {
        (Some(_), _) => return Err(refusal(411, "a body needs a length\n")),
        (None, None) => 0,
        (None, Some(length)) => length.parse().map_err(|_| refusal(400, "the length is no number\n"))?,
    };
    if body_bytes > BODY_LIMIT {
        return Err(refusal(413, "the body is too large\n"));
    }
    while pending.len() < body_bytes {
        if !read_more(stream, pending) {
            return Ok(None);
        }
    }
    request.body = pending.drain(..body_bytes).collect();
    Ok(Some(request))
}

/// Takes in what comes next; false at the end.
fn read_more(stream: &mut Stream, pending: &mut Vec<u8>) -> bool {
    let mut buffer = [0; 8 * 1024];
    match stream.read(&mut buffer) {
        Ok(0) | Err(_) => false,
        Ok(len) => {
            pending.extend_from_slice(&buffer[..len]);
            true
        }
    }
}

/// Why a request cannot be answered.
struct Refusal {
    status: u16,
    text: String,
}

fn refusal(status: u16, text: &str) -> Refusal {
    Refusal { status, text: text.to_owned() }
}

impl Refusal {
    fn reply(&self) -> Reply {
        let request = Request::get("/").with("Connection", "close");
        honest::plain(&request, self.status, &self.text, None)
    }
}
