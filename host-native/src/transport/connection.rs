//! One HTTP/1.1 connection: a request goes out, its head comes in, its body follows.
//!
//! hyper's connection is a future that somebody has to poll. Here that is whoever waits for the head or the body, in their
//! own task: nothing is spawned, so dropping the connection closes its socket at once, and a body nobody reads is not
//! read ahead (TCP holds the server back).

use super::addresses::Trial;
use super::dial::Dialed;
use super::errors;
use super::head::MAX_KEPT_FIELDS;
use super::socket::{Meter, Socket};
use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use regrip_core::Error;
use std::net::IpAddr;
use std::pin::Pin;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

/// The read buffer of a connection whose rate is limited: what is read ahead is hidden from the limit.
const SLOW_BUFFER_BYTES: usize = 64 * 1024;

/// One HTTP/1.1 connection. Dropping it closes the socket at once.
pub(super) struct Connection {
    sender: SendRequest<Full<Bytes>>,
    driver: http1::Connection<Socket, Full<Bytes>>,
    ended: bool,
    meter: Arc<Meter>,
    peer: Option<IpAddr>,
    trial: Trial,
}

impl Connection {
    /// Speaks HTTP over a socket.
    pub(super) async fn open(dialed: Dialed) -> Result<Connection, Error> {
        let mut builder = http1::Builder::new();
        // The read buffer grows to hyper's default of some 400 KiB, which the throughput needs; the head has bounds of its
        // own, see `head.rs`.
        builder
            .max_headers(MAX_KEPT_FIELDS)
            .title_case_headers(true);
        if dialed.slow {
            builder.max_buf_size(SLOW_BUFFER_BYTES);
        }
        let (sender, driver) = builder
            .handshake(dialed.socket)
            .await
            .map_err(errors::answer)?;
        Ok(Connection {
            sender,
            driver,
            ended: false,
            meter: dialed.meter,
            peer: dialed.peer,
            trial: dialed.trial,
        })
    }

    /// Who answers at the other end, where that is known.
    pub(super) fn peer(&self) -> Option<IpAddr> {
        self.peer
    }

    /// How its address does.
    pub(super) fn trial(&mut self) -> &mut Trial {
        &mut self.trial
    }

    /// Bytes that came over it so far.
    pub(super) fn received(&self) -> u64 {
        self.meter.received()
    }

    /// Sends a request and waits for the head of its response.
    pub(super) async fn exchange(
        &mut self,
        request: hyper::Request<Full<Bytes>>,
    ) -> Result<hyper::Response<Incoming>, hyper::Error> {
        self.trial.begin();
        self.meter.expect_head();
        let mut answer = pin!(self.sender.send_request(request));
        let answer = std::future::poll_fn(|cx| {
            if let Poll::Ready(answer) = answer.as_mut().poll(cx) {
                return Poll::Ready(answer);
            }
            self.drive(cx);
            answer.as_mut().poll(cx)
        });
        answer.await
    }

    /// Moves bytes between the socket and the request or response in progress. How it ends shows there.
    pub(super) fn drive(&mut self, cx: &mut Context<'_>) {
        if !self.ended {
            self.ended = Pin::new(&mut self.driver).poll(cx).is_ready();
        }
    }

    /// Whether another request may be sent: the last body is at its end, the server has not closed, and has sent nothing
    /// that was not asked for. Looks at the socket once.
    pub(super) fn is_idle(&mut self) -> bool {
        self.drive(&mut Context::from_waker(Waker::noop()));
        !self.ended && self.sender.is_ready()
    }
}
