//! The figures of a run, and what in them is a violation.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::check::{Done, Fate, Harm, Kind};
use super::excuse::{Doubt, excuses};
use super::ledger::{Ledger, Patience, Seen, Toll};
use super::tally::{Cause, Failed};
use crate::report::{Failure, Outcome, clock};

/// So many things that were done to nodes are told one by one.
const TOLD: usize = 12;

/// What one run came to.
#[derive(Debug, Default)]
pub(super) struct Verdict {
    /// Lines for people.
    pub(super) figures: Vec<String>,
    /// What must not be; empty when all is well.
    pub(super) faults: Vec<String>,
    /// What was wrong with what clients were told, of these.
    pub(super) kinds: BTreeSet<Kind>,
}

impl Verdict {
    /// Judges errors by what was done to nodes and may excuse them, and adds everything up.
    pub(super) fn of(ledger: &Ledger, nodes: usize, load: Duration) -> Self {
        let mut verdict = Self::default();
        let patience = ledger.patience();
        let mut seen = ledger.seen();
        verdict.count(&mut seen, load);
        verdict.errors(&seen, patience);
        verdict.harms(&seen, nodes, patience);
        let mut kinds: BTreeMap<String, u64> = BTreeMap::new();
        for violation in &seen.violations {
            verdict.kinds.insert(violation.kind);
            *kinds.entry(violation.kind.to_string()).or_default() += 1;
        }
        let told = |(kind, count): (String, u64)| format!("{kind}: {count}");
        verdict.faults.extend(kinds.into_iter().map(told));
        if seen.tally.created == 0 {
            verdict
                .faults
                .push("no session was ever created".to_owned());
        }
        verdict
    }

    pub(super) fn figure(&mut self, name: &str, text: impl AsRef<str>) {
        self.figures.push(format!("{name:10} {}", text.as_ref()));
    }

    pub(super) fn outcome(self) -> Outcome {
        for line in &self.figures {
            println!("  {line}");
        }
        match self.faults.as_slice() {
            [] => Ok("no violation".to_owned()),
            faults => Err(Failure::Failed(faults.join("; "))),
        }
    }

    fn count(&mut self, seen: &mut Seen, load: Duration) {
        let tally = &mut seen.tally;
        let requests = tally.requests();
        let rate = requests as f64 / load.as_secs_f64();
        let text = format!("{requests}, {rate:.0} a second for {}", clock(load));
        self.figure("requests", text);
        let served = &tally.served;
        let all: u64 = served.values().sum();
        for ((how, hops), count) in served {
            let part = *count as f64 * 100.0 / all.max(1) as f64;
            let text = format!("{how:9} hops={hops}  {count:>8}  {part:5.1} %");
            self.figure("served", text);
        }
        let [half, most, longest] = tally.percentiles([50.0, 99.0, 100.0]).map(millis);
        self.figure(
            "times",
            format!("p50 {half}, p99 {most}, longest {longest}"),
        );
        for (took, what) in &tally.slowest {
            self.figure("slow", format!("{} {what}", millis(*took)));
        }
        let text = format!(
            "{} created, {} seen to move, {} in use at the end",
            tally.created, tally.moves, seen.alive
        );
        self.figure("sessions", text);
        let gap = match &tally.gap {
            None => "none".to_owned(),
            Some((gap, session)) => {
                let life = seen.troubled.get(session);
                let story = life.map_or(String::new(), |life| format!(": {}", life.story()));
                format!("{} (session {session}{story})", millis(*gap))
            }
        };
        self.figure(
            "gap",
            format!("longest time in which a session's requests failed: {gap}"),
        );
    }

    fn errors(&mut self, seen: &Seen, patience: Patience) {
        let mut counts: BTreeMap<(&Cause, bool), (u64, &Failed)> = BTreeMap::new();
        for failed in &seen.tally.failed {
            let doubt = Doubt::of(&seen.harms, failed);
            let mut harms = seen.harms.iter();
            let excused = harms.any(|(harm, toll)| excuses(harm, toll, doubt, failed, patience));
            counts
                .entry((&failed.cause, excused))
                .or_insert((0, failed))
                .0 += 1;
        }
        if counts.is_empty() {
            self.figure("errors", "none");
        }
        let mut bad = 0;
        for ((cause, excused), (count, first)) in counts {
            let why = if excused {
                "because of what was done"
            } else {
                "NOT EXCUSED"
            };
            let at = first.span.began.as_secs_f64();
            let node = first
                .to
                .map_or("nobody".to_owned(), |to| format!("n{}", to + 1));
            let first_text = format!(
                "the first at {at:.3} s: {} of session {}, asked of {node}, after {}",
                first.what,
                first.session,
                millis(first.span.ended - first.span.began)
            );
            self.figure("errors", format!("{count} × {cause}, {why}; {first_text}"));
            if !excused {
                bad += count;
                if let Some(life) = seen.troubled.get(&first.session) {
                    self.figure("", format!("that session: {}", life.story()));
                }
            }
        }
        if bad > 0 {
            self.faults.push(format!("errors without an excuse: {bad}"));
        }
    }

    fn harms(&mut self, seen: &Seen, nodes: usize, patience: Patience) {
        let lost = seen
            .violations
            .iter()
            .filter(|v| v.kind == Kind::Lost)
            .count();
        let [surely, perhaps] = seen.lost;
        if !seen.harms.is_empty() {
            let text = format!(
                "{surely} sessions that were on killed nodes, {perhaps} that perhaps were, {lost} others"
            );
            self.figure("lost", text);
        }
        if seen.harms.len() <= TOLD {
            for (index, all) in seen.harms.iter().enumerate() {
                let (harm, toll) = all;
                let until = seen.harms.get(index + 1).map(|(next, _)| next.span.began);
                let failed = seen.tally.failed.iter();
                let own = failed.filter(|failed| until.is_none_or(|next| failed.span.began < next));
                let own = own.filter(|failed| {
                    let doubt = Doubt::of(std::slice::from_ref(all), failed);
                    excuses(harm, toll, doubt, failed, patience)
                });
                self.harm(harm, toll, own.collect());
            }
        } else {
            self.many_harms(seen);
        }
        if let [(harm, toll)] = seen.harms.as_slice()
            && harm.done == Done::Killed
        {
            self.bystanders(harm, toll, nodes);
        }
        for (harm, toll) in &seen.harms {
            if harm.done == Done::CutOff && toll.answered_meanwhile == 0 {
                self.faults
                    .push(format!("the others served nobody while {}", named(harm)));
            }
        }
    }

    /// What it was, what became of the sessions that were there, and until when errors came of it.
    fn harm(&mut self, harm: &Harm, toll: &Toll, failed: Vec<&Failed>) {
        let [surely, maybe] = [0, 1].map(|which| fates(&toll.fates[which]));
        let what = named(harm);
        self.figure(
            "harm",
            format!("{what}; there were {} sessions: {surely}", toll.held),
        );
        if toll.perhaps > 0 {
            self.figure("", format!("and perhaps {} more: {maybe}", toll.perhaps));
        }
        let from = harm.undone.map_or(harm.span.began, |undone| undone.ended);
        let last = |own: bool| {
            let others = failed.iter().filter(|failed| {
                let to_the_dead = failed.to.is_some_and(|to| harm.nodes.contains(&to));
                toll.own.contains(&failed.session) == own && !(to_the_dead && harm.done.kills())
            });
            let last = others.map(|failed| failed.span.ended).max();
            match last.map(|ended| ended.checked_sub(from)) {
                None => "none".to_owned(),
                Some(None) => "none since it was undone".to_owned(),
                Some(Some(after)) => format!("{} after", millis(after)),
            }
        };
        let text = format!(
            "the last error of these sessions: {}; of the others: {}",
            last(true),
            last(false)
        );
        self.figure("", text);
    }

    /// How many of each, and what became of the sessions that were there, all together.
    fn many_harms(&mut self, seen: &Seen) {
        let mut kinds: BTreeMap<Done, Vec<&Toll>> = BTreeMap::new();
        for (harm, toll) in &seen.harms {
            kinds.entry(harm.done).or_default().push(toll);
        }
        for (done, tolls) in kinds {
            let count = tolls.len();
            let mut all = [BTreeMap::new(), BTreeMap::new()];
            for toll in tolls {
                for (sum, part) in all.iter_mut().zip(&toll.fates) {
                    for (fate, count) in part {
                        *sum.entry(*fate).or_default() += count;
                    }
                }
            }
            let [surely, maybe] = all.map(|all| fates(&all));
            let what = word(done);
            let text = format!("{count} × {what}; sessions that were there: {surely}");
            self.figure("harm", text);
            self.figure("", format!("and perhaps: {maybe}"));
        }
    }

    /// A single death touches only what the dead node held or managed.
    fn bystanders(&mut self, harm: &Harm, toll: &Toll, nodes: usize) {
        let Toll {
            elsewhere, touched, ..
        } = *toll;
        let name = names(&harm.nodes);
        let share = elsewhere as f64 / nodes as f64;
        let text = format!(
            "{touched} of {elsewhere} sessions that were elsewhere met an error; {name} managed about {share:.0}"
        );
        self.figure("", text);
        if touched as f64 > share + 4.0 * share.sqrt() + 2.0 {
            self.faults.push(format!(
                "{name}'s death touched sessions that it neither held nor managed"
            ));
        }
    }
}

const fn word(done: Done) -> &'static str {
    match done {
        Done::Killed => "killed",
        Done::KilledMost => "killed at once, most of the voters",
        Done::Stopped => "stopped",
        Done::Paused => "paused",
        Done::CutOff => "cut off",
        Done::CutApart => "cut apart",
    }
}

/// `n1 and n2`
pub(super) fn names<'a>(nodes: impl IntoIterator<Item = &'a usize>) -> String {
    let nodes = nodes.into_iter().map(|index| format!("n{}", index + 1));
    nodes.collect::<Vec<_>>().join(" and ")
}

/// `n1 and n2 cut off for 4.0 s`
fn named(harm: &Harm) -> String {
    let (who, what) = (names(&harm.nodes), word(harm.done));
    match harm.undone {
        None => format!("{who} {what}"),
        Some(undone) => {
            let lasted = undone.began.saturating_sub(harm.span.ended);
            format!("{who} {what} for {}", clock(lasted))
        }
    }
}

/// What sessions came to, in one line.
fn fates(fates: &BTreeMap<Fate, usize>) -> String {
    let each = fates.iter().map(|(fate, count)| format!("{count} {fate}"));
    let each: Vec<_> = each.collect();
    if each.is_empty() {
        return "none".to_owned();
    }
    each.join(", ")
}

fn millis(time: Duration) -> String {
    if time < Duration::from_secs(1) {
        format!("{:.1} ms", time.as_secs_f64() * 1000.0)
    } else {
        format!("{:.2} s", time.as_secs_f64())
    }
}

#[cfg(test)]
mod tests {
    use super::super::check::Span;
    use super::*;

    const LOAD: Duration = Duration::from_secs(1);

    fn ledger() -> Ledger {
        let patience = Patience {
            heal: Duration::from_secs(5),
            doubt: Duration::from_secs(3),
            lease: Duration::from_secs(1),
        };
        let ledger = Ledger::new(patience, None);
        ledger.seen().tally.created = 1;
        ledger
    }

    fn span(began: u64) -> Span {
        Span {
            began: Duration::from_millis(began),
            ended: Duration::from_millis(began + 2),
        }
    }

    fn harm(done: Done, began: u64) -> (Harm, Toll) {
        let harm = Harm {
            done,
            nodes: BTreeSet::from([1]),
            span: span(began),
            undone: (!done.kills()).then(|| span(began + 1000)),
        };
        (harm, Toll::default())
    }

    fn faults(ledger: &Ledger) -> usize {
        Verdict::of(ledger, 3, LOAD).faults.len()
    }

    #[test]
    fn an_error_needs_an_excuse() {
        let ledger = ledger();
        assert_eq!(faults(&ledger), 0);
        ledger.seen().tally.failed.push(Failed {
            cause: Cause::Status(503),
            span: span(900),
            to: Some(0),
            session: "1.1".to_owned(),
            of_ended: false,
            what: "Count".to_owned(),
        });
        assert_eq!(faults(&ledger), 1);
        ledger.seen().harms.push(harm(Done::Killed, 500));
        assert_eq!(faults(&ledger), 0);
    }

    #[test]
    fn the_others_go_on_while_some_are_cut_off() {
        let ledger = ledger();
        ledger.seen().harms.push(harm(Done::CutOff, 500));
        assert_eq!(faults(&ledger), 1);
        ledger.seen().harms[0].1.answered_meanwhile = 1;
        assert_eq!(faults(&ledger), 0);
    }

    #[test]
    fn many_are_told_together() {
        let ledger = ledger();
        for began in 0..20 {
            let (harm, mut toll) = harm(Done::Paused, began * 100);
            toll.fates[0].insert(Fate::Served, 2);
            ledger.seen().harms.push((harm, toll));
        }
        let verdict = Verdict::of(&ledger, 3, LOAD);
        let told = verdict.figures.iter().find(|line| line.contains("20 ×"));
        assert!(told.is_some_and(|told| told.ends_with("40 served afterwards")));
    }
}
