//! Everything before a landing, stage by stage, in two lines at once.
//!
//! In the first is what is built for tests, and what mostly waits: for browsers, leases and each other. In the
//! second is what only computes: it takes the time in which the first one waits. Each builds into a directory
//! of its own (unoptimised and optimised), so neither waits long for the other's cargo.

use std::num::NonZero;
use std::thread;
use std::time::Duration;

use clap::{Args, ValueEnum};

use crate::child::{self, Child, is_installed};
use crate::report::{Failure, Outcome, Report};
use crate::{bench, cluster_test, demo, example, fuzz, models, simulate, verify};

/// Enough to notice a broken rule before a landing; a night's run takes more.
const SIMULATED_SEEDS: u64 = 1000;
const FUZZ_SECONDS: u64 = 60;
/// Of tests on each core, of which one that does not merely wait takes all: see `.config/nextest.toml`.
const PLACES: usize = 3;

#[derive(Args)]
pub(crate) struct Options {
    /// Only this stage; may be given several times.
    #[arg(long, value_enum, value_name = "STAGE")]
    only: Vec<Stage>,
    /// All stages but this one; may be given several times.
    #[arg(long, value_enum, value_name = "STAGE")]
    skip: Vec<Stage>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Stage {
    Verify,
    Tests,
    Doctests,
    Example,
    Cluster,
    Demo,
    Models,
    Simulate,
    Sabotage,
    Bench,
    Fuzz,
}

pub(crate) fn run(options: &Options, report: &mut Report) {
    child::build_once();
    let chosen = |stage: &&Stage| {
        let chosen = options.only.is_empty() || options.only.contains(stage);
        chosen && !options.skip.contains(stage)
    };
    let chosen = Stage::value_variants().iter().filter(chosen);
    let (second, first): (Vec<Stage>, Vec<Stage>) = chosen.partition(|stage| stage.computes());
    if first.is_empty() {
        run_all(&second, report);
    } else {
        report.two_lines(
            |report| run_all(&first, report),
            |report| run_all(&second, report),
        );
    }
}

fn run_all(stages: &[Stage], report: &mut Report) {
    for stage in stages {
        stage.run(report);
    }
}

impl Stage {
    /// Whether it may take all the time it likes, and any of the processor that is left. The fuzzer comes last
    /// of these: it counts its own time, and the others are over then.
    fn computes(self) -> bool {
        match self {
            Self::Models | Self::Simulate | Self::Sabotage | Self::Bench | Self::Fuzz => true,
            Self::Verify
            | Self::Tests
            | Self::Doctests
            | Self::Example
            | Self::Cluster
            | Self::Demo => false,
        }
    }

    fn run(self, report: &mut Report) {
        match self {
            Self::Verify => verify::run(report),
            Self::Tests => report.stage("tests", tests),
            Self::Doctests => report.stage("doctests", doctests),
            Self::Models => report.stage("models", models::run),
            Self::Simulate => {
                report.stage("simulate", || {
                    simulate::run(&simulate::Options::ordinary(SIMULATED_SEEDS))
                });
            }
            Self::Sabotage => report.stage("sabotage", simulate::hunt),
            Self::Fuzz => report.stage("fuzz", || fuzz::run(&fuzz::Options::all(FUZZ_SECONDS))),
            Self::Bench => bench::run(&bench::Options::smoke(), report),
            Self::Example => report.stage("example", example::run),
            Self::Cluster => cluster(report),
            Self::Demo => report.stage("demo", || demo::run(&demo::Options::smoke())),
        }
    }
}

/// Those of good order, for a short time. Each is a stage of its own, because each says something else.
fn cluster(report: &mut Report) {
    use cluster_test::Scenario;
    for scenario in [
        Scenario::Steady,
        Scenario::Join,
        Scenario::Leave,
        Scenario::Rolling,
    ] {
        let value = scenario.to_possible_value();
        let name = value.as_ref().map_or("?", |value| value.get_name());
        let options = cluster_test::Options::smoke(scenario);
        report.stage(&format!("cluster: {name}"), || cluster_test::run(&options));
    }
}

fn tests() -> Outcome {
    let cores = thread::available_parallelism().map_or(1, NonZero::get);
    let places = (PLACES * cores).to_string();
    let runner: &[&str] = if is_installed("cargo-nextest") {
        &[
            "nextest",
            "run",
            "--profile=landing",
            "--test-threads",
            &places,
        ]
    } else {
        &["test", "--lib", "--bins", "--tests"]
    };
    let words = runner
        .iter()
        .copied()
        .chain(["--workspace", "--all-features"]);
    closing_lines(Child::cargo(words).limit(Duration::from_secs(1200)))
}

fn doctests() -> Outcome {
    closing_lines(Child::cargo([
        "test",
        "--doc",
        "--workspace",
        "--all-features",
    ]))
}

/// Runs a test runner and gives its own closing words; no test at all is no success.
fn closing_lines(child: Child) -> Outcome {
    let said = child.listen()?;
    let closing = closing(&said.lines);
    for line in &closing {
        println!("  {line}");
    }
    let summary = closing.join("; ");
    if !said.success {
        return Err(Failure::failed(format!("{}; {summary}", said.ended)));
    }
    if closing.is_empty() {
        return Err(Failure::failed("the test runner said nothing at its end"));
    }
    Ok(summary)
}

/// `Summary [ 2.1s] 214 tests run: 214 passed` of nextest, or cargo's `test result: ok. 3 passed; …`
/// lines with at least one test.
fn closing(lines: &[String]) -> Vec<String> {
    lines
        .iter()
        .map(|line| line.trim())
        .filter(|line| {
            line.starts_with("Summary [")
                || (line.starts_with("test result:") && !line.contains(" 0 passed; 0 failed"))
        })
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_closing_lines_of_both_runners_are_known() {
        let lines = [
            "     Summary [   0.010s] 5 tests run: 5 passed, 0 skipped",
            "test result: ok. 3 passed; 0 failed; 0 ignored",
            "test result: ok. 0 passed; 0 failed; 0 ignored",
            "running 3 tests",
        ];
        assert_eq!(closing(&lines.map(str::to_owned)).len(), 2);
    }
}
