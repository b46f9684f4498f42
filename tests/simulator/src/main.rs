//! Runs seeds, or one of them again.
//!
//! ```text
//! cargo run --release -p regrip-simulator -- --seeds 100000                many seeds
//! cargo run --release -p regrip-simulator -- --first 17 --seeds 1 --trace  one, with its log
//! ```

use clap::Parser;
use regrip_simulator::{Kind, Model, Options, Report, Script, every_crash, every_failure, every_fault, run, shrink};
use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Runs the core in simulated worlds and checks what must always hold
#[derive(Debug, Parser)]
struct Args {
    /// The first seed
    #[arg(long, default_value_t = 0)]
    first: u64,
    /// How many seeds
    #[arg(long, default_value_t = 10_000)]
    seeds: u64,
    /// One small file on one connection
    #[arg(long, conflicts_with = "fleet")]
    small: bool,
    /// Several workers with one folder and one ledger
    #[arg(long)]
    fleet: bool,
    /// Every crash point of each seed: the first process dies at each of its effects
    #[arg(long)]
    every_crash: bool,
    /// Torture: each effect of each seed fails once
    #[arg(long, conflicts_with = "every_crash")]
    every_failure: bool,
    /// Every set of up to so many faults in the world of each seed, with every crash point
    #[arg(long, value_name = "FAULTS", conflicts_with_all = ["every_crash", "every_failure"])]
    every_fault: Option<usize>,
    /// Stop at the first seed that fails
    #[arg(long)]
    first_failure: bool,
    /// Leave out these faults of the seed, as a failure prints them
    #[arg(long, value_delimiter = ',')]
    without: Vec<u32>,
    /// Only these faults happen, as a failure prints them; 0 is none
    #[arg(long, value_delimiter = ',', conflicts_with = "without")]
    only: Option<Vec<u32>>,
    /// The first process dies at this effect
    #[arg(long)]
    dies_at: Option<u64>,
    /// This effect fails
    #[arg(long)]
    fails_at: Option<u64>,
    /// Print the log of each seed
    #[arg(long)]
    trace: bool,
}

#[derive(Default)]
struct Sum {
    runs: u64,
    effects: u64,
    compared: u64,
    elapsed: Duration,
    kinds: BTreeMap<Kind, u64>,
    /// Of the logs of all runs, in order.
    log_hash: u64,
    failed: u64,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let model = match (args.small, args.fleet) {
        (true, _) => Model::Small,
        (false, true) => Model::Fleet,
        (false, false) => Model::Full,
    };
    let script = Script {
        without: args.without.iter().copied().collect(),
        only: args.only.map(|only| only.into_iter().collect()),
        fails_at: args.fails_at,
        traced: args.trace,
    };
    let options = Options { model, script, dies_at: args.dies_at };
    let (begun, mut sum) = (Instant::now(), Sum::default());
    for seed in args.first..args.first.saturating_add(args.seeds) {
        let mut each = |options: &Options, report: &Report| sum.add(seed, options, report);
        match args.every_fault {
            Some(most) => every_fault(seed, &options, most, &mut each),
            None if args.every_crash => every_crash(seed, &options, &mut each),
            None if args.every_failure => every_failure(seed, &options, &mut each),
            None => each(&options, &run(seed, &options)),
        };
        if sum.failed > 0 && args.first_failure {
            break;
        }
    }
    sum.print(begun.elapsed());
    if sum.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

impl Sum {
    /// Counts a run. Returns `false` if it failed, after it was explained.
    fn add(&mut self, seed: u64, options: &Options, report: &Report) -> bool {
        report.trace.iter().for_each(|line| println!("{line}"));
        self.runs += 1;
        self.effects += report.effects;
        self.compared += report.compared;
        self.elapsed += report.elapsed;
        self.log_hash = self.log_hash.rotate_left(1) ^ report.log_hash;
        for (kind, count) in &report.kinds {
            *self.kinds.entry(*kind).or_default() += count;
        }
        if report.violation.is_some() {
            self.failed += 1;
            explain(seed, options);
        }
        report.violation.is_none()
    }

    #[allow(clippy::cast_precision_loss)]
    fn print(&self, took: Duration) {
        let kinds: Vec<String> = self.kinds.iter().map(|(kind, count)| format!("{kind:?} {count}")).collect();
        println!("faults: {}", kinds.join(", "));
        println!(
            "{} runs, {} effects, {:.1} virtual years, {:.1} GB compared, {} seeds failed; log hash {:016x}; {:.0} runs/s",
            self.runs,
            self.effects,
            self.elapsed.as_secs_f64() / (365.25 * 86_400.0),
            self.compared as f64 / 1e9,
            self.failed,
            self.log_hash,
            self.runs as f64 / took.as_secs_f64().max(0.001)
        );
    }
}

/// Prints a failure, the faults it needs, and how to run it again.
fn explain(seed: u64, options: &Options) {
    let Some((smallest, report)) = shrink(seed, options) else { return };
    println!("seed {seed}: {}", report.violation.unwrap_or_default());
    for (number, fault) in report.faults {
        println!("  fault {number}: {fault}");
    }
    let list = |numbers: &mut dyn Iterator<Item = &u32>| numbers.map(u32::to_string).collect::<Vec<_>>().join(",");
    let mut command = format!("cargo run --release -p regrip-simulator -- --first {seed} --seeds 1 --trace");
    match smallest.model {
        Model::Small => command += " --small",
        Model::Fleet => command += " --fleet",
        Model::Full => {}
    }
    let script = &smallest.script;
    let numbers = [
        ("dies-at", smallest.dies_at.map(|at| at.to_string())),
        ("fails-at", script.fails_at.map(|at| at.to_string())),
        (
            "only",
            script.only.as_ref().map(|only| if only.is_empty() { "0".to_owned() } else { list(&mut only.iter()) }),
        ),
        ("without", (!script.without.is_empty()).then(|| list(&mut script.without.iter()))),
    ];
    for (name, value) in numbers {
        if let Some(value) = value {
            command += &format!(" --{name} {value}");
        }
    }
    println!("  {command}");
}
