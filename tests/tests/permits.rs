//! Several downloads at once, on the core's fakes and on the native host: the permits as far as an engine's user sees them.
//!
//! All downloads of a test run on one thread, so that the order of the events is the order of what happened. What the
//! semaphore does beneath is tested in `core/tests/semaphore.rs`.

use futures::future::join_all;
use regrip::host::{Listener, NativeHost};
use regrip::ledger::SqliteLedger;
use regrip::store::DiskStore;
use regrip::time::SmolClock;
use regrip::transport::{HttpTransport, TransportOptions};
use regrip_core::engine::Engine;
use regrip_core::host::Host;
use regrip_core::record::DownloadId;
use regrip_core::testing::{Asked, FakeHost, FakeTransport, VirtualClock, new_download};
use regrip_core::time::Clock;
use regrip_core::{DownloadsConfig, Error, Event, Summary, What};
use regrip_faultd::faults::{Status, Trickle};
use regrip_faultd::{Fault, FileScript, Request, Script, Server, Site, Version};
use regrip_tests::client::received;
use std::collections::BTreeSet;
use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Runs each test on both hosts.
macro_rules! on_every_host {
    ($($test:ident,)*) => {
        mod on_core {
            $(#[test] fn $test() { super::$test(super::OnCore::new); })*
        }
        mod on_native {
            $(#[test] fn $test() { super::$test(super::OnNative::new); })*
        }
    };
}

on_every_host! {
    no_more_downloads_move_at_once_than_there_are_permits,
    downloads_start_in_the_order_they_were_accepted,
    a_failed_download_gives_its_permit_back,
    k08_downloads_in_backoff_hold_no_permit,
    after_a_backoff_a_download_comes_before_those_never_started,
}

fn no_more_downloads_move_at_once_than_there_are_permits<W: World>(world: fn(Setting) -> W) {
    let world = world(Setting { permits: 2, files: vec![large_file([Trickle::every(2, 400_000)]); 6] });
    let ended = world.run(all(&world));
    assert!(ended.iter().all(Result::is_ok), "{ended:?}");
    assert_eq!(most_at_once(&world.events()), 2);
    assert_eq!(world.engine().permits_used(), 0);
}

fn downloads_start_in_the_order_they_were_accepted<W: World>(world: fn(Setting) -> W) {
    let world = world(Setting { permits: 1, files: vec![file([]); 5] });
    world.run(all(&world));
    assert_eq!(starts(&world.events()), [1, 2, 3, 4, 5]);
}

fn a_failed_download_gives_its_permit_back<W: World>(world: fn(Setting) -> W) {
    let world = world(Setting { permits: 1, files: vec![file([Status::code(404)]), file([])] });
    let ended = world.run(all(&world));
    assert_eq!((ended[0].is_err(), ended[1].is_ok()), (true, true));
    assert_eq!(world.engine().permits_used(), 0);
}

fn k08_downloads_in_backoff_hold_no_permit<W: World>(world: fn(Setting) -> W) {
    let busy = file([Status::retry_after(503, "60")]);
    let world = world(Setting { permits: 2, files: vec![busy.clone(), busy, file([])] });
    let (first, second) = (download(&world, 0), download(&world, 1));
    let then = async {
        while count(&world.events(), "retrying") < 2 {
            world.engine().host().clock().sleep(A_MOMENT).await;
        }
        assert_eq!(world.engine().permits_used(), 0);
        let third = download(&world, 2).await;
        world.engine().end();
        third
    };
    let (first, second, third) = world.run(async { futures::join!(first, second, then) });
    assert!(third.is_ok(), "{third:?}");
    for ended in [first, second] {
        assert!(matches!(ended, Err(Error::Interrupted)), "{ended:?}");
    }
}

fn after_a_backoff_a_download_comes_before_those_never_started<W: World>(world: fn(Setting) -> W) {
    let world = world(Setting {
        permits: 1,
        files: vec![file([Status::retry_after(503, "0")]), file([Trickle::every(2, 500)]), file([])],
    });
    world.run(all(&world));
    assert_eq!(starts(&world.events()), [1, 2, 1, 3]);
}

// ---- what happened ----

/// The downloads in the order of their attempts.
fn starts(events: &[(DownloadId, What)]) -> Vec<DownloadId> {
    let started = events.iter().filter(|(_, what)| matches!(what, What::Started { .. }));
    started.map(|(id, _)| *id).collect()
}

/// The most downloads that were in an attempt at one time.
fn most_at_once(events: &[(DownloadId, What)]) -> usize {
    let mut moving = BTreeSet::new();
    let mut most = 0;
    for (id, what) in events {
        match what {
            What::Started { .. } => moving.insert(id),
            What::Retrying { .. } | What::Completed(_) | What::Failed(_) => moving.remove(id),
            _ => continue,
        };
        most = most.max(moving.len());
    }
    most
}

fn count(events: &[(DownloadId, What)], name: &str) -> usize {
    events.iter().filter(|(_, what)| what.name() == name).count()
}

// ---- worlds ----

const A_MOMENT: Duration = Duration::from_millis(1);

/// How many permits, and the files to fetch: number n is at `/n`.
struct Setting {
    permits: u32,
    files: Vec<FileScript>,
}

impl Setting {
    fn config(&self) -> DownloadsConfig {
        DownloadsConfig { max_concurrent_downloads: self.permits, retry_base_delay_ms: 0, ..DownloadsConfig::default() }
    }

    fn script(&self) -> Script {
        let files = self.files.iter().enumerate();
        // So that nothing is over before the others have queued.
        files.fold(Script::new().latency_ms(1), |script, (number, file)| {
            script.file(&format!("/{number}"), file.clone())
        })
    }
}

/// A file of 5000 bytes, with these faults in its first answer.
/// A file whose permit is held until it is complete: one of up to a MiB gives it back before its `completed` event.
fn large_file<const N: usize>(faults: [Fault; N]) -> FileScript {
    FileScript::honest(Version::new(1, 2 << 20).etag("\"v1\"")).answer(faults)
}

fn file<const N: usize>(faults: [Fault; N]) -> FileScript {
    FileScript::honest(Version::new(1, 5000).etag("\"v1\"")).answer(faults)
}

/// An engine with its peer.
trait World {
    type Host: Host;
    fn engine(&self) -> &Engine<Self::Host>;
    fn files(&self) -> usize;
    fn url(&self, number: usize) -> String;
    fn destination(&self, number: usize) -> String;
    fn events(&self) -> Vec<(DownloadId, What)>;
    fn run<T>(&self, work: impl Future<Output = T>) -> T;
}

async fn download<W: World>(world: &W, number: usize) -> Result<Summary, Error> {
    let new = new_download(&world.url(number), &world.destination(number));
    let accepted = world.engine().accept(new).await?;
    world.engine().drive(accepted.id).await
}

/// All of them: accepted one after the other, then driven at once.
async fn all<W: World>(world: &W) -> Vec<Result<Summary, Error>> {
    let mut drives = Vec::new();
    for number in 0..world.files() {
        let new = new_download(&world.url(number), &world.destination(number));
        match world.engine().accept(new).await {
            Ok(accepted) => drives.push(world.engine().drive(accepted.id)),
            Err(error) => panic!("{error}"),
        }
    }
    join_all(drives).await
}

struct OnCore {
    engine: Engine<FakeHost>,
    files: usize,
}

impl OnCore {
    fn new(setting: Setting) -> Self {
        let site = Site::new(setting.script());
        let answer = move |asked: &Asked| {
            let target = asked.url.trim_start_matches("http://peer.test");
            let request = Request::get(target);
            received(&site.answer(&match asked.first {
                Some(first) => request.with("Range", &format!("bytes={first}-")),
                None => request,
            }))
        };
        let clock = VirtualClock::default();
        let host = FakeHost::new(clock.clone(), FakeTransport::new(clock, answer));
        OnCore {
            engine: Engine::new(host, setting.config(), true).expect("the limits are in range"),
            files: setting.files.len(),
        }
    }
}

impl World for OnCore {
    type Host = FakeHost;

    fn engine(&self) -> &Engine<FakeHost> {
        &self.engine
    }
    fn files(&self) -> usize {
        self.files
    }
    fn url(&self, number: usize) -> String {
        format!("http://peer.test/{number}")
    }
    fn destination(&self, number: usize) -> String {
        format!("/films/{number}")
    }
    fn events(&self) -> Vec<(DownloadId, What)> {
        self.engine.host().events()
    }
    fn run<T>(&self, work: impl Future<Output = T>) -> T {
        let clock = self.engine.host().clock.clone();
        clock.run(work).expect("something moves")
    }
}

struct OnNative {
    engine: Engine<NativeHost<SqliteLedger>>,
    files: usize,
    server: Server,
    folder: tempfile::TempDir,
    heard: Arc<Heard>,
}

#[derive(Default)]
struct Heard(Mutex<Vec<(DownloadId, What)>>);

impl Listener for Heard {
    fn hear(&self, event: &Event<'_>) {
        let mut heard = self.0.lock().expect("nobody panics here");
        heard.push((event.id, event.what.clone()));
    }
}

impl OnNative {
    fn new(setting: Setting) -> Self {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let heard = Arc::new(Heard::default());
        let host = NativeHost {
            transport: HttpTransport::new(TransportOptions::default()),
            store: DiskStore::new(),
            ledger: SqliteLedger::open(&folder.path().join("regrip.sqlite")).expect("a ledger can be made"),
            clock: SmolClock::default(),
            listener: Arc::clone(&heard) as Arc<dyn Listener>,
        };
        OnNative {
            engine: Engine::new(host, setting.config(), true).expect("the limits are in range"),
            files: setting.files.len(),
            server: Server::start(setting.script()).expect("a port is free"),
            folder,
            heard,
        }
    }
}

impl World for OnNative {
    type Host = NativeHost<SqliteLedger>;

    fn engine(&self) -> &Engine<NativeHost<SqliteLedger>> {
        &self.engine
    }
    fn files(&self) -> usize {
        self.files
    }
    fn url(&self, number: usize) -> String {
        self.server.url(&format!("/{number}"))
    }
    fn destination(&self, number: usize) -> String {
        let path = self.folder.path().join(number.to_string());
        path.to_string_lossy().into_owned()
    }
    fn events(&self) -> Vec<(DownloadId, What)> {
        self.heard.0.lock().expect("nobody panics here").clone()
    }
    fn run<T>(&self, work: impl Future<Output = T>) -> T {
        smol::block_on(work)
    }
}
