//! What all parts of a simulated world share: the dice, the count of effects, the crash, and the log.

use std::collections::{BTreeMap, BTreeSet};
use std::future::pending;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

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
}

impl Kind {
    /// All of them.
    pub const ALL: [Kind; 15] = [
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
    ];
}

/// The state that a world's parts share. Clones are the same one.
#[derive(Clone, Debug)]
pub struct World(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    seed: u64,
    rolls: BTreeMap<&'static str, u64>,
    enabled: BTreeSet<Kind>,
    without: BTreeSet<u32>,
    calm: bool,
    faults: Vec<(u32, String)>,
    fault_points: u32,
    effects: u64,
    crash_at: Option<u64>,
    dead: bool,
    violation: Option<String>,
    log: DefaultHasher,
    trace: Option<Vec<String>>,
}

impl World {
    /// A world whose randomness is a function of the seed. The faults with the numbers in `without` do not happen.
    pub fn new(seed: u64, without: &BTreeSet<u32>, traced: bool) -> Self {
        let world = World(Arc::new(Mutex::new(State {
            seed,
            rolls: BTreeMap::new(),
            enabled: BTreeSet::new(),
            without: without.clone(),
            calm: false,
            faults: Vec::new(),
            fault_points: 0,
            effects: 0,
            crash_at: None,
            dead: false,
            violation: None,
            log: DefaultHasher::new(),
            trace: traced.then(Vec::new),
        })));
        let enabled: BTreeSet<Kind> = Kind::ALL.into_iter().filter(|_| world.one_in("kind", 2)).collect();
        world.state().enabled = enabled;
        world
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
        if !self.one_in(what, n) {
            return false;
        }
        let mut state = self.state();
        if state.calm || !state.enabled.contains(&kind) {
            return false;
        }
        state.fault_points += 1;
        let number = state.fault_points;
        if state.without.contains(&number) {
            return false;
        }
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

    /// A new process: it dies at this effect from now, if at all.
    pub fn begin_life(&self, dies_after: Option<u64>) {
        let mut state = self.state();
        state.crash_at = dies_after.map(|effects| state.effects + effects);
        state.dead = false;
    }

    /// Counts an effect. If the process dies at it, this never returns.
    pub async fn step(&self, what: &str, of: &str) {
        self.log_parts(what, of);
        let dead = {
            let mut state = self.state();
            state.effects += 1;
            if state.effects > MOST_EFFECTS && state.violation.is_none() {
                state.violation = Some("the run does not end".to_owned());
            }
            state.dead |= state.crash_at.is_some_and(|at| state.effects >= at) || state.violation.is_some();
            state.dead
        };
        if dead {
            pending::<()>().await;
        }
    }

    /// `true` once the process has died.
    pub fn is_dead(&self) -> bool {
        self.state().dead
    }

    /// The number of effects so far.
    pub fn effects(&self) -> u64 {
        self.state().effects
    }

    /// Notes that an invariant does not hold, and ends the process.
    pub fn violate(&self, what: String) {
        let mut state = self.state();
        state.dead = true;
        state.violation.get_or_insert(what);
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
        let mut state = self.state();
        (what, of).hash(&mut state.log);
        if let Some(trace) = &mut state.trace {
            trace.push(format!("{what} {of}"));
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
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
