//! The transport's contract.

use crate::{assert_all_broken, holds};
use regrip_core::Error;
use regrip_core::testing::contract::transport::*;
use regrip_core::testing::{Asked, FakeBody, FakeTransport, Piece, Reply, VirtualClock};
use regrip_core::transport::*;
use std::collections::BTreeMap;
use std::future::pending;
use std::mem::{ManuallyDrop, forget};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// A fake transport with a flaw; without a name it has none.
struct Flawed {
    flaw: &'static str,
    fake: FakeTransport,
    answers: Arc<Mutex<BTreeMap<String, Answer>>>,
    clock: VirtualClock,
}

impl Flawed {
    fn with(flaw: &'static str, rules: RequestRules) -> Flawed {
        let answers: Arc<Mutex<BTreeMap<String, Answer>>> = Arc::default();
        let (clock, served) = (VirtualClock::default(), Arc::clone(&answers));
        let peer = move |asked: &Asked| Ok(reply(&served.lock().expect("answers")[&asked.url]));
        Flawed { flaw, fake: FakeTransport::new(clock.clone(), peer).with_rules(rules), answers, clock }
    }
}

/// The answer as the fake peer gives it.
fn reply(answer: &Answer) -> Reply {
    let mut body: Vec<Piece> = answer.body.chunks(7_001).map(|bytes| Piece::Bytes(bytes.to_vec())).collect();
    match answer.then {
        Then::End => {}
        Then::Cut => body.push(Piece::Break(Error::network("reading", "cut"))),
        Then::Hold => body.push(Piece::Forever),
    }
    let waits = answer.status == 0;
    Reply {
        delay: if waits { Duration::MAX } else { Duration::ZERO },
        status: answer.status,
        headers: answer.fields.iter().copied().collect(),
        body,
    }
}

impl TransportUnderTest for Flawed {
    type Transport = Flawed;

    fn transport(&self) -> &Flawed {
        self
    }
    fn bytes(chunk: &[u8]) -> Vec<u8> {
        chunk.to_vec()
    }
    async fn serve(&self, answer: Answer) -> String {
        let mut answers = self.answers.lock().expect("answers");
        let url = format!("http://peer.example/{}", answers.len());
        answers.insert(url.clone(), answer);
        url
    }
    async fn received(&self, url: &str) -> Received {
        let asked = self.fake.requests().into_iter().find(|asked| asked.url == url);
        let asked = asked.expect("asked at once");
        let first = asked.first;
        Received {
            range: first.map(|first| ByteRange { first, last: asked.last }.to_string()),
            if_range: asked.if_range,
            accept_encoding: None,
        }
    }
    async fn gave_up(&self, url: &str) -> bool {
        !self.fake.is_open(url)
    }
}

impl Transport for Flawed {
    type Body = FlawedBody;

    fn rules(&self, url: &str) -> RequestRules {
        self.fake.rules(url)
    }

    async fn get(&self, request: Request<'_>) -> Result<Response<FlawedBody>, Error> {
        let mut request = request;
        match self.flaw {
            "asks for all the rest" => request.range = request.range.map(|range| ByteRange::from(range.first)),
            "asks for everything" => request.range = None,
            "unquotes a validator" => request.if_range = request.if_range.map(|value| value.trim_matches('"')),
            _ => {}
        }
        let mut asking = ManuallyDrop::new(Box::pin(self.fake.get(request)));
        let response = match self.flaw {
            "keeps a request" => asking.as_mut().await,
            _ => ManuallyDrop::into_inner(asking).await,
        };
        let Response { status, mut headers, mut end, body } = response?;
        match self.flaw {
            "fails on a status" if status >= 400 => {
                return Err(Error::Protocol("status".to_owned()));
            }
            "hides a field" => headers = without(&headers, "retry-after"),
            "joins fields" => {
                let joined = headers.all("etag").collect::<Vec<_>>().join(", ");
                headers = without(&headers, "etag");
                headers.push("etag", joined.as_bytes());
            }
            "takes every body to be marked" => end = Ok(BodyEnd::Marked),
            "takes the first length" if end.is_err() => end = Ok(BodyEnd::Length(5)),
            _ => {}
        }
        Ok(Response { status, headers, end, body: FlawedBody { flaw: self.flaw, body: Some(body), turn: 0 } })
    }

    async fn pace(&self, bytes: u64) {
        match self.flaw {
            "lets nothing through" => pending().await,
            _ => self.fake.pace(bytes).await,
        }
    }
}

fn without(headers: &Headers, name: &str) -> Headers {
    let kept = Headers::NAMES.into_iter().filter(|have| *have != name);
    kept.flat_map(|have| headers.all(have).map(move |value| (have, value.to_owned()))).collect()
}

struct FlawedBody {
    flaw: &'static str,
    body: Option<FakeBody>,
    turn: u32,
}

impl Drop for FlawedBody {
    fn drop(&mut self) {
        if self.flaw == "keeps a body" {
            forget(self.body.take());
        }
    }
}

impl Body for FlawedBody {
    type Chunk<'a> = &'a [u8];
    type Kept = Vec<u8>;

    fn keep(chunk: &[u8]) -> Vec<u8> {
        chunk.to_vec()
    }

    fn lend(kept: &Vec<u8>) -> &[u8] {
        kept
    }

    async fn chunk(&mut self) -> Result<Option<&[u8]>, Error> {
        self.turn += 1;
        let body = self.body.as_mut().expect("it is not dropped");
        let chunk = match self.flaw {
            "sends empty chunks" if self.turn == 2 => return Ok(Some(&[])),
            "loses a chunk" if self.turn == 2 => {
                body.chunk().await?;
                body.chunk().await
            }
            _ => body.chunk().await,
        };
        match chunk {
            Err(_) if self.flaw == "ends a cut body" => Ok(None),
            Err(_) if self.flaw == "forgets an error" && self.turn > 2 => Ok(None),
            chunk => chunk,
        }
    }
}

#[test]
fn the_fake_transport_keeps_the_contract_whatever_its_rules() {
    let fetch = RequestRules { if_range: false, range_always: true, decodes: true };
    for rules in [RequestRules::FREE, fetch] {
        let subject = Flawed::with("", rules);
        let checked = subject.clock.run(check_all(&subject, &[]));
        assert_eq!(checked, Some(Ok(())), "{rules:?}");
        assert_eq!(subject.fake.open_bodies(), 0);
    }
}

#[test]
fn a_transport_that_breaks_a_promise_is_found_out() {
    let broken = [
        ("a_range_is_asked_for_as_it_is_given", "asks for all the rest"),
        ("a_range_is_asked_for_as_it_is_given", "asks for everything"),
        ("if_range_is_sent_byte_for_byte", "unquotes a validator"),
        ("fields_arrive_as_they_were_sent", "hides a field"),
        ("duplicate_fields_are_kept_apart", "joins fields"),
        ("the_end_of_a_body_is_known", "takes every body to be marked"),
        ("contradictory_framing_is_never_an_end", "takes the first length"),
        ("a_body_arrives_in_order_and_no_chunk_is_empty", "sends empty chunks"),
        ("a_body_arrives_in_order_and_no_chunk_is_empty", "loses a chunk"),
        ("a_cut_body_is_an_error_and_stays_one", "ends a cut body"),
        ("a_cut_body_is_an_error_and_stays_one", "forgets an error"),
        ("an_error_status_is_a_response", "fails on a status"),
        ("dropping_a_body_ends_its_transfer_and_no_other", "keeps a body"),
        ("dropping_a_request_gives_it_up", "keeps a request"),
        ("pacing_lets_bytes_through", "lets nothing through"),
    ];
    assert_all_broken(PROMISES, &broken);
    for (promise, flaw) in broken {
        let subject = Flawed::with(flaw, RequestRules::FREE);
        let kept = holds(&subject.clock, check(promise, &subject));
        assert!(!kept, "{promise} holds for a transport that {flaw}");
    }
}
