//! Sessions that move between processes, one by one and all at once, beside an echo and a raw stream.
//!
//! The figures are ratios of times, and times of several processes that share a machine with others
//! swing; so they are shown beside what they should be, and fail nothing.

use std::time::Duration;

use crate::build::Build;
use crate::child::{Child, Said};
use crate::report::{Failure, Outcome};

const LIMIT: Duration = Duration::from_secs(900);

/// What is held to the aims, of the two that are told: until the response may go out takes longer.
const RUNS: &str = ", until the handler runs";

/// What a ratio should be.
struct Aim {
    case: &'static str,
    what: &'static str,
    at_most: f64,
}

const AIMS: [Aim; 4] = [
    Aim {
        case: "migration, home, no TLS, until the handler runs",
        what: "times the echo",
        at_most: 2.0,
    },
    Aim {
        case: "migration, displaced, no TLS, until the handler runs",
        what: "times the echo",
        at_most: 3.0,
    },
    Aim {
        case: "migration, home, TLS, until the handler runs",
        what: "times the echo",
        at_most: 2.0,
    },
    Aim {
        case: "migration, displaced, TLS, until the handler runs",
        what: "times the echo",
        at_most: 3.0,
    },
];

/// The least part of a raw stream's speed that an evacuation should have, in per cent.
const EVACUATION: f64 = 30.0;

/// One session after the other: with the node that asks on a core of its own, so that every message wakes
/// another core, as it does between machines; and wherever the system puts them.
pub(super) fn migration(smoke: bool) -> Outcome {
    let sessions = if smoke { "200" } else { "4000" };
    println!("\nWith the node that asks on a core of its own:\n");
    let apart = told(&run(&["migration", sessions, "apart"])?)?;
    println!("\nWherever the system puts them:\n");
    let anywhere = told(&run(&["migration", sessions])?)?;
    Ok(format!(
        "until the handler runs, times an echo's round trip: from core to core {apart}; anywhere {anywhere}"
    ))
}

fn told(said: &Said) -> Outcome {
    let mut words = Vec::new();
    for aim in &AIMS {
        let ratio = figure(said, aim.case, aim.what)?;
        let met = if ratio <= aim.at_most {
            "met"
        } else {
            "missed"
        };
        let case = aim.case.trim_start_matches("migration, ");
        let case = case.trim_end_matches(RUNS);
        words.push(format!("{case} {ratio:.2} (aim {:.1}: {met})", aim.at_most));
    }
    Ok(words.join(", "))
}

/// All of a node's.
pub(super) fn evacuation(sessions: usize) -> Outcome {
    let said = run(&["evacuation", &sessions.to_string()])?;
    let part = figure(&said, "evacuation", "% of the raw stream's speed")?;
    let met = if part >= EVACUATION { "met" } else { "missed" };
    Ok(format!(
        "{part:.1} % of a raw stream's speed (aim {EVACUATION:.0} %: {met})"
    ))
}

fn run(words: &[&str]) -> Result<Said, Failure> {
    let build = ["--release", "--package=wadi-transport", "--bench=cluster"];
    let program = Build::new(build).executable("cluster")?;
    let child = Child::new(program).args(words).limit(LIMIT);
    let said = child.listen()?;
    said.require()?;
    Ok(said)
}

fn figure(said: &Said, case: &str, what: &str) -> Result<f64, Failure> {
    read(&said.lines, case, what)
        .ok_or_else(|| Failure::failed(format!("the bench does not tell of {case}, in {what}")))
}

/// The number in `case: 12.5 what…`.
fn read(lines: &[String], case: &str, what: &str) -> Option<f64> {
    lines.iter().find_map(|line| {
        let rest = line.strip_prefix(case)?.strip_prefix(": ")?;
        let (number, rest) = rest.split_once(' ')?;
        rest.starts_with(what).then(|| number.parse().ok())?
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_bench_says_is_read() {
        let lines = [
            "migration, home, TLS, until the handler runs: 1.90 times the echo at p50",
            "evacuation: 31.0 % of the raw stream's speed, 2 times",
        ]
        .map(str::to_owned);
        let home = read(&lines, AIMS[2].case, "times the echo");
        assert_eq!(home, Some(1.9));
        let part = read(&lines, "evacuation", "% of the raw stream's speed");
        assert_eq!(part, Some(31.0));
        assert_eq!(read(&lines, "evacuation", "times the echo"), None);
    }
}
