//! What all parts of a simulated world share: the dice, the count of effects, the crash, and the log.

use regrip_core::testing::VirtualClock;
use regrip_core::time::Clock;
use std::collections::{BTreeMap, BTreeSet};
use std::future::{pending, poll_fn};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Duration;

/// Most processes that die in a run.
pub(crate) const MOST_LIVES: u64 = 4;

/// What no log, event or error may have: the secret in the query of each URL.
pub(crate) const SECRET: &str = "sesame";

/// A run with more effects than this never ends.
const MOST_EFFECTS: u64 = 300_000;

/// A kind of fault. Each seed switches about half of them off, so that rare combinations of the others are reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A body breaks.
    Cut,
    /// A body, or the head before it, takes its time or never comes.
    Stall,
    /// The connection cannot be made.
    Unreachable,
    /// An error status.
    Status,
    /// The file on the server is replaced by another one.
    Replace,
    /// A 206 that is not what was asked for.
    WrongRange,
    /// A range is answered with the whole file.
    WholeFile,
    /// A coded body, although none was accepted.
    Coded,
    /// A write or a reservation finds no room.
    DiskFull,
    /// A sync fails.
    Sync,
    /// A write to the ledger fails, or only its reply is lost.
    Ledger,
    /// A user cancels or pauses, and goes on later.
    User,
    /// The process dies.
    Crash,
    /// The machine loses power.
    Power,
    /// The wall clock jumps.
    Clock,
    /// A worker stands still, as a suspended machine does, and goes on without knowing it.
    Pause,
    /// A worker cannot reach the ledger.
    Partition,
    /// A server has other habits than before.
    Habits,
    /// Another program cuts or removes a part while no process is alive.
    Tampering,
    /// The disk or the ledger takes long.
    Slow,
    /// Futures are polled in another order, and although nothing woke them.
    Polls,
}

impl Kind {
    /// All of them.
    pub const ALL: [Kind; 21] = [
        Kind::Cut,
        Kind::Stall,
        Kind::Unreachable,
        Kind::Status,
        Kind::Replace,
        Kind::WrongRange,
        Kind::WholeFile,
        Kind::Coded,
        Kind::DiskFull,
        Kind::Sync,
        Kind::Ledger,
        Kind::User,
        Kind::Crash,
        Kind::Power,
        Kind::Clock,
        Kind::Pause,
        Kind::Partition,
        Kind::Habits,
        Kind::Tampering,
        Kind::Slow,
        Kind::Polls,
    ];
}

/// What a run is made to do beside what its seed says.
#[derive(Clone, Debug, Default)]
pub struct Script {
    /// Faults that do not happen, by their numbers.
    pub without: BTreeSet<u32>,
    /// Only these faults happen, whatever the seed rolls.
    pub only: Option<BTreeSet<u32>>,
    /// This effect fails, counted over the run.
    pub fails_at: Option<u64>,
    /// Keeps the log.
    pub traced: bool,
}

/// The world as one process sees it. Clones are of the same process; all processes share everything but their lives.
#[derive(Clone, Debug)]
pub struct World {
    /// Its clock.
    pub clock: VirtualClock,
    state: Arc<Mutex<State>>,
    life: Arc<Mutex<Life>>,
}

#[derive(Debug)]
struct State {
    seed: u64,
    rolls: BTreeMap<&'static str, u64>,
    enabled: BTreeSet<Kind>,
    script: Script,
    calm: bool,
    faults: Vec<(u32, String)>,
    kinds: BTreeMap<Kind, u64>,
    fault_points: u32,
    effects: u64,
    compared: u64,
    requests: u64,
    /// Bytes written to each part.
    written: BTreeMap<String, u64>,
    violation: Option<String>,
    log: DefaultHasher,
    trace: Option<Vec<String>>,
}

/// A process.
#[derive(Debug, Default)]
struct Life {
    /// Its number among the workers, if there are several.
    worker: Option<u64>,
    effects: u64,
    dies_at: Option<u64>,
    dead: bool,
    /// It is to stand still for so long.
    pause: Option<Duration>,
    /// It cannot reach the ledger until then.
    cut_off_until: Duration,
}

impl World {
    /// A world whose randomness is a function of the seed.
    pub fn new(seed: u64, script: &Script) -> Self {
        let world = World {
            clock: VirtualClock::default(),
            state: Arc::new(Mutex::new(State {
                seed,
                rolls: BTreeMap::new(),
                enabled: BTreeSet::new(),
                script: script.clone(),
                calm: false,
                faults: Vec::new(),
                kinds: BTreeMap::new(),
                fault_points: 0,
                effects: 0,
                compared: 0,
                requests: 0,
                written: BTreeMap::new(),
                violation: None,
                log: DefaultHasher::new(),
                trace: script.traced.then(Vec::new),
            })),
            life: Arc::default(),
        };
        let enabled: BTreeSet<Kind> = Kind::ALL.into_iter().filter(|_| world.one_in("kind", 2)).collect();
        world.state().enabled = enabled;
        world
    }

    /// A new process in this world. It dies at this effect of its own, if at all.
    pub fn new_life(&self, worker: Option<u64>, dies_at: Option<u64>) -> Self {
        let life = Life { worker, dies_at, ..Life::default() };
        World { life: Arc::new(Mutex::new(life)), ..self.clone() }
    }

    /// A number below `end`, 0 if there is none. Draws for different purposes do not influence each other: taking one fault away leaves most
    /// of the others as they were.
    pub fn below(&self, what: &'static str, end: u64) -> u64 {
        let mut state = self.state();
        let roll = state.rolls.entry(what).or_default();
        *roll += 1;
        let mut hasher = DefaultHasher::new();
        (*roll, what).hash(&mut hasher);
        state.seed.hash(&mut hasher);
        hasher.finish().checked_rem(end).unwrap_or(0)
    }

    /// `true` once in `n` times.
    pub fn one_in(&self, what: &'static str, n: u64) -> bool {
        self.below(what, n) == 0
    }

    /// One of these.
    pub fn pick<T: Copy>(&self, what: &'static str, from: &[T]) -> T {
        from[usize::try_from(self.below(what, from.len() as u64)).unwrap_or(0)]
    }

    /// Decides whether a fault of this kind happens here, which it does once in `n` times, and notes it.
    pub fn fault(&self, kind: Kind, n: u64, what: &'static str) -> bool {
        let rolled = self.one_in(what, n);
        let mut state = self.state();
        let possible = match &state.script.only {
            // Crashes have a schedule of their own.
            Some(_) => kind != Kind::Crash,
            None => rolled && state.enabled.contains(&kind),
        };
        if state.calm || !possible {
            return false;
        }
        state.fault_points += 1;
        let number = state.fault_points;
        let happens = match &state.script.only {
            Some(only) => only.contains(&number),
            None => !state.script.without.contains(&number),
        };
        if !happens {
            return false;
        }
        *state.kinds.entry(kind).or_default() += 1;
        let at = state.effects;
        state.faults.push((number, format!("{what} at effect {at}")));
        drop(state);
        self.log(&format!("fault {number}: {what}"));
        true
    }

    /// From now on there are no faults.
    pub fn calm_down(&self) {
        self.state().calm = true;
    }

    /// Counts an effect. Returns `true` if it is to fail. If the process dies at it, this never returns.
    pub async fn step(&self, what: &str, of: &str) -> bool {
        self.log_parts(what, of);
        let fails = {
            let mut state = self.state();
            state.effects += 1;
            if state.effects > MOST_EFFECTS && state.violation.is_none() {
                state.violation = Some("the run does not end".to_owned());
            }
            !state.calm && state.script.fails_at == Some(state.effects)
        };
        {
            let mut life = self.life();
            life.effects += 1;
            life.dead |= life.dies_at.is_some_and(|at| life.effects >= at);
        }
        if self.is_dead() {
            pending::<()>().await;
        }
        if self.life().worker.is_some() && self.fault(Kind::Pause, 120, "the process stands still") {
            let seconds = self.pick("for how long", &[9, 31, 45, 100, 1000]);
            self.life().pause = Some(Duration::from_secs(seconds));
            let mut is_over = false;
            poll_fn(|context| {
                if std::mem::replace(&mut is_over, true) {
                    return Poll::Ready(());
                }
                context.waker().wake_by_ref();
                Poll::Pending
            })
            .await;
        }
        fails
    }

    /// Waits, if this takes long here.
    pub async fn delay(&self, n: u64, what: &'static str) {
        if self.fault(Kind::Slow, n, what) {
            self.clock
                .sleep(Duration::from_millis(self.pick("for how long it is slow", &[1, 300, 20_000, 90_000])))
                .await;
        }
    }

    /// Decides whether something is polled out of turn. Without a list of faults only: there would be too many.
    pub fn polls_oddly(&self, what: &'static str) -> bool {
        let is_possible = {
            let state = self.state();
            !state.calm && state.script.only.is_none() && state.enabled.contains(&Kind::Polls)
        };
        let happens = is_possible && self.one_in(what, 3);
        if happens {
            *self.state().kinds.entry(Kind::Polls).or_default() += 1;
        }
        happens
    }

    /// Sets the wall clock to some hour since 1970.
    pub fn set_clock(&self) {
        let hours = Duration::from_secs(3600 * self.below("hours", 700_000));
        self.clock.set_wall(std::time::UNIX_EPOCH + hours);
    }

    /// Notes that a server was asked.
    pub fn requested(&self) {
        self.state().requests += 1;
    }

    /// How often servers were asked.
    pub fn requests(&self) -> u64 {
        self.state().requests
    }

    /// Notes that bytes are written to a part.
    pub fn wrote(&self, part: &str, bytes: u64) {
        *self.state().written.entry(part.to_owned()).or_default() += bytes;
    }

    /// The bytes that were written to a part, in all.
    pub fn written(&self, part: &str) -> u64 {
        self.state().written.get(part).copied().unwrap_or(0)
    }

    /// A text that others read has no secret.
    pub fn check_public(&self, text: &str) {
        if text.contains(SECRET) {
            self.violate(format!("a secret is shown: {text}"));
        }
    }

    /// How long the process is to stand still from now on.
    pub fn take_pause(&self) -> Option<Duration> {
        self.life().pause.take()
    }

    /// How long the process cannot reach the ledger from now on; zero if it can.
    pub fn cut_off(&self) -> Duration {
        let now = self.clock.elapsed();
        if self.life().worker.is_some() && self.fault(Kind::Partition, 60, "the ledger cannot be reached") {
            let seconds = self.pick("until when", &[3, 25, 45, 300]);
            self.life().cut_off_until = now + Duration::from_secs(seconds);
        }
        self.life().cut_off_until.saturating_sub(now)
    }

    /// The number of this worker.
    pub fn worker(&self) -> Option<u64> {
        self.life().worker
    }

    /// `true` once the process has died.
    pub fn is_dead(&self) -> bool {
        self.life().dead || self.state().violation.is_some()
    }

    /// The number of effects so far.
    pub fn effects(&self) -> u64 {
        self.state().effects
    }

    /// The number of effects of this process.
    pub fn effects_of_life(&self) -> u64 {
        self.life().effects
    }

    /// The number of faults that could have happened.
    pub fn fault_points(&self) -> u32 {
        self.state().fault_points
    }

    /// Notes that this number of bytes was compared with those of a server.
    pub fn compared(&self, bytes: u64) {
        self.state().compared += bytes;
    }

    /// The bytes that were compared.
    pub fn compared_bytes(&self) -> u64 {
        self.state().compared
    }

    /// The faults that happened, by kind.
    pub fn kinds(&self) -> BTreeMap<Kind, u64> {
        self.state().kinds.clone()
    }

    /// Notes that an invariant does not hold, and ends all processes.
    pub fn violate(&self, what: String) {
        self.state().violation.get_or_insert(what);
    }

    /// The first invariant that did not hold.
    pub fn violation(&self) -> Option<String> {
        self.state().violation.clone()
    }

    /// The faults that happened, numbered.
    pub fn faults(&self) -> Vec<(u32, String)> {
        self.state().faults.clone()
    }

    /// Adds a line to the log.
    pub fn log(&self, line: &str) {
        self.log_parts(line, "");
    }

    fn log_parts(&self, what: &str, of: &str) {
        let worker = self.life().worker;
        let mut state = self.state();
        (worker, what, of).hash(&mut state.log);
        if let Some(trace) = &mut state.trace {
            let by = worker.map(|worker| format!("worker {worker}: ")).unwrap_or_default();
            trace.push(format!("{} {by}{what} {of}", self.clock.elapsed().as_millis()));
        }
    }

    /// Identifies the log: equal for two runs of one seed.
    pub fn log_hash(&self) -> u64 {
        self.state().log.finish()
    }

    /// The lines of the log, if it was traced.
    pub fn trace(&self) -> Vec<String> {
        self.state().trace.clone().unwrap_or_default()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn life(&self) -> MutexGuard<'_, Life> {
        self.life.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
