//! Coverage-guided fuzzing of every decoder of foreign bytes, on the stable toolchain.
//!
//! libFuzzer drives; the compiler's own coverage pass is switched on by flags, so neither a nightly
//! compiler nor `cargo-fuzz` is needed. Before the targets run, a planted fault behind a comparison of
//! four bytes must be found: blind luck would need four thousand million tries.

use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use clap::Args;

use crate::apart::Apart;
use crate::build::Build;
use crate::child::{self, Child, Said, is_installed};
use crate::report::{Failure, Outcome, Stopwatch, because, clock};
use crate::say::say;

/// Where the targets are, each with its seeds in `seeds/<name>` and its finds in `artifacts/<name>`.
const DIRECTORY: &str = "xtask/fuzz";

const TARGETS: [Target; 8] = [
    Target {
        name: "cookie",
        longest: 8192,
    },
    Target {
        name: "hop",
        longest: 1024,
    },
    Target {
        name: "id",
        longest: 128,
    },
    Target {
        name: "frozen",
        longest: 4096,
    },
    Target {
        name: "greeting",
        longest: 4096,
    },
    Target {
        name: "message",
        longest: 1024,
    },
    Target {
        name: "authority",
        longest: 4096,
    },
    Target {
        name: "row",
        longest: 1024,
    },
];

const PLANTED: Target = Target {
    name: "planted",
    longest: 64,
};
const PLANTED_LIMIT: Duration = Duration::from_secs(60);
/// All of ours on two cores: each has its minute, and two in eight of the runs that it could have.
const AT_ONCE: usize = TARGETS.len();

#[derive(Args)]
pub(crate) struct Options {
    /// How long to run each target, in seconds.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// One target only: cookie, hop, id, frozen, greeting, message, authority or row.
    target: Option<String>,
}

impl Options {
    /// Every target, for so many seconds.
    pub(crate) fn all(seconds: u64) -> Self {
        Self {
            seconds,
            target: None,
        }
    }
}

#[derive(Clone, Copy)]
struct Target {
    name: &'static str,
    /// Inputs beyond this many bytes add nothing but time.
    longest: usize,
}

/// What one target did in its time.
struct Ran {
    target: Target,
    executed: u64,
    covered: Growth,
    corpus: Growth,
    crashed: Option<String>,
}

/// A figure when the seeds were read, and at the end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Growth {
    first: u64,
    last: u64,
}

pub(crate) fn run(options: &Options) -> Outcome {
    if !["c++", "g++", "clang++"]
        .iter()
        .any(|compiler| is_installed(compiler))
    {
        return Err(Failure::not_run(
            "libFuzzer is C++, and no C++ compiler is installed (Debian: g++)",
        ));
    }
    let chosen = choose(options.target.as_deref())?;
    let built = build(&chosen)?;
    let (planted, built) = built.split_first().expect("the planted one is built");
    let found_after = find_planted(&planted.1)?;
    say!("  the planted fault was found after {}", clock(found_after));
    let ran = run_all(built, options.seconds)?;
    let mut faults = Vec::new();
    for ran in &ran {
        say!(
            "  {:9} {:>10} runs, {:>5} → {:>5} edges and comparisons, {:>5} → {:>5} inputs",
            ran.target.name,
            ran.executed,
            ran.covered.first,
            ran.covered.last,
            ran.corpus.first,
            ran.corpus.last
        );
        faults.extend(ran.fault());
    }
    if faults.is_empty() {
        let executed: u64 = ran.iter().map(|ran| ran.executed).sum();
        Ok(format!(
            "{} targets, {} s each, {executed} runs, nothing found",
            ran.len(),
            options.seconds
        ))
    } else {
        Err(Failure::Failed(faults.join("; ")))
    }
}

fn choose(name: Option<&str>) -> Result<Vec<Target>, Failure> {
    let chosen: Vec<Target> = TARGETS
        .into_iter()
        .filter(|target| name.is_none_or(|name| name == target.name))
        .collect();
    if chosen.is_empty() {
        let names = TARGETS.map(|target| target.name).join(", ");
        return Err(Failure::failed(format!(
            "there is no such target; the targets are {names}"
        )));
    }
    Ok(chosen)
}

/// The planted one and these, with where each executable is.
fn build(chosen: &[Target]) -> Result<Vec<(Target, PathBuf)>, Failure> {
    let targets: Vec<Target> = [&PLANTED].into_iter().chain(chosen).copied().collect();
    let names: Vec<&str> = targets.iter().map(|target| target.name).collect();
    let built = Apart::Fuzz.executables(Build::optimised(&names), &names)?;
    Ok(targets.into_iter().zip(built).collect())
}

/// All at once: fuzzing is pure computation, and a minute is short.
fn run_all(built: &[(Target, PathBuf)], seconds: u64) -> Result<Vec<Ran>, Failure> {
    let mut ran = Vec::new();
    for pair in built.chunks(AT_ONCE) {
        let outcomes: Vec<Result<Ran, Failure>> = thread::scope(|scope| {
            let threads: Vec<_> = pair
                .iter()
                .map(|(target, program)| scope.spawn(|| target.run(program, seconds)))
                .collect();
            threads
                .into_iter()
                .map(|thread| thread.join().expect("a run does not panic"))
                .collect()
        });
        for outcome in outcomes {
            ran.push(outcome?);
        }
    }
    Ok(ran)
}

/// Proves that coverage guides the search; gives the time it took.
fn find_planted(program: &Path) -> Result<Duration, Failure> {
    let stopwatch = Stopwatch::start();
    let corpus = PLANTED.fresh_corpus()?;
    let said = PLANTED.fuzz(program, PLANTED_LIMIT.as_secs(), &[corpus])?;
    if said
        .lines
        .iter()
        .any(|line| line.contains("the planted fault"))
    {
        Ok(stopwatch.read())
    } else {
        Err(Failure::failed(format!(
            "fuzzing is blind here: the planted fault was not found within {} ({})",
            clock(PLANTED_LIMIT),
            said.ended
        )))
    }
}

impl Target {
    fn run(&self, program: &Path, seconds: u64) -> Result<Ran, Failure> {
        // A corpus that grows from run to run would hide whether this run was guided.
        let corpus = self.fresh_corpus()?;
        let seeds = self.directory("seeds");
        let said = self.fuzz(program, seconds, &[corpus, seeds])?;
        Ok(Ran::read(*self, &said))
    }

    fn fuzz(&self, program: &Path, seconds: u64, corpora: &[PathBuf]) -> Result<Said, Failure> {
        let artifacts = self.directory("artifacts");
        std::fs::create_dir_all(&artifacts).map_err(because(artifacts.display()))?;
        Child::new(program)
            .args([
                format!("-max_total_time={seconds}"),
                format!("-max_len={}", self.longest),
                format!("-artifact_prefix={}/", artifacts.display()),
                "-timeout=10".to_owned(),
                "-rss_limit_mb=1024".to_owned(),
                "-print_final_stats=1".to_owned(),
            ])
            .args(corpora)
            .limit(Duration::from_secs(seconds + 60))
            .silent()
            .listen()
    }

    fn directory(&self, of: &str) -> PathBuf {
        child::top().join(DIRECTORY).join(of).join(self.name)
    }

    fn fresh_corpus(&self) -> Result<PathBuf, Failure> {
        let corpus = self.directory("corpus");
        std::fs::remove_dir_all(&corpus).ok();
        std::fs::create_dir_all(&corpus).map_err(because(corpus.display()))?;
        Ok(corpus)
    }
}

impl Ran {
    fn read(target: Target, said: &Said) -> Self {
        let executed = said
            .lines
            .iter()
            .find_map(|line| {
                line.strip_prefix("stat::number_of_executed_units:")?
                    .trim()
                    .parse()
                    .ok()
            })
            .unwrap_or(0);
        let crash = ["SUMMARY:", "panicked at", "Test unit written to"];
        let told = said
            .lines
            .iter()
            .filter(|line| crash.iter().any(|word| line.contains(word)));
        let told: Vec<&str> = told.map(|line| line.trim()).collect();
        Self {
            target,
            executed,
            covered: growth(&said.lines, "ft:"),
            corpus: growth(&said.lines, "corp:"),
            crashed: (!said.success).then(|| format!("{} ({})", said.ended, told.join(", "))),
        }
    }

    fn fault(&self) -> Option<String> {
        let name = self.target.name;
        if let Some(crash) = &self.crashed {
            return Some(format!("{name}: {crash}"));
        }
        let grew = self.covered.last > self.covered.first && self.corpus.last > self.corpus.first;
        (!grew).then(|| format!("{name}: its corpus did not grow, so nothing guided it"))
    }
}

/// The number after `word`, in the `INITED` line and in the last line that has one.
fn growth(lines: &[String], word: &str) -> Growth {
    let number = |line: &String| -> Option<u64> {
        let mut words = line
            .split_whitespace()
            .skip_while(|found| *found != word)
            .skip(1);
        words.next()?.split('/').next()?.parse().ok()
    };
    let first = lines
        .iter()
        .find(|line| line.contains("INITED"))
        .and_then(number);
    let last = lines.iter().rev().find_map(number);
    Growth {
        first: first.unwrap_or(0),
        last: last.unwrap_or(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(success: bool, lines: &[&str]) -> Said {
        let lines = lines.iter().map(|line| (*line).to_owned()).collect();
        Said {
            success,
            code: Some(i32::from(!success)),
            ended: "it ended".to_owned(),
            lines,
        }
    }

    const INITED: &str = "#4\tINITED cov: 20 ft: 21 corp: 2/86b exec/s: 0 rss: 30Mb";
    const NEW: &str = "#90\tNEW    cov: 31 ft: 40 corp: 9/380b lim: 43 exec/s: 0 rss: 30Mb L: 43/43 MS: 1 ChangeByte-";
    const STATS: &str = "stat::number_of_executed_units: 1234";

    #[test]
    fn growth_is_read_from_what_libfuzzer_says() {
        let ran = Ran::read(TARGETS[0], &said(true, &[INITED, NEW, STATS]));
        assert_eq!(
            ran.covered,
            Growth {
                first: 21,
                last: 40
            }
        );
        assert_eq!(ran.corpus, Growth { first: 2, last: 9 });
        assert_eq!(ran.executed, 1234);
        assert_eq!(ran.fault(), None);
    }

    #[test]
    fn a_corpus_that_does_not_grow_is_a_fault() {
        assert!(
            Ran::read(TARGETS[0], &said(true, &[INITED, STATS]))
                .fault()
                .is_some()
        );
    }

    #[test]
    fn a_crash_is_a_fault_and_is_told() {
        let ran = Ran::read(
            TARGETS[0],
            &said(false, &[INITED, NEW, "thread panicked at src/a.rs"]),
        );
        assert!(
            ran.fault()
                .expect("a fault")
                .contains("panicked at src/a.rs")
        );
    }

    fn read(path: &str) -> String {
        let path = child::top().join(path);
        std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    #[test]
    fn every_target_is_run_and_begins_with_something() {
        let manifest = read("xtask/fuzz/Cargo.toml");
        let bins = manifest.split("[[bin]]").skip(1);
        let name = |bin: &str| bin.split('"').nth(1).map(str::to_owned);
        let built: Vec<String> = bins.filter_map(name).collect();
        let run = TARGETS.iter().chain([&PLANTED]);
        let mut run: Vec<&str> = run.map(|target| target.name).collect();
        run.sort_unstable();
        assert_eq!(built, run);
        for target in TARGETS {
            let seeds = std::fs::read_dir(target.directory("seeds"));
            assert!(
                seeds.is_ok_and(|mut seeds| seeds.next().is_some()),
                "{}",
                target.name
            );
        }
    }

    /// Where the decoders are, each with what must hold of any bytes, and where they are given some.
    #[test]
    fn every_check_of_foreign_bytes_is_called_by_a_target() {
        for (checks, targets) in [
            (
                "wadi-core/src/session/fuzzing.rs",
                &[
                    "xtask/fuzz/src/id.rs",
                    "xtask/fuzz/src/frozen.rs",
                    "xtask/fuzz/src/row.rs",
                ][..],
            ),
            (
                "wadi-core/src/authority/raft/fuzzing.rs",
                &["xtask/fuzz/src/authority.rs"],
            ),
            (
                "wadi-transport/src/fuzzing.rs",
                &["xtask/fuzz/src/greeting.rs"],
            ),
            (
                "wadi-axum/src/cluster/proxy/fuzzing.rs",
                &["xtask/fuzz/src/hop.rs"],
            ),
            (
                "wadi-core/stores/src/disc/fuzzing.rs",
                &["xtask/fuzz/src/row.rs"],
            ),
        ] {
            let targets: String = targets.iter().map(|target| read(target)).collect();
            let text = read(checks);
            let lines = text.lines().map(str::trim);
            let names = lines.filter_map(|line| line.strip_prefix("pub fn "));
            let mut named = 0;
            for name in names.filter_map(|rest| rest.split(['(', '<']).next()) {
                named += 1;
                assert!(targets.contains(name), "{checks}: nobody calls {name}");
            }
            assert!(named > 0, "{checks}");
        }
    }
}
