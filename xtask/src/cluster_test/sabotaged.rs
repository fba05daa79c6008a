//! Negative controls: nodes that leave a safety rule out are found out by what their clients are told.
//!
//! The same nodes with all rules in place must be clean first. What is shown, what is not and why, stands
//! in two tables that name every rule.

use std::path::Path;
use std::time::Duration;

use super::options::{Networks, Options};
use super::run::once;
use super::scenario::Scenario;
use super::verdict::Verdict;
use crate::apart::Apart;
use crate::build::Build;
use crate::child::Child;
use crate::fleet::{Fleet, NODE, Plan};
use crate::report::{Failure, Outcome};

/// Names the rule in a node's environment.
const VARIABLE: &str = "SABOTAGE_WADI";

/// The nodes of one run.
#[derive(Debug)]
pub(super) enum Nodes<'a> {
    /// As they are.
    Ordinary,
    /// Of a build that can leave rules out, and the one that they leave out.
    Sabotaged(&'a Path, Option<&'static str>),
}

impl Nodes<'_> {
    pub(super) fn plan(&self, plan: &Plan) -> Result<Fleet, Failure> {
        match self {
            Self::Ordinary => Fleet::plan(plan),
            Self::Sabotaged(program, rule) => {
                let mut fleet = Fleet::of(plan, program)?;
                if let Some(rule) = rule {
                    fleet.environment(VARIABLE, rule);
                }
                Ok(fleet)
            }
        }
    }

    pub(super) const fn leave_a_rule_out(&self) -> bool {
        matches!(self, Self::Sabotaged(_, Some(_)))
    }
}

/// A rule whose absence clients of real processes notice, in the shortest form of this scenario.
struct Shown {
    rule: &'static str,
    scenario: Scenario,
    seed: u64,
    networks: Networks,
}

const fn shown(rule: &'static str, scenario: Scenario, networks: Networks) -> Shown {
    Shown {
        rule,
        scenario,
        seed: 1,
        networks,
    }
}

/// What shows each rule, in every run so far.
const SHOWN: [Shown; 6] = [
    shown("seal", Scenario::Steady, Networks::Loopback),
    shown("rebuild", Scenario::Kill, Networks::Loopback),
    shown("hand-over-seals", Scenario::Join, Networks::Loopback),
    shown("doubt", Scenario::Pause, Networks::Loopback),
    shown("ask-store", Scenario::Restart, Networks::Loopback),
    // On one host its death is proven before it is back.
    shown("incarnation", Scenario::Crash, Networks::Apart),
];

const NEEDS_LOSS: &str = "between processes of one machine no message is lost, late or doubled";
const TOLD_AT_ONCE: &str = "who wakes after a pause is told within milliseconds that it is nobody, and answers too few before";
const NEEDS_RACE: &str = "it takes two things at once that a short run does not bring together";

/// The others, and the likeliest reason: where a short run was tried, it found nothing; where it was not, this
/// is why. `--scenario` tries one all the same.
const NOT_SHOWN: [(&str, &str); 35] = [
    (
        "wait",
        "who is declared dead too early offers what it has, and nobody else had it",
    ),
    ("count-from-send", TOLD_AT_ONCE),
    ("nine-tenths", "it takes clocks of different rates"),
    (
        "check-at-commit",
        "only the simulator's clients can leave it out",
    ),
    ("epoch", NEEDS_LOSS),
    ("older-tenure", NEEDS_LOSS),
    ("floor", NEEDS_LOSS),
    ("late-seal", NEEDS_RACE),
    ("rebuild-waits", NEEDS_RACE),
    (
        "drop-older",
        "an older copy that stays serves nobody before its manager dies",
    ),
    ("fresh-tenure", NEEDS_RACE),
    ("resolve", NEEDS_RACE),
    ("resolve-not-here", NEEDS_RACE),
    ("lease-gate", TOLD_AT_ONCE),
    ("mark-before-answer", NEEDS_RACE),
    ("mark-copies", NEEDS_RACE),
    (
        "share-markers",
        "it takes the deaths of a manager and of who held an old copy",
    ),
    ("marker-beats", NEEDS_RACE),
    ("stale-event", "clients see no events"),
    ("ask-again", NEEDS_LOSS),
    ("refuse-again", NEEDS_LOSS),
    ("take-up", NEEDS_RACE),
    (
        "doubt-lasts",
        "who was killed does not come back with what it held",
    ),
    ("older-waits", TOLD_AT_ONCE),
    (
        "proof",
        "no scenario has anybody declare a living node dead",
    ),
    ("head-waits", TOLD_AT_ONCE),
    ("members-only", TOLD_AT_ONCE),
    (
        "entrust",
        "it takes a leaving within half a minute of the deaths of two others",
    ),
    ("takes-nothing-more", NEEDS_RACE),
    ("keep-sealed", NEEDS_RACE),
    ("await-confirm", NEEDS_RACE),
    (
        "fence-row",
        "it takes a store that does what it was asked and does not say so, and then the death of who asked",
    ),
    (
        "stale-row",
        "it takes the deaths of a manager and of who had the session from it",
    ),
    (
        "end-row",
        "it takes the deaths of all who keep the marker of one end",
    ),
    (
        "grace",
        "it takes a leader that dies when another node has not renewed for a while",
    ),
];

/// Sessions move with each stray request, because most rules are about moves.
const RELOCATE: &str = "--relocate=migrate";

pub(super) fn run(options: &Options, rule: &str) -> Outcome {
    let controls: Vec<Control> = match rule {
        "all" => SHOWN
            .iter()
            .map(|shown| Control::of(options, shown))
            .collect(),
        named => named
            .split(',')
            .map(|name| Control::named(options, name))
            .collect::<Result<_, _>>()?,
    };
    let program = Apart::Sabotage.executable(Build::optimised(&[NODE]), NODE)?;
    refuses_unknown_rules(&program)?;
    let mut clean = Vec::new();
    let mut found = Vec::new();
    for control in controls {
        let Control { rule, options } = control;
        let (scenario, seed) = (options.scenario(), options.seed.unwrap_or(1));
        let settings = (scenario, seed, options.network);
        if !clean.contains(&settings) {
            println!("  all rules in place:");
            match once(&options, seed, &Nodes::Sabotaged(&program, None)) {
                Err(Failure::NotRun(why)) => {
                    found.push((rule, Seen::NotRun(why)));
                    continue;
                }
                verdict => verdict?.outcome().map_err(|failure| {
                    Failure::failed(format!("with all rules in place: {failure}"))
                })?,
            };
            clean.push(settings);
        }
        println!("  without {rule}:");
        let verdict = once(&options, seed, &Nodes::Sabotaged(&program, Some(rule)))?;
        found.push((rule, seen(&verdict)));
    }
    judge(&found)
}

/// Whether these nodes can leave a rule out at all: another build beside this one may have put its own in
/// their place, and then nothing would be noticed whatever the test is worth.
fn refuses_unknown_rules(program: &Path) -> Result<(), Failure> {
    let said = Child::new(program)
        .args(["--http=127.0.0.1:0", "--admin=127.0.0.1:0"])
        .env(VARIABLE, "no-such-rule")
        .limit(Duration::from_secs(10))
        .silent()
        .listen()?;
    if !said.success && said.lines.iter().any(|line| line.contains("no such rule")) {
        return Ok(());
    }
    let program = program.display();
    Err(Failure::Failed(format!(
        "{program} cannot leave a rule out: let no other build run beside this one, and try again"
    )))
}

/// One run that is to fail.
struct Control {
    rule: &'static str,
    options: Options,
}

impl Control {
    /// As the table says, unless the command line does.
    fn of(options: &Options, shown: &Shown) -> Self {
        Self {
            rule: shown.rule,
            options: Options {
                scenario: Some(options.scenario.unwrap_or(shown.scenario)),
                seed: Some(options.seed.unwrap_or(shown.seed)),
                network: Some(options.network.unwrap_or(shown.networks)),
                brief: true,
                ..Self::moving(options)
            },
        }
    }

    fn named(options: &Options, name: &str) -> Result<Self, Failure> {
        let shown = SHOWN.iter().find(|shown| shown.rule == name);
        if let Some(shown) = shown.filter(|_| options.scenario.is_none()) {
            return Ok(Self::of(options, shown));
        }
        let hidden = NOT_SHOWN.iter().find(|(rule, _)| *rule == name);
        let (rule, why) = match (shown, hidden) {
            (Some(shown), _) => (shown.rule, ""),
            (None, Some((rule, why))) => (*rule, *why),
            (None, None) => {
                let shown = SHOWN.map(|shown| shown.rule).join(", ");
                return Err(Failure::failed(format!(
                    "there is no rule {name}; these show: {shown}, or `all`"
                )));
            }
        };
        // Whoever names a scenario may try.
        if options.scenario.is_none() {
            let why = format!("nothing here shows {rule}: {why}");
            return Err(Failure::NotRun(why));
        }
        Ok(Self {
            rule,
            options: Self::moving(options),
        })
    }

    fn moving(options: &Options) -> Options {
        let mut options = options.clone();
        options.node_flag.insert(0, RELOCATE.to_owned());
        options
    }
}

/// What came of leaving a rule out.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Seen {
    /// What clients were told that must not be.
    Violations(String),
    Nothing,
    /// Something is missing on this machine.
    NotRun(String),
}

fn seen(verdict: &Verdict) -> Seen {
    let kinds: Vec<String> = verdict.kinds.iter().map(ToString::to_string).collect();
    if kinds.is_empty() {
        return Seen::Nothing;
    }
    Seen::Violations(kinds.join(", "))
}

fn judge(found: &[(&str, Seen)]) -> Outcome {
    let mut blind = Vec::new();
    let mut noticed = 0;
    let mut not_run = String::new();
    for (rule, seen) in found {
        let what = match seen {
            Seen::Violations(kinds) => kinds.clone(),
            Seen::Nothing => "NOTHING".to_owned(),
            Seen::NotRun(why) => format!("could not run: {why}"),
        };
        println!("  without {rule:18} {what}");
        match seen {
            Seen::Violations(_) => noticed += 1,
            Seen::Nothing => blind.push(*rule),
            Seen::NotRun(_) => not_run = format!("{not_run}; {rule} could not be tried"),
        }
    }
    if !blind.is_empty() {
        return Err(Failure::Failed(format!(
            "nobody noticed the absence of {}",
            blind.join(", ")
        )));
    }
    let said = format!("the absence of {noticed} rules was seen{not_run}");
    if noticed == 0 {
        Err(Failure::NotRun(said))
    } else {
        Ok(said)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The rules, by the names that the switch itself gives them.
    fn rules() -> Vec<&'static str> {
        let source = include_str!("../../../wadi-core/src/sabotage.rs");
        let line = |line: &'static str| {
            let (_, name) = line.trim().split_once(" = \"")?;
            name.strip_suffix("\",")
        };
        source.lines().filter_map(line).collect()
    }

    #[test]
    fn every_rule_is_shown_or_said_not_to_be() {
        let mut told: Vec<&str> = SHOWN.iter().map(|shown| shown.rule).collect();
        told.extend(NOT_SHOWN.map(|(rule, _)| rule));
        told.sort_unstable();
        let mut rules = rules();
        rules.sort_unstable();
        assert_eq!(told, rules);
        assert!(rules.len() > 30, "{rules:?}");
    }

    #[test]
    fn an_absence_that_nobody_noticed_is_a_failure() {
        let fork = Seen::Violations("fork".to_owned());
        let mut found = vec![("a", fork)];
        assert!(judge(&found).is_ok());
        found.push(("b", Seen::Nothing));
        assert!(judge(&found).is_err());
        assert_eq!(super::seen(&Verdict::default()), Seen::Nothing);
    }

    #[test]
    fn what_could_not_run_is_no_success() {
        let not_run = ("a", Seen::NotRun("no root".to_owned()));
        let alone = judge(std::slice::from_ref(&not_run));
        assert!(matches!(alone, Err(Failure::NotRun(_))));
        let fork = Seen::Violations("fork".to_owned());
        let said = judge(&[not_run, ("b", fork)]).expect("one was seen");
        assert!(said.contains("a could not be tried"), "{said}");
    }
}
