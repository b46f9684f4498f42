//! Every situation and every response: what an attempt does, and that no pair of them is a loop that costs bandwidth without
//! bound.
//!
//! `table.txt` says for each situation what each response leads to, in one attempt. A response to a request is what the
//! server sends each time; what can only answer a Range (a 206, a 416, a refusal) is the whole file to a request without one.
//! `REGRIP_UPDATE=1 cargo test -p regrip-core --test resume_table` writes the file anew.

#[path = "../world/mod.rs"]
mod world;

mod peer;

use peer::{KINDS, Kind, PIECE, Peer, SIZE, Situation, situations};
use regrip_core::ledger::Ledger;
use regrip_core::record::{Change, NewDownload, Row, Validators};
use regrip_core::store::Part;
use regrip_core::store::{OpenPart, PartStore};
use regrip_core::testing::{FakeHost, FakeTransport, VirtualClock, new_download};
use regrip_core::{DownloadId, DownloadsConfig, Error};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex};
use std::time::SystemTime;
use world::{FILE, PART, URL, World};

/// Bytes that count as progress.
const PROGRESS: u64 = 1000;
/// The attempts without progress in a row.
const ATTEMPTS: u32 = 5;
/// Of the file's size, how often at most it is sent in all.
const TIMES_SIZE: u64 = 16;

/// A download in a situation, and its peer.
struct Cell {
    world: World,
    peer: Arc<Mutex<Peer>>,
    id: DownloadId,
}

/// What happened to it.
struct Happened {
    ended: Result<u32, Error>,
    row: Row,
    part: Option<Vec<u8>>,
    file: Option<Vec<u8>>,
    restarts: Vec<(&'static str, u64)>,
    asked: Vec<String>,
    sent: u64,
}

impl Cell {
    fn new(situation: &Situation, kinds: &[&Kind], config: DownloadsConfig) -> Cell {
        let responses = kinds.iter().map(|kind| kind.answer).collect();
        let clock = VirtualClock::default();
        let peer = Arc::new(Mutex::new(Peer::new(situation.clone(), responses)));
        let answering = Arc::clone(&peer);
        let transport =
            FakeTransport::new(clock.clone(), move |asked| answering.lock().expect("no test panicked").answer(asked));
        let transport = transport.with_rules(situation.requests);
        let host = FakeHost::new(clock, transport);
        let config =
            DownloadsConfig { resume_overlap_bytes: situation.overlap, max_download_bytes: 10 * SIZE, ..config };
        let world = World::on(host, config);
        let id = prepare(&world, situation);
        Cell { world, peer, id }
    }

    fn drive(self) -> Happened {
        let Cell { world, peer, id } = self;
        let ended = world.drive(id).map(|summary| summary.attempts);
        world.assert_at_rest();
        let restarts = world.restarts().into_iter();
        let asked = world.host.transport.requests().into_iter();
        let line = |first: Option<u64>, if_range: Option<String>| match (first, if_range) {
            (None, _) => "all".to_owned(),
            (Some(first), None) => format!("{first}-"),
            (Some(first), Some(value)) if value.starts_with('"') => format!("{first}- if {value}"),
            (Some(first), Some(_)) => format!("{first}- if dated"),
        };
        Happened {
            ended,
            row: world.row(id),
            part: world.part(),
            file: world.file(),
            restarts: restarts.map(|(reason, bytes)| (reason.name(), bytes)).collect(),
            asked: asked.map(|one| line(one.first, one.if_range)).collect(),
            sent: peer.lock().expect("no test panicked").sent,
        }
    }
}

/// Brings a download into the situation: its part, and what the ledger knows.
fn prepare(world: &World, situation: &Situation) -> DownloadId {
    let new = NewDownload { release_size: situation.announced, adopt: situation.adopted, ..new_download(URL, FILE) };
    let id = world.run(world.engine.accept(new)).expect("it is free").id;
    let bytes = usize::try_from(situation.offset).expect("it is small");
    if bytes == 0 {
        return id;
    }
    let held = situation.files.same[..bytes].to_vec();
    world.host.store.put(PART, &held);
    let epoch = {
        let open = world.host.store.open(PART, OpenPart::Claimed);
        world.run(open).expect("it is there").epoch()
    };
    let mut changes = vec![Change::Claimed(true)];
    if !situation.adopted {
        changes.extend([
            Change::Fresh {
                kept: 0,
                restart: None,
                validators: situation.validators(),
                stated: Vec::new(),
                size: situation.size,
                mismatch: false,
                epoch: epoch.clone(),
            },
            Change::Checkpoint { downloaded: situation.offset, durable: situation.offset, epoch, digests: Vec::new() },
            Change::Learned(situation.behaviour.clone()),
        ]);
    }
    for change in changes.iter().skip(usize::from(situation.adopted)) {
        let record = world.host.ledger.record(id, change, SystemTime::UNIX_EPOCH);
        world.run(record).expect("the ledger takes it");
    }
    world.host.store.set_rules(situation.store);
    id
}

#[test]
fn what_every_response_leads_to_in_every_situation() {
    let mut table = String::from(
        "What one attempt does, by situation and response. N is 6000 and the file is 16000 bytes long, unless the situation says\n\
         otherwise. A line says what is requested; how the attempt ends; the part, if it stays; what is discarded; and what\n\
         the row knows now. Under it are the responses that lead to it. Written by main.rs.\n",
    );
    let once = DownloadsConfig { max_download_attempts: 1, progress_reset_bytes: 0, ..DownloadsConfig::default() };
    for situation in situations() {
        let mut led_to: Vec<(String, Vec<&str>)> = Vec::new();
        for kind in KINDS {
            let cell = Cell::new(&situation, &[kind], once.clone());
            let happened = cell.drive();
            check(&situation, kind, &happened);
            let line = line(&situation, &happened);
            match led_to.iter_mut().find(|(known, _)| *known == line) {
                Some((_, kinds)) => kinds.push(kind.name),
                None => led_to.push((line, vec![kind.name])),
            }
        }
        let _ = write!(table, "\n## {}\n", situation.name);
        for (line, kinds) in led_to {
            let _ = writeln!(table, "\n{line}");
            wrap(&mut table, &kinds);
        }
    }
    compare(&table);
}

/// What happened, in one line.
fn line(situation: &Situation, happened: &Happened) -> String {
    let Happened { row, .. } = happened;
    let requests = match happened.asked.is_empty() {
        true => "no request".to_owned(),
        false => happened.asked.join(", "),
    };
    let end = match &happened.ended {
        Ok(_) => "complete".to_owned(),
        Err(error) => {
            let class = row.failure.as_ref().map(|failure| failure.class.name());
            format!("{} ({})", error.code(), class.unwrap_or("?"))
        }
    };
    let mut facts = vec![end];
    if happened.ended.is_err() {
        let kept = happened.part.as_ref().map_or(0, Vec::len);
        facts.push(format!("part {kept}"));
    }
    for (reason, bytes) in &happened.restarts {
        facts.push(format!("discards {bytes} ({reason})"));
    }
    let known = [
        ("ignores If-Range", row.behaviour.ignores_if_range, situation.behaviour.ignores_if_range),
        ("refuses ranges", row.behaviour.refuses_ranges, situation.behaviour.refuses_ranges),
        ("shrunk once", row.behaviour.shrunk.is_some(), situation.behaviour.shrunk.is_some()),
    ];
    for (name, now, before) in known {
        match (before, now) {
            (false, true) => facts.push(name.to_owned()),
            (true, false) => facts.push(format!("no longer: {name}")),
            _ => {}
        }
    }
    let held = match situation.offset == 0 || situation.adopted {
        true => Validators::default(),
        false => situation.validators(),
    };
    if (&row.validators.etag, &row.validators.last_modified) != (&held.etag, &held.last_modified) {
        facts.push("other validators".to_owned());
    }
    format!("{requests}: {}", facts.join("; "))
}

/// What holds in every cell.
fn check(situation: &Situation, kind: &Kind, happened: &Happened) {
    let name = format!("{}, {}", situation.name, kind.name);
    assert!(happened.asked.len() <= 3, "{name}: {:?}", happened.asked);
    let files = situation.files.all();
    let bytes = happened.file.as_ref().or(happened.part.as_ref());
    let bytes = bytes.map_or(&[][..], Vec::as_slice);
    let of_one = files.iter().any(|file| match happened.file {
        Some(_) => *file == bytes,
        None => file.starts_with(bytes),
    });
    // Other bytes under the same strong ETag are found out only by comparing them, which is not due then.
    let lied = kind.name.contains("the same strong ETag") && situation.is_vouched_for();
    // By this response the file ends at the end of the part.
    let at_end = kind.name.starts_with("416 at N") && !kind.name.contains("another");
    let is_part = at_end && situation.files.same.starts_with(bytes) && bytes.len() as u64 == situation.offset;
    assert!(of_one || lied || is_part, "{name}: bytes of two versions");
    assert_eq!(happened.file.is_some(), happened.ended.is_ok(), "{name}");
    // What the whole file has in common with the part is kept, to the chunk, if it can be compared.
    let discarded: u64 = happened.restarts.iter().map(|(_, bytes)| bytes).sum();
    assert!(discarded <= situation.offset, "{name}");
    let comparable =
        situation.store.read_back_bytes == u64::MAX && situation.size.is_none_or(|size| size.bytes >= situation.offset);
    if discarded > 0 && comparable {
        let held = &situation.files.same[..usize::try_from(situation.offset).expect("small")];
        let same = held.iter().zip(bytes).take_while(|(held, now)| held == now).count();
        let kept = situation.offset - discarded;
        let least = same as u64 - same as u64 % PIECE as u64;
        assert!(kept >= least, "{name}: keeps {kept} of {same} equal bytes");
    }
    if happened.ended.is_err() && discarded == 0 {
        let kept = happened.part.as_ref().map_or(0, |part| part.len() as u64);
        assert!(kept >= situation.offset, "{name}: lost bytes that no restart counts");
    }
}

#[test]
fn no_response_that_is_repeated_costs_bandwidth_without_bound() {
    let config = DownloadsConfig {
        max_download_attempts: ATTEMPTS,
        progress_reset_bytes: PROGRESS,
        retry_base_delay_ms: 0,
        ..DownloadsConfig::default()
    };
    let mut worst: BTreeMap<u64, String> = BTreeMap::new();
    for situation in situations() {
        for kind in KINDS {
            let name = format!("{}, {}", situation.name, kind.name);
            let happened = Cell::new(&situation, &[kind], config.clone()).drive();
            let attempts = u64::from(happened.row.attempts);
            // Each attempt that resets the cap moves on by this many bytes.
            let most = u64::from(ATTEMPTS) + SIZE / PROGRESS;
            assert!(attempts <= most, "{name}: {attempts} attempts");
            let requests = happened.asked.len() as u64;
            assert!(requests <= 3 * attempts, "{name}: {requests} requests");
            assert!(happened.row.restarts <= ATTEMPTS + 1, "{name}");
            let sent = happened.sent;
            assert!(sent <= TIMES_SIZE * SIZE, "{name}: {sent} bytes sent");
            worst.insert(sent, format!("{name}: {attempts} attempts, {requests} requests"));
        }
    }
    if let Some((sent, name)) = worst.last_key_value() {
        println!("the most: {sent} bytes, {name}");
    }
}

/// Responses that do not lie: their ETag stands for their bytes, and a 416 has the size of the file.
fn honest() -> Vec<&'static Kind> {
    let lies = |kind: &Kind| kind.name.contains("the same strong ETag") || kind.name.starts_with("416 at N");
    KINDS.iter().filter(|kind| !lies(kind)).collect()
}

#[test]
fn no_sequence_of_responses_leaves_bytes_of_two_versions() {
    let (kinds, config) = (
        honest(),
        DownloadsConfig {
            max_download_attempts: ATTEMPTS,
            progress_reset_bytes: PROGRESS,
            retry_base_delay_ms: 0,
            ..DownloadsConfig::default()
        },
    );
    let mut completed = 0;
    for situation in situations() {
        for seed in 0..300 {
            let mut random = fastrand::Rng::with_seed(seed);
            let chosen: Vec<_> = (0..40).map(|_| kinds[random.usize(..kinds.len())]).collect();
            let happened = Cell::new(&situation, &chosen, config.clone()).drive();
            let files = situation.files.all();
            let whole = |bytes: &Vec<u8>| files.iter().any(|file| file == bytes);
            let one = |bytes: &Vec<u8>| files.iter().any(|file| file.starts_with(bytes));
            let fits = happened.file.as_ref().is_none_or(whole) && happened.part.as_ref().is_none_or(one);
            let names = || {
                let asked = happened.asked.iter().zip(&chosen);
                asked.map(|(asked, kind)| format!("{asked}: {}", kind.name)).collect::<Vec<_>>()
            };
            assert!(fits, "{}, seed {seed}: {:#?}", situation.name, names());
            let most = 3 * happened.row.attempts as usize;
            assert!(happened.asked.len() <= most, "{}, seed {seed}: {:#?}", situation.name, names());
            completed += u32::from(happened.ended.is_ok());
        }
    }
    assert!(completed > 1000, "only {completed} sequences led to a file");
}

fn wrap(table: &mut String, kinds: &[&str]) {
    let mut width = 0;
    for (index, kind) in kinds.iter().enumerate() {
        let last = index + 1 == kinds.len();
        let word = format!("{kind}{}", if last { "\n" } else { " ·" });
        if index > 0 && width + word.chars().count() > 110 {
            table.push('\n');
            width = 0;
        }
        table.push_str(if width == 0 { "    " } else { " " });
        table.push_str(&word);
        width += word.chars().count() + 1;
    }
}

fn compare(table: &str) {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/resume_table/table.txt");
    if std::env::var_os("REGRIP_UPDATE").is_some() {
        std::fs::write(path, table).expect("the table can be written");
    }
    let committed = std::fs::read_to_string(path).unwrap_or_default();
    let differs = table.lines().zip(committed.lines()).position(|(now, then)| now != then);
    let at = differs.unwrap_or_else(|| table.lines().count().min(committed.lines().count()));
    let (now, then) = (table.lines().nth(at), committed.lines().nth(at));
    assert!(table == committed, "line {} of {path}:\n{now:?}, committed {then:?}", at + 1);
}
