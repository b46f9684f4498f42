//! Runs a scenario on the core and its fakes: no socket, no disk, and time that passes at once.
//!
//! The peer is the fault server's [`Site`]; what a client makes of its answers is in [`client`](crate::client).

use crate::client::received;
use crate::drive::{drive, new_download};
use crate::outcome::Outcome;
use crate::scenario::{Address, Jump, PATH, Scenario, There};
use regrip_core::error::Error;
use regrip_core::testing::{Asked, FakeHost, FakeTransport, Reply, VirtualClock};
use regrip_core::time::Clock;
use regrip_core::transport::ByteRange;
use regrip_core::{Engine, What};
use regrip_faultd::faults::Fault;
use regrip_faultd::{Request, Site};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

const PEER: &str = "http://peer.test";
const ELSEWHERE: &str = "http://elsewhere.test";
const FOLDER: &str = "/films";
/// Most redirects of one request, as the native transport has it.
const MAX_HOPS: usize = 5;

/// Runs it.
///
/// # Errors
/// The scenario needs what this host does not have, or nothing moves any more.
pub fn run(scenario: &Scenario) -> Result<Outcome, String> {
    let config = scenario.config()?;
    let clock = VirtualClock::default();
    let peers = Arc::new(Peers::new(scenario, &clock));
    let for_transport = Arc::clone(&peers);
    let transport = FakeTransport::new(clock.clone(), move |asked| for_transport.answer(asked))
        .with_headers_timeout(Duration::from_millis(config.headers_timeout_ms));
    let host = FakeHost::new(clock.clone(), transport);
    prepare(scenario, &host)?;
    let digests = !scenario.download.no_digest;
    let engine = match Engine::new(host, config, digests) {
        Ok(engine) => engine,
        Err(refused) => return Ok(Outcome::refused(refused.key)),
    };
    let host = engine.host();
    let heard = || -> Vec<What> { host.events().into_iter().map(|(_, what)| what).collect() };
    let destination = destination(scenario);
    let new = new_download(scenario, format!("{PEER}{PATH}"), &destination);
    let ran = clock.run(drive(&engine, scenario, new, heard));
    let (_, returned) = ran.ok_or("nothing moves any more")?.map_err(|error| error.to_string())?;
    Ok(Outcome {
        refused: None,
        events: heard(),
        returned,
        requests: peers.here.log(),
        elsewhere: peers.elsewhere.log(),
        file: host.store.file(&destination),
        part: host.store.file(&format!("{destination}.part")),
        row: host.ledger.rows().pop(),
        leaks: leaks(&engine),
    })
}

fn destination(scenario: &Scenario) -> String {
    format!("{FOLDER}/{}", scenario.download.name)
}

fn prepare(scenario: &Scenario, host: &FakeHost) -> Result<(), String> {
    let before = &scenario.before;
    let destination = destination(scenario);
    let part = format!("{destination}.part");
    for (path, there) in [(&destination, &before.destination), (&part, &before.part)] {
        match there {
            None => {}
            Some(There::Text(text)) => host.store.put(path, text.as_bytes()),
            Some(There::Bytes(bytes)) => {
                let bytes = bytes.of(&scenario.peer).ok_or("there is no such version")?;
                host.store.put(path, &bytes);
            }
            Some(There::Odd { .. }) => return Err("this disk has only files".to_owned()),
        }
    }
    host.store.set_room(before.room);
    Ok(())
}

fn leaks(engine: &Engine<FakeHost>) -> Vec<String> {
    let host = engine.host();
    let held = [
        ("permits in use", engine.permits_used()),
        ("open bodies", host.transport.open_bodies()),
        ("open parts", host.store.open_parts()),
        ("timers", host.clock.timers()),
    ];
    let left = held.iter().filter(|(_, count)| *count > 0);
    left.map(|(what, count)| format!("{what}: {count}")).collect()
}

/// The peer, the other origin, and the way to them.
struct Peers {
    here: Site,
    elsewhere: Site,
    address: Address,
    jumps: Vec<Jump>,
    clock: VirtualClock,
    /// What the peer's clock showed when ours began.
    began: SystemTime,
}

impl Peers {
    fn new(scenario: &Scenario, clock: &VirtualClock) -> Self {
        let mut script = scenario.script();
        for file in script.files.values_mut() {
            name_elsewhere(file, ELSEWHERE);
        }
        let here = Site::new(script);
        here.set_origin(PEER);
        let elsewhere = Site::new(scenario.script_elsewhere());
        elsewhere.set_origin(PEER);
        Peers {
            here,
            elsewhere,
            address: scenario.address,
            jumps: scenario.clock.clone(),
            clock: clock.clone(),
            began: clock.wall(),
        }
    }

    fn answer(&self, asked: &Asked) -> Result<Reply, Error> {
        let network = |what: &str| Error::Network { what: what.to_owned(), source: None };
        match self.address {
            Address::Listens => self.follow(asked),
            Address::Refused => Err(network("connecting")),
            Address::UnknownName => Err(network("looking up the name")),
            Address::ExpiredCertificate => Err(Error::Certificate("it has expired".to_owned())),
        }
    }

    /// As a client follows redirects. Which ones it must refuse is for hosts that connect to somewhere.
    fn follow(&self, asked: &Asked) -> Result<Reply, Error> {
        let refused = |why: &str| Err(Error::RedirectRefused(why.to_owned()));
        let mut url = asked.url.clone();
        for _ in 0..=MAX_HOPS {
            let reply = self.ask(&url, asked);
            if !matches!(reply.status, 301 | 302 | 303 | 307 | 308) {
                return received(&reply);
            }
            match reply.header("Location") {
                Some(path) if path.starts_with('/') => {
                    let origin = if url.starts_with(PEER) { PEER } else { ELSEWHERE };
                    url = format!("{origin}{path}");
                }
                Some(absolute) if origin_of(absolute).is_some() => url = absolute.to_owned(),
                Some(_) => return refused("it leads where this host cannot go"),
                None => return refused("it has no Location"),
            }
        }
        refused("more than 5 of them")
    }

    fn ask(&self, url: &str, asked: &Asked) -> regrip_faultd::Reply {
        let (origin, target) = origin_of(url).unwrap_or((PEER, PATH));
        let mut request = Request::get(target);
        if let Some(first) = asked.first {
            request = request.with("Range", &ByteRange { first, last: asked.last }.to_string());
        }
        if let Some(validator) = &asked.if_range {
            request = request.with("If-Range", validator);
        }
        let site = if origin == PEER { &self.here } else { &self.elsewhere };
        self.turn_clocks(site);
        site.answer(&request)
    }

    fn turn_clocks(&self, site: &Site) {
        let number = self.here.log().len() + 1;
        for jump in self.jumps.iter().filter(|jump| jump.at_request == number) {
            let (wall, by) = (self.clock.wall(), Duration::from_secs(jump.by.unsigned_abs()));
            let jumped = if jump.by < 0 { wall.checked_sub(by) } else { wall.checked_add(by) };
            self.clock.set_wall(jumped.unwrap_or(wall));
        }
        site.set_time(Some(self.began + self.clock.elapsed()));
    }
}

/// A URL of this world, divided into origin and target.
fn origin_of(url: &str) -> Option<(&'static str, &str)> {
    [PEER, ELSEWHERE].into_iter().find_map(|origin| url.strip_prefix(origin).map(|target| (origin, target)))
}

/// Puts the other origin in place of its mark in redirects.
pub(crate) fn name_elsewhere(file: &mut regrip_faultd::FileScript, origin: &str) {
    for fault in file.answers.iter_mut().flatten().chain(&mut file.then) {
        if let Fault::Redirect(redirect) = fault
            && let Some(to) = &mut redirect.to
        {
            *to = to.replace("{elsewhere}", origin);
        }
    }
}
