//! Runs the simulator: the product's own protocol under a seeded virtual network.
//!
//! A hunt for missing rules counts only when the same seeds are clean with every rule in place.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use crate::apart::Apart;
use crate::build::Build;
use crate::child::Child;
use crate::report::{Failure, Outcome};

const SIMULATOR: &str = "wadi-simulator";
const LIMIT: Duration = Duration::from_secs(4 * 3600);
/// Within how many seeds a missing rule must be found.
const HUNT_SEEDS: u64 = 1000;

#[derive(Args)]
pub(crate) struct Options {
    /// How many seeds to run, one after another.
    #[arg(long, default_value_t = 1000)]
    seeds: u64,
    /// The first seed; a failure prints its own, and `--first SEED --seeds 1` replays it.
    #[arg(long, default_value_t = 1)]
    first: u64,
    /// Steps per seed.
    #[arg(long, default_value_t = 2000)]
    steps: u64,
    /// Leave this safety rule out and expect a violation; `all` hunts for every rule.
    #[arg(long, value_name = "RULE")]
    sabotage: Option<String>,
    /// Print every step.
    #[arg(long)]
    trace: bool,
    /// Fail when a cell of the printed table of faults and phases is below this.
    #[arg(long, default_value_t = 0)]
    least_cell: u64,
    /// Built with what the nodes are built with: it takes longer, but for where that is built anyway.
    #[arg(skip)]
    as_in_nodes: bool,
}

impl Options {
    /// So many seeds of the ordinary build, where that of the nodes is needed too.
    pub(crate) fn ordinary(seeds: u64) -> Self {
        Self {
            seeds,
            first: 1,
            steps: 2000,
            sabotage: None,
            trace: false,
            least_cell: 0,
            as_in_nodes: true,
        }
    }
}

pub(crate) fn run(options: &Options) -> Outcome {
    let mut numbers = vec![
        "run".to_owned(),
        format!("--first={}", options.first),
        format!("--seeds={}", options.seeds),
        format!("--steps={}", options.steps),
        format!("--least-cell={}", options.least_cell),
    ];
    if options.trace {
        numbers.push("--trace".to_owned());
    }
    match options.sabotage.as_deref() {
        None => {
            Child::new(ordinary(options.as_in_nodes)?)
                .args(numbers)
                .limit(LIMIT)
                .show()?;
            Ok(format!(
                "{} seeds of {} steps, clean",
                options.seeds, options.steps
            ))
        }
        Some("all") => hunt(),
        Some(rule) => {
            let simulator = sabotaged()?;
            known(&simulator, rule)?;
            let said = Child::new(simulator)
                .args(numbers)
                .args(["--sabotage", rule])
                .limit(LIMIT)
                .listen()?;
            // What ends in any other way (a crash, a refused argument) has found nothing.
            if said.code == Some(1) {
                Ok(format!("without {rule} a violation is found"))
            } else if said.success {
                Err(Failure::failed(format!(
                    "without {rule} nothing was found: the simulation is blind to it"
                )))
            } else {
                Err(Failure::Failed(said.ended))
            }
        }
    }
}

/// Looks for every rule that a build can leave out; fails when the absence of one is not noticed.
pub(crate) fn hunt() -> Outcome {
    let simulator = sabotaged()?;
    let rules = rules(&simulator)?;
    let seeds = HUNT_SEEDS.to_string();
    let hunted = Child::new(&simulator)
        .args(["hunt", "--seeds", &seeds])
        .limit(LIMIT)
        .listen()?;
    hunted.require()?;
    // A find proves nothing where the complete build fails on the same seeds.
    let last = last_seed(&hunted.lines).ok_or_else(|| Failure::failed("the hunt tells no seed"))?;
    let complete = [
        "run".to_owned(),
        "--first=1".to_owned(),
        format!("--seeds={last}"),
    ];
    let said = Child::new(&simulator)
        .args(complete)
        .limit(LIMIT)
        .silent()
        .listen()?;
    if !said.success {
        let why = said.lines.iter().rev().find(|line| line.contains("FAILED"));
        return Err(Failure::failed(format!(
            "the hunt proves nothing: with every rule in place the same seeds fail too ({})",
            why.unwrap_or(&said.ended)
        )));
    }
    Ok(format!(
        "each of {} missing rules was found within {last} seeds, and nothing with all in place",
        rules.len()
    ))
}

/// The highest `found at seed N`.
fn last_seed(lines: &[String]) -> Option<u64> {
    let seed = |line: &String| {
        let (_, rest) = line.split_once("found at seed ")?;
        rest.split(|letter: char| !letter.is_ascii_digit())
            .next()?
            .parse()
            .ok()
    };
    lines.iter().filter_map(seed).max()
}

fn known(simulator: &PathBuf, rule: &str) -> Result<(), Failure> {
    let rules = rules(simulator)?;
    if rules.iter().any(|known| known == rule) {
        return Ok(());
    }
    Err(Failure::failed(format!(
        "there is no rule {rule}; the rules are {}, or `all`",
        rules.join(", ")
    )))
}

fn rules(simulator: &PathBuf) -> Result<Vec<String>, Failure> {
    let answer = Child::new(simulator).args(["rules"]).answer()?;
    let rules: Vec<String> = answer
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .map(str::to_owned)
        .collect();
    if rules.is_empty() {
        return Err(Failure::failed(
            "the simulator names no rule that can be left out",
        ));
    }
    Ok(rules)
}

fn ordinary(as_in_nodes: bool) -> Result<PathBuf, Failure> {
    let build = if as_in_nodes {
        Build::optimised(&[SIMULATOR])
    } else {
        Build::of_the_protocol(&[SIMULATOR])
    };
    build.executable(SIMULATOR)
}

fn sabotaged() -> Result<PathBuf, Failure> {
    Apart::Sabotage.executable(Build::of_the_protocol(&[SIMULATOR]), SIMULATOR)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_seed_that_a_hunt_needed_is_read() {
        let lines = [
            "  wait  found at seed 3: two owners",
            "epoch  found at seed 17: a fork",
        ];
        assert_eq!(last_seed(&lines.map(str::to_owned)), Some(17));
        assert_eq!(last_seed(&["nothing".to_owned()]), None);
    }
}
