//! What was answered is there after `kill -9`, and after an ordinary end.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use super::*;

/// Names the directory to a process that this test starts, and is not set in the tests' own.
const DIRECTORY: &str = "WADI_TEST_DISC";

fn state(number: u32) -> Vec<u8> {
    vec![number as u8; 300 + (number % 1000) as usize]
}

/// Four sessions a step: put together, then one is taken, one ends and two stay.
fn works(directory: &Path, from: u32) {
    let (asked, store) = (Asked::new(), open(directory));
    let say = |what: String| {
        let mut out = std::io::stdout().lock();
        // Whoever reads this may be gone, and then this process goes too.
        let said = writeln!(out, "{what}").and_then(|()| out.flush());
        said.is_ok()
    };
    // The test's own name stands on the line before.
    say(String::new());
    for step in from.. {
        let rows = (0..4).map(|n| row(4 * step + n, 1, &state(4 * step + n)));
        assert!(asked.put(&store, rows.collect()).is_ok());
        if !say(format!("put {step}")) {
            return;
        }
        assert!(matches!(asked.take(&store, 4 * step), Ok(Took::Row(_))));
        say(format!("took {step}"));
        asked.end(&store, 4 * step + 1, HOUR);
        say(format!("ended {step}"));
    }
}

/// No test by itself: what the test below starts.
#[test]
fn works_until_it_is_killed() {
    if let Some(directory) = std::env::var_os(DIRECTORY) {
        works(
            Path::new(&directory),
            std::env::var("WADI_TEST_FROM").map_or(0, |from| from.parse().expect("a number")),
        );
    }
}

/// How many of each were answered when it was killed.
#[derive(Debug, Default)]
struct Answered {
    put: u32,
    took: u32,
    ended: u32,
}

fn kill_after(lines: usize, directory: &Path, from: u32) -> Answered {
    let mut child = Command::new(std::env::current_exe().expect("it runs"))
        .args([
            "--exact",
            "disc::tests::killed::works_until_it_is_killed",
            "--nocapture",
        ])
        .env(DIRECTORY, directory)
        .env("WADI_TEST_FROM", from.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut answered = Answered {
        put: from,
        took: from,
        ended: from,
    };
    let out = BufReader::new(child.stdout.take().expect("it is piped"));
    for (count, line) in out.lines().map_while(Result::ok).enumerate() {
        if count == lines {
            child.kill().expect("it can be killed");
        }
        let step = |what: &str| Some(line.strip_prefix(what)?.trim().parse::<u32>().ok()? + 1);
        answered.put = step("put").unwrap_or(answered.put);
        answered.took = step("took").unwrap_or(answered.took);
        answered.ended = step("ended").unwrap_or(answered.ended);
    }
    let status = child.wait().expect("it has ended");
    assert!(
        !status.success(),
        "it was killed, and did not end by itself"
    );
    assert!(answered.put > from, "it got somewhere");
    answered
}

#[test]
fn what_was_answered_survives_kill_9() {
    let directory = tempfile::tempdir().expect("there is room");
    let path = directory.path().join("disc");
    let asked = Asked::new();
    let mut from = 0;
    for lines in [6, 40, 701, 1502] {
        let answered = kill_after(lines, &path, from);
        let store = open(&path);
        for step in from..answered.put {
            let took = asked.take(&store, 4 * step);
            if step < answered.took {
                assert_eq!(took, Ok(Took::Nothing), "step {step} of {answered:?}");
            } else if took != Ok(Took::Nothing) {
                assert!(is_row(&took, &row(4 * step, 1, &state(4 * step))));
            }
            if step < answered.ended {
                assert_eq!(asked.take(&store, 4 * step + 1), Ok(Took::Ended));
            }
            for number in [4 * step + 2, 4 * step + 3] {
                let took = asked.take(&store, number);
                assert!(
                    is_row(&took, &row(number, 1, &state(number))),
                    "{number} of {answered:?}: {took:?}"
                );
            }
        }
        // The step after the last answer may have been done: the next process begins behind it.
        from = answered.put + 2;
    }
}

#[test]
fn an_ordinary_end_keeps_everything_and_counts_it() {
    let directory = tempfile::tempdir().expect("there is room");
    let asked = Asked::new();
    let rows: Vec<Row> = (0..50)
        .map(|number| row(number, 1, &state(number)))
        .collect();
    let store = open(directory.path());
    assert!(store.is_empty());
    assert_eq!(asked.put(&store, rows.clone()), Ok(vec![Put::Stored; 50]));
    asked.end(&store, 7, HOUR);
    assert!(matches!(asked.take(&store, 8), Ok(Took::Row(_))));
    assert_eq!(store.len(), 48);
    asked.wait(store.close());
    assert!(matches!(
        asked.take(&store, 1),
        Err(StoreError::Unavailable(_))
    ));
    assert!(matches!(
        asked.list(&store, false),
        Err(StoreError::Unavailable(_))
    ));
    // It was closed, so another one may open it while this one is still there.
    let again = open(directory.path());
    assert_eq!(again.len(), 48);
    assert_eq!(asked.list(&again, false).map(|heads| heads.len()), Ok(48));
    assert_eq!(asked.take(&again, 7), Ok(Took::Ended));
    assert!(is_row(&asked.take(&again, 1), &rows[1]));
    assert_eq!(again.len(), 47);
}
