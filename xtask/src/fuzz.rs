//! Coverage-guided fuzzing of every decoder of foreign bytes, on the stable toolchain.
//!
//! libFuzzer drives; the compiler's own coverage pass is switched on by flags, so neither a nightly
//! compiler nor `cargo-fuzz` is needed. Before the targets run, a planted fault behind a comparison of
//! four bytes must be found: blind luck would need four thousand million tries.

use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use clap::Args;

use crate::build::Build;
use crate::child::{self, Child, Said, is_installed};
use crate::report::{Failure, Outcome, Stopwatch, because, clock};

/// The crates that hold the targets; each is a workspace of its own.
pub(crate) const MANIFESTS: [&str; 3] = [
    "wadi-core/fuzz/Cargo.toml",
    "wadi-transport/fuzz/Cargo.toml",
    "wadi-axum/fuzz/Cargo.toml",
];

const TARGETS: [Target; 7] = [
    Target {
        name: "cookie",
        directory: "wadi-axum/fuzz",
        longest: 8192,
    },
    Target {
        name: "hop",
        directory: "wadi-axum/fuzz",
        longest: 1024,
    },
    Target {
        name: "id",
        directory: "wadi-core/fuzz",
        longest: 128,
    },
    Target {
        name: "frozen",
        directory: "wadi-core/fuzz",
        longest: 4096,
    },
    Target {
        name: "greeting",
        directory: "wadi-transport/fuzz",
        longest: 4096,
    },
    Target {
        name: "message",
        directory: "wadi-transport/fuzz",
        longest: 1024,
    },
    Target {
        name: "authority",
        directory: "wadi-core/fuzz",
        longest: 4096,
    },
];

const PLANTED: Target = Target {
    name: "planted",
    directory: "wadi-core/fuzz",
    longest: 64,
};
const PLANTED_LIMIT: Duration = Duration::from_secs(60);
/// All of ours on two cores: each has its minute, and two in seven of the runs that it could have.
const AT_ONCE: usize = TARGETS.len();

/// `level=4`: every edge, and the comparisons that lead there. The host's build scripts and macros are
/// not touched, because an explicit `--target` separates them.
const FLAGS: &str = "-Cpasses=sancov-module \
    -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
    -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares \
    --cfg fuzzing -Cdebug-assertions -Coverflow-checks -Ccodegen-units=1";

#[derive(Args)]
pub(crate) struct Options {
    /// How long to run each target, in seconds.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// One target only: cookie, hop, id, frozen, greeting, message or authority.
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
    /// Of its crate; its seeds are in `seeds/<name>`, its finds in `artifacts/<name>`.
    directory: &'static str,
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
    let found_after = find_planted()?;
    println!("  the planted fault was found after {}", clock(found_after));
    let ran = run_all(&chosen, options.seconds)?;
    let mut faults = Vec::new();
    for ran in &ran {
        println!(
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

/// All at once: fuzzing is pure computation, and a minute is short.
fn run_all(targets: &[Target], seconds: u64) -> Result<Vec<Ran>, Failure> {
    let built: Vec<(Target, PathBuf)> = targets
        .iter()
        .map(|target| Ok((*target, target.build()?)))
        .collect::<Result<_, Failure>>()?;
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
fn find_planted() -> Result<Duration, Failure> {
    let program = PLANTED.build()?;
    let stopwatch = Stopwatch::start();
    let corpus = PLANTED.fresh_corpus()?;
    let said = PLANTED.fuzz(&program, PLANTED_LIMIT.as_secs(), &[corpus])?;
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
    fn build(&self) -> Result<PathBuf, Failure> {
        let manifest = format!("{}/Cargo.toml", self.directory);
        let host = host()?;
        Build::new([
            "--release",
            "--locked",
            "--manifest-path",
            &manifest,
            "--target",
            &host,
            "--bin",
            self.name,
        ])
        .flags(FLAGS, "fuzz")
        .executable(self.name)
    }

    fn run(&self, program: &Path, seconds: u64) -> Result<Ran, Failure> {
        // A corpus that grows from run to run would hide whether this run was guided.
        let corpus = self.fresh_corpus()?;
        let seeds = child::top()
            .join(self.directory)
            .join("seeds")
            .join(self.name);
        let said = self.fuzz(program, seconds, &[corpus, seeds])?;
        Ok(Ran::read(*self, &said))
    }

    fn fuzz(&self, program: &Path, seconds: u64, corpora: &[PathBuf]) -> Result<Said, Failure> {
        let artifacts = child::top()
            .join(self.directory)
            .join("artifacts")
            .join(self.name);
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

    fn fresh_corpus(&self) -> Result<PathBuf, Failure> {
        let corpus = child::top()
            .join(self.directory)
            .join("corpus")
            .join(self.name);
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

fn host() -> Result<String, Failure> {
    let answer = Child::new("rustc").args(["-vV"]).answer()?;
    let host = answer.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned)
        .ok_or_else(|| Failure::failed("rustc does not name its host"))
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
        for manifest in MANIFESTS {
            let text = read(manifest);
            let directory = manifest.strip_suffix("/Cargo.toml").expect("a manifest");
            for bin in text.split("[[bin]]").skip(1) {
                let is_it = |target: &Target| {
                    let name = format!("name = \"{}\"", target.name);
                    bin.contains(&name) && target.directory == directory
                };
                let is_run = TARGETS.iter().chain([&PLANTED]).any(is_it);
                assert!(is_run, "{manifest}: nobody runs {bin}");
            }
        }
        for target in TARGETS {
            let seeds = child::top().join(target.directory).join("seeds");
            let seeds = std::fs::read_dir(seeds.join(target.name));
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
                &["wadi-core/fuzz/src/id.rs", "wadi-core/fuzz/src/frozen.rs"][..],
            ),
            (
                "wadi-core/src/authority/raft/fuzzing.rs",
                &["wadi-core/fuzz/src/authority.rs"],
            ),
            (
                "wadi-transport/src/fuzzing.rs",
                &["wadi-transport/fuzz/src/greeting.rs"],
            ),
            (
                "wadi-axum/src/cluster/proxy/fuzzing.rs",
                &["wadi-axum/fuzz/src/hop.rs"],
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
