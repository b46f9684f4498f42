//! The transport's contract: each answer has a server of its own.

use crate::support::{self, PATIENCE, Server, options, transport};
use regrip::transport::{HttpTransport, TransportOptions};
use regrip_core::testing::contract::transport::{Answer, Received, Then, TransportUnderTest, check_all};
use smol::Timer;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::num::NonZeroU64;
use std::rc::Rc;
use std::time::{Duration, Instant};

struct Loopback {
    transport: HttpTransport,
    servers: RefCell<BTreeMap<String, Rc<Server>>>,
}

impl Loopback {
    fn server(&self, url: &str) -> Rc<Server> {
        Rc::clone(&self.servers.borrow()[url])
    }
}

impl TransportUnderTest for Loopback {
    type Transport = HttpTransport;

    fn transport(&self) -> &HttpTransport {
        &self.transport
    }
    fn bytes(chunk: &[u8]) -> Vec<u8> {
        chunk.to_vec()
    }
    async fn serve(&self, answer: Answer) -> String {
        let bytes = answer.to_http1();
        let then = match answer.then {
            Then::End | Then::Cut => support::Then::Close,
            Then::Hold => support::Then::Hold,
        };
        let server = Server::new(move |_| support::Answer(bytes.clone(), then));
        let url = server.url("/");
        let mut servers = self.servers.borrow_mut();
        servers.insert(url.clone(), Rc::new(server));
        url
    }
    async fn received(&self, url: &str) -> Received {
        let (server, begun) = (self.server(url), Instant::now());
        loop {
            if let Some(seen) = server.seen().first() {
                let value = |name| seen.header(name).map(str::to_owned);
                return Received {
                    range: value("range"),
                    if_range: value("if-range"),
                    accept_encoding: value("accept-encoding"),
                };
            }
            assert!(begun.elapsed() < PATIENCE, "no request for {url}");
            Timer::after(Duration::from_millis(1)).await;
        }
    }
    async fn gave_up(&self, url: &str) -> bool {
        // Nothing else runs meanwhile: what closes the connection is the drop and not some task.
        self.server(url).client_closed()
    }
}

#[test]
fn the_http_transport_keeps_the_contract_with_a_rate_limit_and_without() {
    let limited = HttpTransport::new(TransportOptions { bytes_per_second: NonZeroU64::new(1 << 30), ..options() });
    for transport in [transport(), limited] {
        let servers = RefCell::default();
        let subject = Loopback { transport, servers };
        smol::block_on(check_all(&subject, &[])).unwrap();
    }
}
