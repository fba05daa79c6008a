//! Runs WADI's own protocol code under a seeded network full of faults, and checks what must hold.
//!
//! A seed gives the same run each time: `wadi-simulator run --first SEED --seeds 1 --trace` replays
//! a failure step by step.

mod authority;
mod clients;
mod coordinate;
mod coverage;
mod drive;
mod echoes;
mod faults;
mod generations;
mod host;
mod invariants;
mod oracle;
mod parting;
mod proofs;
mod store;
mod stragglers;
mod world;

use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use clap::{Parser, Subcommand};
use wadi_core::sabotage::Rule;

use coverage::Coverage;
use world::{Outcome, Violation, World};

#[derive(Parser)]
#[command(about, version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run seeds one after another until one fails.
    Run {
        /// The first seed.
        #[arg(long, default_value_t = 1)]
        first: u64,
        /// How many seeds.
        #[arg(long, default_value_t = 1000)]
        seeds: u64,
        /// At least so many steps in each.
        #[arg(long, default_value_t = 2000)]
        steps: u64,
        /// Leave a safety rule out (needs a build with `--cfg wadi_sabotage="choose"`).
        #[arg(long)]
        sabotage: Option<String>,
        /// Print every step.
        #[arg(long)]
        trace: bool,
        /// Fail when a cell of the fault × phase table is below this.
        #[arg(long, default_value_t = 0)]
        least_cell: u64,
    },
    /// Leave out one rule after another, and require that each is noticed.
    Hunt {
        /// Within so many seeds.
        #[arg(long, default_value_t = 1000)]
        seeds: u64,
        /// At least so many steps in each.
        #[arg(long, default_value_t = 2000)]
        steps: u64,
        /// Only this rule.
        #[arg(long)]
        sabotage: Option<String>,
    },
    /// Print the names of the rules that can be left out.
    Rules,
}

/// Seeds that once failed, and are run again before any others. What each had found:
const ONCE_FAILED: &[u64] = &[
    3,     // a manager registered itself in its own directory
    11,    // a lost "the directory arrived" left the former manager waiting
    15, // the answer to a proposal came after the layout that it had made, and stopped the levelling
    19, // a death during a rebuild left no doubt
    57, // a doubled state was installed again beside the sealed copy of it
    68, // "nothing is left" was said once, and lost
    159, // the last marker was with a node that was away
    235, // a hand-over forgot who had yet to mark an end
    639, // a session arrived at a node that had said nothing was left
    668, // an unknown last tenure was taken for proof that nothing newer had been
    728, // a release that confirmed an arrival left the older sealed copy
    747, // a marker that came back was taken for a fork
    1553, // what was reported early in a rebuild counted after the session had moved on
    4713, // what was asked between the taking out and the sealing of a session missed it
    11258, // a session was registered at a node that had said nothing was left
    11772, // a marker that came back spared the copy at home
    3450, // a missing session was said to have older copies, by reports from before it was missed
    21021, // everybody was leaving, and nobody's time for it was ever up
];

/// What many runs came to.
struct Total {
    seeds: u64,
    steps: u64,
    acknowledged: u64,
    unavailable: u64,
    coverage: Coverage,
    failed: Option<(u64, Violation)>,
}

/// Runs `count` seeds from `first` on two threads, until one fails.
fn run_seeds(first: u64, count: u64, steps: u64, rule: Option<Rule>, trace: bool) -> Total {
    let next = AtomicU64::new(first);
    let stop = AtomicBool::new(false);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let worker = || {
        choose(rule);
        let mut total = Total {
            seeds: 0,
            steps: 0,
            acknowledged: 0,
            unavailable: 0,
            coverage: Coverage::default(),
            failed: None,
        };
        while !stop.load(Ordering::Relaxed) {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= first + count {
                break;
            }
            let Outcome {
                steps,
                violation,
                coverage,
                acknowledged,
                unavailable,
            } = World::run(seed, steps, trace);
            total.seeds += 1;
            total.steps += steps;
            total.acknowledged += acknowledged;
            total.unavailable += unavailable;
            total.coverage.merge(&coverage);
            if let Some(violation) = violation {
                stop.store(true, Ordering::Relaxed);
                total.failed = Some((seed, violation));
            }
        }
        total
    };
    let totals: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads.min(count as usize))
            .map(|_| scope.spawn(worker))
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().expect("a run panicked"))
            .collect()
    });
    totals
        .into_iter()
        .reduce(|mut sum, other| {
            sum.seeds += other.seeds;
            sum.steps += other.steps;
            sum.acknowledged += other.acknowledged;
            sum.unavailable += other.unavailable;
            sum.coverage.merge(&other.coverage);
            sum.failed = match (sum.failed, other.failed) {
                (Some(one), Some(two)) => Some(if one.0 < two.0 { one } else { two }),
                (one, two) => one.or(two),
            };
            sum
        })
        .expect("there is at least one thread")
}

#[cfg(wadi_sabotage = "choose")]
fn choose(rule: Option<Rule>) {
    wadi_core::sabotage::choose(rule);
}

#[cfg(not(wadi_sabotage = "choose"))]
fn choose(_rule: Option<Rule>) {}

fn rule_of(name: &str) -> Result<Rule, String> {
    if !cfg!(wadi_sabotage = "choose") {
        return Err(
            "this build leaves nothing out; build with RUSTFLAGS='--cfg wadi_sabotage=\"choose\"'"
                .into(),
        );
    }
    Rule::ALL
        .iter()
        .copied()
        .find(|rule| rule.name() == name)
        .ok_or_else(|| format!("there is no rule {name}; `rules` lists them"))
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Command::Run {
            first,
            seeds,
            steps,
            sabotage,
            trace,
            least_cell,
        } => sabotage
            .map(|name| rule_of(&name))
            .transpose()
            .map(|rule| run(first, seeds, steps, rule, trace, least_cell)),
        Command::Hunt {
            seeds,
            steps,
            sabotage,
        } => match sabotage {
            Some(name) => rule_of(&name).map(|rule| hunt(&[rule], seeds, steps)),
            None => rule_of(Rule::ALL[0].name()).map(|_| hunt(Rule::ALL, seeds, steps)),
        },
        Command::Rules => {
            for rule in Rule::ALL {
                println!("{}", rule.name());
            }
            Ok(true)
        }
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(what) => {
            eprintln!("wadi-simulator: {what}");
            ExitCode::from(2)
        }
    }
}

fn run(
    first: u64,
    seeds: u64,
    steps: u64,
    rule: Option<Rule>,
    trace: bool,
    least_cell: u64,
) -> bool {
    #[expect(
        clippy::disallowed_methods,
        reason = "the run's own duration, for people"
    )]
    let began = std::time::Instant::now();
    if !trace && rule.is_none() {
        for &seed in ONCE_FAILED {
            let Outcome { violation, .. } = World::run(seed, steps, false);
            if let Some(violation) = violation {
                println!(
                    "seed {seed} FAILED again: {}: {}",
                    violation.invariant, violation.what
                );
                return false;
            }
        }
    }
    let total = run_seeds(first, seeds, steps, rule, trace);
    let took = began.elapsed().as_secs_f64();
    println!("{}", total.coverage);
    let (least, fault, phase) = total.coverage.least();
    println!(
        "{} seeds from {first}, {} steps ({:.0} per second), {} requests served, {} refused as unavailable; least covered: {fault:?} in {phase:?}, {least} times",
        total.seeds,
        total.steps,
        total.steps as f64 / took,
        total.acknowledged,
        total.unavailable,
    );
    if let Some((seed, violation)) = total.failed {
        println!(
            "seed {seed} FAILED: {}: {}",
            violation.invariant, violation.what
        );
        println!("replay: wadi-simulator run --first {seed} --seeds 1 --steps {steps} --trace");
        return false;
    }
    if least < least_cell {
        println!("FAILED: a cell of the table is below {least_cell}");
        return false;
    }
    println!("clean");
    true
}

fn hunt(rules: &[Rule], seeds: u64, steps: u64) -> bool {
    let mut all = true;
    for &rule in rules {
        let total = run_seeds(1, seeds, steps, Some(rule), false);
        match total.failed {
            Some((seed, violation)) => println!(
                "{:>20}  found at seed {seed}: {}: {}",
                rule.name(),
                violation.invariant,
                violation.what
            ),
            None => {
                all = false;
                println!("{:>20}  NOT FOUND in {} seeds", rule.name(), total.seeds);
            }
        }
    }
    all
}
