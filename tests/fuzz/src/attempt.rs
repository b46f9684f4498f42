//! Whole downloads from a server that answers whatever it likes.

use regrip::time::SmolClock;
use regrip::transport::{HttpTransport, Proxies, Roots, TransportOptions};
use regrip_core::testing::{MemoryLedger, MemoryStore, new_download};
use regrip_core::{Connections, DownloadsConfig, Engine, Event, Host};
use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};

/// What is between two answers of an input.
const BETWEEN: &[u8] = b"\n====\n";
const DESTINATION: &str = "/films/film.mkv";

/// A proxy on loopback that gives the answers of the input, one to each connection, as they are. Every request goes to it, so that
/// no redirect of an input leaves this machine.
struct Arbitrary {
    address: String,
    answers: Arc<Mutex<VecDeque<Vec<u8>>>>,
}

static SERVER: LazyLock<Arbitrary> = LazyLock::new(|| {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = format!("http://{}", listener.local_addr().expect("it is bound"));
    let answers: Arc<Mutex<VecDeque<Vec<u8>>>> = Arc::default();
    let next = Arc::clone(&answers);
    std::thread::spawn(move || {
        for mut connection in listener.incoming().flatten() {
            let mut head = Vec::new();
            let mut piece = [0; 4096];
            while !head.windows(4).any(|bytes| bytes == b"\r\n\r\n") {
                match connection.read(&mut piece) {
                    Ok(read) if read > 0 => head.extend_from_slice(&piece[..read]),
                    _ => break,
                }
            }
            let answer = lock(&next).pop_front().unwrap_or_default();
            let _ = connection.write_all(&answer);
            let _ = connection.shutdown(Shutdown::Write);
        }
    });
    Arbitrary { address, answers }
});

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

struct FuzzHost {
    transport: HttpTransport,
    store: MemoryStore,
    ledger: MemoryLedger,
    clock: SmolClock,
}

impl Host for FuzzHost {
    type Transport = HttpTransport;
    type Store = MemoryStore;
    type Ledger = MemoryLedger;
    type Clock = SmolClock;

    fn transport(&self) -> &HttpTransport {
        &self.transport
    }
    fn store(&self) -> &MemoryStore {
        &self.store
    }
    fn ledger(&self) -> &MemoryLedger {
        &self.ledger
    }
    fn clock(&self) -> &SmolClock {
        &self.clock
    }
    fn seed(&self) -> u64 {
        1
    }
    fn on_event(&self, _: &Event<'_>) {}
}

/// A download ends, with a file of the length that it says, or without one; no part stays open, and no more is kept than was sent.
/// The input has the answers to its requests, in order; the last ones are nothing at all.
pub fn attempt(bytes: &[u8]) {
    // One at a time: the answers are those of all connections.
    static TURN: Mutex<()> = Mutex::new(());
    let _turn = lock(&TURN);
    let config = DownloadsConfig {
        max_download_attempts: 3,
        max_total_attempts: 6,
        retry_base_delay_ms: 0,
        retry_max_delay_ms: 0,
        headers_timeout_ms: 2_000,
        idle_timeout_ms: 2_000,
        connections_per_download: Connections::Fixed(if bytes.len().is_multiple_of(2) { 1 } else { 3 }),
        ..DownloadsConfig::default()
    };
    let mut options = TransportOptions::new(&config);
    // Reading those of the system takes longer than all else.
    options.roots = Roots::unverified();
    options.proxies = Proxies::of_environment(|name| (name == "all_proxy").then(|| SERVER.address.clone()));
    let host = FuzzHost {
        transport: HttpTransport::new(options),
        store: MemoryStore::default(),
        ledger: MemoryLedger::default(),
        clock: SmolClock::default(),
    };
    *lock(&SERVER.answers) = answers(bytes).into();
    let engine = Engine::new(host, config, true).expect("it is in range");
    let ended = smol::block_on(async {
        let accepted = engine.accept(new_download("http://source.example/film.mkv", DESTINATION)).await.expect("a row");
        engine.drive(accepted.id).await
    });
    let store = &engine.host().store;
    let file = store.file(DESTINATION);
    match ended {
        Ok(summary) => assert_eq!(file.as_ref().map(|file| file.len() as u64), Some(summary.bytes)),
        Err(error) => assert!(file.is_none(), "{error}"),
    }
    for name in store.names() {
        assert!(store.file(&name).unwrap_or_default().len() <= bytes.len(), "{name} has more than was sent");
    }
    assert_eq!((store.open_parts(), engine.permits_used()), (0, 0));
}

fn answers(bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut answers = vec![Vec::new()];
    let mut rest = bytes;
    while let Some((&byte, tail)) = rest.split_first() {
        if let Some(tail) = rest.strip_prefix(BETWEEN) {
            answers.push(Vec::new());
            rest = tail;
            continue;
        }
        answers.last_mut().expect("there is one").push(byte);
        rest = tail;
    }
    answers
}
