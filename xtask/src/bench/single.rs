//! What a session costs one node, beside what others cost, in one run, held to budgets.
//!
//! Instructions are counted by cachegrind: unlike time they hardly change from run to run or from machine to
//! machine, so a budget on them can fail a build. Each case runs twice with different numbers of
//! requests; the difference leaves the start-up out.

use std::collections::BTreeMap;
use std::path::Path;
use std::thread;
use std::time::Duration;

use crate::build::Build;
use crate::child::{Child, is_installed};
use crate::report::{Failure, Outcome};
use crate::say::say;

/// What every other case is measured over: the same router and handler without sessions.
const BARE: &str = "bare";
/// Valgrind uses one core; two are what every machine has.
const AT_ONCE: usize = 2;
const LIMIT: Duration = Duration::from_secs(900);

/// The most that a case may cost over bare axum, per request.
struct Budget {
    case: &'static str,
    instructions: f64,
    allocations: f64,
}

const BUDGETS: [Budget; 2] = [
    Budget {
        case: "wadi-untouched",
        instructions: 4_100.0,
        allocations: 7.0,
    },
    Budget {
        case: "wadi-read-write",
        instructions: 5_200.0,
        allocations: 9.0,
    },
];

/// The most live heap that one session may take, in bytes.
struct MemoryBudget {
    case: &'static str,
    bytes: f64,
}

const MEMORY_BUDGETS: [MemoryBudget; 2] = [
    MemoryBudget {
        case: "frozen",
        bytes: 1_500.0,
    },
    MemoryBudget {
        case: "counter",
        bytes: 350.0,
    },
];

/// What one request of a case costs.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Cost {
    /// `None` where valgrind is not installed.
    instructions: Option<f64>,
    allocations: f64,
}

/// The two numbers of requests whose difference is measured.
const fn requests(smoke: bool) -> (u64, u64) {
    if smoke { (200, 1_200) } else { (1_000, 21_000) }
}

/// An eighth of a million fills hash tables to about the same part as a million does; a few more of the small
/// tables are still of the smaller size, so sessions take some bytes less.
const fn sessions(smoke: bool) -> u64 {
    if smoke { 125_000 } else { 1_000_000 }
}

/// What a session costs a request, over bare axum.
pub(super) fn fastpath(smoke: bool) -> Outcome {
    let fastpath = Build::optimised(&["fastpath"]).executable("fastpath")?;
    let counted = is_installed("valgrind");
    let costs = measure_all(&fastpath, requests(smoke), counted)?;
    let (table, faults) = fastpath_table(&costs)?;
    say!("\nPer request, over bare axum:\n\n{table}");
    if !faults.is_empty() {
        return Err(Failure::Failed(faults.join("; ")));
    }
    if !counted {
        return Err(Failure::not_run(
            "allocations are within their budgets, but valgrind is not installed, so no instructions were counted",
        ));
    }
    let kept = BUDGETS.iter().filter_map(|budget| {
        let over = costs.get(budget.case)?.over(costs.get(BARE)?);
        Some(format!("{} {}", budget.case, over.short()))
    });
    Ok(format!("within: {}", kept.collect::<Vec<_>>().join(", ")))
}

/// What a session costs in memory.
pub(super) fn memory(smoke: bool) -> Outcome {
    let memory = Build::optimised(&["memory"]).executable("memory")?;
    let sessions = sessions(smoke);
    let figures = weigh_all(&memory, sessions)?;
    let (table, over) = memory_table(&figures)?;
    say!("\nLive heap, with {sessions} sessions:\n\n{table}");
    if !over.is_empty() {
        return Err(Failure::Failed(over.join("; ")));
    }
    let kept = figures
        .iter()
        .map(|(case, bytes)| format!("{case} {bytes:.0}"));
    Ok(format!("bytes: {}", kept.collect::<Vec<_>>().join(", ")))
}

fn measure_all(
    program: &Path,
    requests: (u64, u64),
    counted: bool,
) -> Result<BTreeMap<String, Cost>, Failure> {
    let said = Child::new(program).limit(LIMIT).silent().listen()?;
    said.require()?;
    let cases: Vec<String> = figures(&said.lines, "allocations per request")
        .into_iter()
        .map(|(case, _)| case)
        .collect();
    let mut costs = BTreeMap::new();
    for pair in cases.chunks(AT_ONCE) {
        let measured: Vec<Result<Cost, Failure>> = thread::scope(|scope| {
            let threads: Vec<_> = pair
                .iter()
                .map(|case| scope.spawn(|| measure(program, case, requests, counted)))
                .collect();
            threads
                .into_iter()
                .map(|thread| thread.join().expect("measuring does not panic"))
                .collect()
        });
        for (case, cost) in pair.iter().zip(measured) {
            costs.insert(case.clone(), cost?);
        }
    }
    Ok(costs)
}

fn measure(
    program: &Path,
    case: &str,
    (few, many): (u64, u64),
    counted: bool,
) -> Result<Cost, Failure> {
    let said = Child::new(program)
        .args([case, &many.to_string()])
        .limit(LIMIT)
        .silent()
        .listen()?;
    said.require()?;
    let (_, allocations) = figures(&said.lines, "allocations per request")
        .pop()
        .ok_or_else(|| Failure::failed(format!("{case} tells no allocations")))?;
    let instructions = if counted {
        let difference = instructions(program, case, many)? - instructions(program, case, few)?;
        Some(difference / (many - few) as f64)
    } else {
        None
    };
    Ok(Cost {
        instructions,
        allocations,
    })
}

/// The live heap of each case, one process each, so that none counts what another left.
fn weigh_all(program: &Path, sessions: u64) -> Result<Vec<(String, f64)>, Failure> {
    let what = "bytes per session";
    let said = Child::new(program).limit(LIMIT).silent().listen()?;
    said.require()?;
    let mut weighed = Vec::new();
    for (case, _) in figures(&said.lines, what) {
        let said = Child::new(program)
            .args([&case, &sessions.to_string()])
            .limit(LIMIT)
            .silent()
            .listen()?;
        said.require()?;
        weighed.extend(figures(&said.lines, what));
    }
    Ok(weighed)
}

/// The instructions of a whole run.
fn instructions(program: &Path, case: &str, requests: u64) -> Result<f64, Failure> {
    let said = Child::new("valgrind")
        .args([
            "--tool=cachegrind",
            "--cache-sim=no",
            "--cachegrind-out-file=/dev/null",
        ])
        .args([program])
        .args([case, &requests.to_string()])
        .limit(LIMIT)
        .silent()
        .listen()?;
    said.require()?;
    refs(&said.lines)
        .ok_or_else(|| Failure::failed(format!("cachegrind counted nothing of {case}")))
}

/// `==123== I refs:        1,234,567`, with any number of blanks.
fn refs(lines: &[String]) -> Option<f64> {
    lines.iter().find_map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let at = words.windows(2).position(|pair| pair == ["I", "refs:"])?;
        words.get(at + 2)?.replace(',', "").parse().ok()
    })
}

/// `case: 12.50 <what>…` lines, in their order.
fn figures(lines: &[String], what: &str) -> Vec<(String, f64)> {
    let figure = |line: &String| {
        let (case, rest) = line.split_once(": ")?;
        let (number, rest) = rest.split_once(' ')?;
        let number = number.replace(',', "").parse().ok()?;
        rest.starts_with(what)
            .then(|| (case.trim().to_owned(), number))
    };
    lines.iter().filter_map(figure).collect()
}

impl Cost {
    fn over(&self, bare: &Self) -> Self {
        let instructions = self
            .instructions
            .zip(bare.instructions)
            .map(|(own, bare)| own - bare);
        Self {
            instructions,
            allocations: self.allocations - bare.allocations,
        }
    }

    fn short(&self) -> String {
        let instructions = self
            .instructions
            .map_or("?".to_owned(), |count| format!("{count:.0}"));
        format!("{instructions} and {:.1}", self.allocations)
    }
}

/// The table in Markdown, and every budget that is blown.
fn fastpath_table(costs: &BTreeMap<String, Cost>) -> Result<(String, Vec<String>), Failure> {
    let bare = costs
        .get(BARE)
        .ok_or_else(|| Failure::failed("there is no case without sessions"))?;
    let mut table = "| case | instructions | budget | allocations | budget | verdict |\n\
                     |---|--:|--:|--:|--:|---|\n"
        .to_owned();
    let mut faults = Vec::new();
    for budget in &BUDGETS {
        if !costs.contains_key(budget.case) {
            faults.push(format!("{} has a budget and is not measured", budget.case));
        }
    }
    for (case, cost) in costs.iter().filter(|(case, _)| *case != BARE) {
        let over = cost.over(bare);
        let instructions = over
            .instructions
            .map_or("not counted".to_owned(), |count| format!("{count:.0}"));
        let budget = BUDGETS.iter().find(|budget| budget.case == case);
        let (limits, verdict) = match budget {
            None => ((String::new(), String::new()), ""),
            Some(budget) => {
                // A hundredth of an allocation is the growth of some table, spread over the requests.
                let fits = over
                    .instructions
                    .is_none_or(|count| count <= budget.instructions)
                    && over.allocations <= budget.allocations + 0.01;
                if !fits {
                    faults.push(format!(
                        "{case} costs {}, more than {:.0} and {:.0}",
                        over.short(),
                        budget.instructions,
                        budget.allocations
                    ));
                }
                let limits = (
                    format!("{:.0}", budget.instructions),
                    format!("{:.0}", budget.allocations),
                );
                (limits, if fits { "within" } else { "OVER" })
            }
        };
        table += &format!(
            "| {case} | {instructions} | {} | {:.2} | {} | {verdict} |\n",
            limits.0, over.allocations, limits.1
        );
    }
    Ok((table, faults))
}

fn memory_table(figures: &[(String, f64)]) -> Result<(String, Vec<String>), Failure> {
    let mut table = "| session | bytes each | budget | verdict |\n|---|--:|--:|---|\n".to_owned();
    let mut faults = Vec::new();
    for budget in &MEMORY_BUDGETS {
        if !figures.iter().any(|(case, _)| case == budget.case) {
            faults.push(format!(
                "{} has a memory budget and is not measured",
                budget.case
            ));
        }
    }
    for (case, bytes) in figures {
        let budget = MEMORY_BUDGETS.iter().find(|budget| budget.case == case);
        let fits = budget.is_none_or(|budget| *bytes <= budget.bytes);
        if let (Some(budget), false) = (budget, fits) {
            faults.push(format!(
                "a {case} session takes {bytes:.0} bytes, more than {:.0}",
                budget.bytes
            ));
        }
        let limit = budget.map_or(String::new(), |budget| format!("{:.0}", budget.bytes));
        let verdict = match (budget, fits) {
            (None, _) => "",
            (Some(_), true) => "within",
            (Some(_), false) => "OVER",
        };
        table += &format!("| {case} | {bytes:.0} | {limit} | {verdict} |\n");
    }
    Ok((table, faults))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<String> {
        text.lines().map(str::to_owned).collect()
    }

    fn cost(instructions: f64, allocations: f64) -> Cost {
        Cost {
            instructions: Some(instructions),
            allocations,
        }
    }

    fn costs(read_write: Cost) -> BTreeMap<String, Cost> {
        [
            ("bare", cost(1_000.0, 5.0)),
            ("wadi-untouched", cost(2_000.0, 6.0)),
            ("wadi-read-write", read_write),
        ]
        .map(|(case, cost)| (case.to_owned(), cost))
        .into()
    }

    #[test]
    fn what_cachegrind_and_the_benches_say_is_read() {
        assert_eq!(
            refs(&lines("==7== \n==7== I   refs:      1,234,567\n")),
            Some(1_234_567.0)
        );
        assert_eq!(refs(&lines("nothing")), None);
        let found = figures(
            &lines("bare: 5.00 allocations per request, 900 ns\nother: 3 ns"),
            "allocations per request",
        );
        assert_eq!(found, [("bare".to_owned(), 5.0)]);
    }

    #[test]
    fn a_blown_budget_is_a_fault_and_a_kept_one_is_not() {
        let (table, faults) = fastpath_table(&costs(cost(6_200.0, 14.0))).expect("bare is there");
        assert!(faults.is_empty(), "{faults:?}");
        assert!(
            table.contains("| wadi-read-write | 5200 | 5200 | 9.00 | 9 | within |"),
            "{table}"
        );
        for over in [cost(6_201.0, 14.0), cost(6_200.0, 15.0)] {
            let (table, faults) = fastpath_table(&costs(over)).expect("bare is there");
            assert_eq!(faults.len(), 1);
            assert!(table.contains("OVER"));
        }
    }

    #[test]
    fn a_budget_without_a_measurement_is_a_fault() {
        let only_bare: BTreeMap<_, _> = [(BARE.to_owned(), cost(1.0, 1.0))].into();
        assert_eq!(
            fastpath_table(&only_bare).expect("bare is there").1.len(),
            BUDGETS.len()
        );
        assert!(fastpath_table(&BTreeMap::new()).is_err());
        assert_eq!(
            memory_table(&[]).expect("a table").1.len(),
            MEMORY_BUDGETS.len()
        );
    }

    #[test]
    fn a_session_that_takes_too_much_memory_is_a_fault() {
        let figures = [
            ("frozen".to_owned(), 1_500.0),
            ("counter".to_owned(), 351.0),
        ];
        let (table, faults) = memory_table(&figures).expect("a table");
        assert_eq!(faults, ["a counter session takes 351 bytes, more than 350"]);
        assert!(table.contains("| frozen | 1500 | 1500 | within |"));
    }
}
