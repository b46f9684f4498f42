//! Runs seeds, or one of them again.
//!
//! ```text
//! cargo run --release -p regrip-simulator -- --seeds 100000              many seeds
//! cargo run --release -p regrip-simulator -- --first 17 --seeds 1 --trace  one, with its log
//! ```

use clap::Parser;
use regrip_simulator::{Model, Options, run, shrink};
use std::process::ExitCode;
use std::time::Instant;

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
    #[arg(long)]
    small: bool,
    /// Every crash point of each seed: the first process dies at each of its effects
    #[arg(long)]
    every_crash: bool,
    /// Stop at the first seed that fails
    #[arg(long)]
    first_failure: bool,
    /// Leave out these faults of the seed, as a failure prints them
    #[arg(long, value_delimiter = ',')]
    without: Vec<u32>,
    /// The first process dies at this effect
    #[arg(long)]
    dies_at: Option<u64>,
    /// Print the log of each seed
    #[arg(long)]
    trace: bool,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let model = if args.small { Model::Small } else { Model::Full };
    let options = Options {
        without: args.without.iter().copied().collect(),
        dies_at: args.dies_at,
        traced: args.trace,
        ..Options::new(model)
    };
    let (begun, mut runs, mut effects, mut failed) = (Instant::now(), 0_u64, 0_u64, 0_u64);
    for seed in args.first..args.first.saturating_add(args.seeds) {
        let report = run(seed, &options);
        report.trace.iter().for_each(|line| println!("{line}"));
        let crashes = if args.every_crash { report.effects } else { 0 };
        let mut all = vec![(options.clone(), report)];
        for dies_at in 1..=crashes {
            let options = Options { dies_at: Some(dies_at), ..options.clone() };
            let report = run(seed, &options);
            all.push((options, report));
        }
        for (options, report) in all {
            runs += 1;
            effects += report.effects;
            if report.violation.is_some() {
                failed += 1;
                explain(seed, &options);
                break;
            }
        }
        if failed > 0 && args.first_failure {
            break;
        }
    }
    let seconds = begun.elapsed().as_secs_f64().max(0.001);
    #[allow(clippy::cast_precision_loss)]
    let rate = runs as f64 / seconds;
    println!("{runs} runs, {effects} effects, {failed} seeds failed; {rate:.0} runs/s");
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Prints a failure, the faults it needs, and how to run it again.
fn explain(seed: u64, options: &Options) {
    let Some((smallest, report)) = shrink(seed, options) else { return };
    println!("seed {seed}: {}", report.violation.unwrap_or_default());
    for (number, fault) in report.faults {
        println!("  fault {number}: {fault}");
    }
    let without: Vec<String> = smallest.without.iter().map(u32::to_string).collect();
    let mut command = format!("cargo run --release -p regrip-simulator -- --first {seed} --seeds 1 --trace");
    if smallest.model == Model::Small {
        command += " --small";
    }
    if let Some(at) = smallest.dies_at {
        command += &format!(" --dies-at {at}");
    }
    if !without.is_empty() {
        command += &format!(" --without {}", without.join(","));
    }
    println!("  {command}");
}
