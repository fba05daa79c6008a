//! What ran, how long it took, how it ended, and what could not run and why.
//!
//! A stage that fails never stops the stages after it; the exit code tells at the end.

use std::io::Write as _;
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use crate::say::{Voice, say};

#[expect(
    clippy::disallowed_methods,
    reason = "how long a stage took is nobody's input"
)]
mod stopwatch {
    use std::time::{Duration, Instant};

    /// Measures from its making.
    #[derive(Clone, Copy, Debug)]
    pub(crate) struct Stopwatch(Instant);

    impl Stopwatch {
        pub(crate) fn start() -> Self {
            Self(Instant::now())
        }

        pub(crate) fn read(&self) -> Duration {
            self.0.elapsed()
        }
    }
}

pub(crate) use stopwatch::Stopwatch;

/// Why a stage gave no result.
#[derive(Debug)]
pub(crate) enum Failure {
    /// It ran and found something wrong.
    Failed(String),
    /// It could not run on this machine; the text says what is missing.
    NotRun(String),
}

impl Failure {
    pub(crate) fn failed(why: impl Into<String>) -> Self {
        Self::Failed(why.into())
    }

    pub(crate) fn not_run(why: impl Into<String>) -> Self {
        Self::NotRun(why.into())
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Failed(why) | Self::NotRun(why) => f.write_str(why),
        }
    }
}

/// A stage's closing words, or why there are none.
pub(crate) type Outcome = Result<String, Failure>;

/// Turns an error of this program's own making (a file that cannot be read) into a failure.
pub(crate) fn because<E: std::fmt::Display>(
    what: impl std::fmt::Display,
) -> impl FnOnce(E) -> Failure {
    move |error| Failure::Failed(format!("{what}: {error}"))
}

struct Row {
    stage: String,
    outcome: Outcome,
    took: Duration,
}

/// What the second of two lines has of a busy processor: a tenth, so that it hardly shows, and yet nobody starves.
const SECOND_LINE: i32 = 10;

/// The stages of one run, in the order in which they ran; of two lines one after the other.
pub(crate) struct Report {
    rows: Vec<Row>,
    whole: Stopwatch,
}

impl Report {
    pub(crate) fn new() -> Self {
        Self {
            rows: Vec::new(),
            whole: Stopwatch::start(),
        }
    }

    /// Runs two lines of stages at once. The second takes what the first leaves of the processor, and shows of
    /// each of its stages that it begins, and all else at its end.
    pub(crate) fn two_lines(
        &mut self,
        first: impl FnOnce(&mut Self),
        second: impl FnOnce(&mut Self) + Send,
    ) {
        let mut beside = Self::new();
        thread::scope(|scope| {
            let line = scope.spawn(|| {
                // A thread's own, and that of the processes and threads that it starts.
                #[cfg(target_os = "linux")]
                rustix::process::nice(SECOND_LINE).ok();
                Voice::keep();
                second(&mut beside);
            });
            first(self);
            if !line.is_finished() {
                println!("\n… the stages beside these go on");
            }
        });
        self.rows.append(&mut beside.rows);
    }

    /// Runs one stage, with a line before and a line after.
    pub(crate) fn stage(&mut self, stage: &str, work: impl FnOnce() -> Outcome) {
        let voice = Voice::here();
        if voice.is_loud() {
            println!("\n▶ {stage}");
        } else {
            println!("\n▷ {stage} begins beside it\n");
        }
        let stopwatch = Stopwatch::start();
        let outcome = work();
        let took = stopwatch.read();
        let (word, words) = describe(&outcome);
        say!(
            "{} {stage}: {word} after {}{}",
            mark(&outcome),
            clock(took),
            after_dash(words)
        );
        if !voice.is_loud() {
            println!("\n▶ {stage}, beside others\n{}", voice.take());
        }
        // A line of progress is worth showing at once, also when standard output is a pipe.
        std::io::stdout().flush().ok();
        self.rows.push(Row {
            stage: stage.to_owned(),
            outcome,
            took,
        });
    }

    /// Whether every stage so far passed or could not run.
    pub(crate) fn is_green(&self) -> bool {
        !self
            .rows
            .iter()
            .any(|row| matches!(row.outcome, Err(Failure::Failed(_))))
    }

    /// Prints the table of several stages; the exit code is 1 when any stage failed.
    pub(crate) fn close(self) -> ExitCode {
        if self.rows.len() > 1 {
            print!("\n{}", self.table());
        }
        if self.is_green() {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        }
    }

    fn table(&self) -> String {
        let width = self
            .rows
            .iter()
            .map(|row| row.stage.len())
            .max()
            .unwrap_or(0)
            .max(5);
        let mut table = format!("  {:width$}  {:>9}  {:8}\n", "stage", "took", "outcome");
        for row in &self.rows {
            let (word, words) = describe(&row.outcome);
            let first = words.lines().next().unwrap_or_default();
            table += &format!(
                "{} {:width$}  {:>9}  {word:8}  {first}\n",
                mark(&row.outcome),
                row.stage,
                clock(row.took)
            );
        }
        let count = |wanted: fn(&Outcome) -> bool| {
            self.rows.iter().filter(|row| wanted(&row.outcome)).count()
        };
        table += &format!(
            "\n{}: {} passed, {} failed, {} could not run; {} in all\n",
            if self.is_green() {
                "green"
            } else {
                "NOT GREEN"
            },
            count(|outcome| outcome.is_ok()),
            count(|outcome| matches!(outcome, Err(Failure::Failed(_)))),
            count(|outcome| matches!(outcome, Err(Failure::NotRun(_)))),
            clock(self.whole.read()),
        );
        table
    }
}

fn mark(outcome: &Outcome) -> char {
    match outcome {
        Ok(_) => '✓',
        Err(Failure::Failed(_)) => '✗',
        Err(Failure::NotRun(_)) => '–',
    }
}

fn describe(outcome: &Outcome) -> (&'static str, &str) {
    match outcome {
        Ok(words) => ("passed", words),
        Err(Failure::Failed(why)) => ("FAILED", why),
        Err(Failure::NotRun(why)) => ("not run", why),
    }
}

fn after_dash(words: &str) -> String {
    if words.is_empty() {
        String::new()
    } else {
        format!(" – {words}")
    }
}

/// A duration for people: `0.4 s`, `12 s`, `3 m 05 s`.
pub(crate) fn clock(took: Duration) -> String {
    let seconds = took.as_secs();
    match seconds {
        0..10 => format!("{:.1} s", took.as_secs_f64()),
        10..60 => format!("{seconds} s"),
        _ => format!("{} m {:02} s", seconds / 60, seconds % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_stage_does_not_stop_the_next_and_turns_the_run_red() {
        let mut report = Report::new();
        report.stage("first", || Err(Failure::failed("broken")));
        let mut ran = false;
        report.stage("second", || {
            ran = true;
            Ok(String::new())
        });
        assert!(ran);
        assert!(!report.is_green());
        assert!(
            report
                .table()
                .contains("NOT GREEN: 1 passed, 1 failed, 0 could not run")
        );
    }

    #[test]
    fn what_could_not_run_is_said_and_is_no_failure() {
        let mut report = Report::new();
        report.stage("bench", || {
            Err(Failure::not_run("valgrind is not installed"))
        });
        assert!(report.is_green());
        assert!(report.table().contains("valgrind is not installed"));
    }

    #[test]
    fn two_lines_run_at_once_and_are_told_one_after_the_other() {
        let mut report = Report::new();
        let (meet, met) = std::sync::mpsc::sync_channel(0);
        let limit = Duration::from_secs(10);
        let first = |report: &mut Report| {
            report.stage("first", || {
                met.recv_timeout(limit).map_err(because("the second"))
            });
        };
        report.two_lines(first, move |report| {
            report.stage("second", || {
                meet.send("they met".to_owned())
                    .map_err(because("the first"))?;
                Err(Failure::failed("broken"))
            });
        });
        let rows: Vec<_> = report.rows.iter().map(|row| row.stage.as_str()).collect();
        assert_eq!(rows, ["first", "second"]);
        assert!(report.rows[0].outcome.is_ok());
        assert!(!report.is_green());
        assert!(Voice::here().is_loud());
    }

    #[test]
    fn durations_read_well() {
        assert_eq!(clock(Duration::from_millis(440)), "0.4 s");
        assert_eq!(clock(Duration::from_secs(59)), "59 s");
        assert_eq!(clock(Duration::from_secs(185)), "3 m 05 s");
    }
}
