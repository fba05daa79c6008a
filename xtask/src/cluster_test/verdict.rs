//! The figures of a run, and what in them is a violation.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::check::{Death, Fate, Kind};
use super::ledger::{Ledger, Patience, Seen, Toll};
use super::tally::{Cause, Failed};
use crate::fleet::{POLL, Trouble};
use crate::report::{Failure, Outcome, clock};

/// A balancer that just asked may send for one more poll, and its requests take a moment.
const STILL_SENT: Duration = Duration::from_secs(2);

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
    /// Judges errors by the deaths that may excuse them, and adds everything up.
    pub(super) fn of(ledger: &Ledger, nodes: usize, load: Duration) -> Self {
        let mut verdict = Self::default();
        let patience = ledger.patience();
        let mut seen = ledger.seen();
        verdict.count(&mut seen, load);
        verdict.errors(&seen, patience);
        for (death, toll) in &seen.deaths {
            verdict.death((death, toll), &seen.tally.failed, nodes, patience);
        }
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
            Some((gap, session)) => format!("{} (session {session})", millis(*gap)),
        };
        self.figure(
            "gap",
            format!("longest time in which a session's requests failed: {gap}"),
        );
    }

    fn errors(&mut self, seen: &Seen, patience: Patience) {
        let deaths = &seen.deaths;
        let mut counts: BTreeMap<(&Cause, bool), (u64, &Failed)> = BTreeMap::new();
        for failed in &seen.tally.failed {
            let excused = deaths
                .iter()
                .any(|(death, toll)| excuses(death, toll, failed, patience));
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
                "because of the death"
            } else {
                "NOT EXCUSED"
            };
            let at = first.span.began.as_secs_f64();
            let node = first
                .to
                .map_or("nobody".to_owned(), |to| format!("n{}", to + 1));
            let first = format!(
                "the first at {at:.3} s: {} of session {}, asked of {node}, after {}",
                first.what,
                first.session,
                millis(first.span.ended - first.span.began)
            );
            self.figure("errors", format!("{count} × {cause}, {why}; {first}"));
            bad += if excused { 0 } else { count };
        }
        if bad > 0 {
            self.faults.push(format!("errors without an excuse: {bad}"));
        }
    }

    fn death(
        &mut self,
        (death, toll): (&Death, &Toll),
        failed: &[Failed],
        nodes: usize,
        patience: Patience,
    ) {
        let name = format!("n{}", death.node + 1);
        let Toll {
            held,
            perhaps,
            elsewhere,
            touched,
            ..
        } = *toll;
        let [surely, maybe] = [0, 1].map(|which| fates(&toll.fates[which]));
        let last = |own: bool| {
            let of_death = failed.iter().filter(|failed| {
                let at_the_living = failed.to != Some(death.node);
                at_the_living
                    && toll.own.contains(&failed.session) == own
                    && excuses(death, toll, failed, patience)
            });
            let last = of_death.map(|failed| failed.span.ended).max();
            last.map_or("none".to_owned(), |ended| {
                millis(ended.saturating_sub(death.span.began))
            })
        };
        let text = format!("{name} held {held} sessions: {surely}");
        self.figure("death", text);
        let text = format!("and perhaps {perhaps} more: {maybe}");
        self.figure("death", text);
        let text = format!(
            "until the last error at a living node: {} for its own sessions, {} for the others",
            last(true),
            last(false)
        );
        self.figure("death", text);
        let share = elsewhere as f64 / nodes as f64;
        let text = format!(
            "{touched} of {elsewhere} sessions that were elsewhere met an error; {name} managed about {share:.0}"
        );
        self.figure("death", text);
        if touched as f64 > share + 4.0 * share.sqrt() + 2.0 {
            self.faults.push(format!(
                "{name}'s death touched sessions that it neither held nor managed"
            ));
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

/// Whether a death may be the cause of an error: the dead node's own connections for as long as a
/// balancer sends to it, and 503 anywhere until it is healed; for its own sessions as long as nobody can
/// know whether they are somewhere.
fn excuses(death: &Death, toll: &Toll, failed: &Failed, patience: Patience) -> bool {
    let its_own = failed.to == Some(death.node);
    match failed.cause {
        Cause::Trouble(Trouble::Refused | Trouble::Broken) => {
            its_own && death.explains(&failed.span, POLL + STILL_SENT)
        }
        Cause::Status(503) if toll.own.contains(&failed.session) => {
            death.explains(&failed.span, patience.whole())
        }
        Cause::Status(503) => death.explains(&failed.span, patience.heal),
        Cause::Trouble(Trouble::TimedOut)
        | Cause::Status(_)
        | Cause::Unreadable
        | Cause::NoNode => false,
    }
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

    const PATIENCE: Patience = Patience {
        heal: Duration::from_secs(5),
        doubt: Duration::from_secs(3),
    };

    fn failed(cause: Cause, to: usize, began: u64) -> Failed {
        Failed {
            cause,
            span: Span {
                began: Duration::from_millis(began),
                ended: Duration::from_millis(began + 2),
            },
            to: Some(to),
            session: "1.1".to_owned(),
            what: "Count".to_owned(),
        }
    }

    #[test]
    fn an_error_needs_an_excuse() {
        let ledger = Ledger::new(PATIENCE);
        ledger.seen().tally.created = 1;
        let load = Duration::from_secs(1);
        assert!(Verdict::of(&ledger, 3, load).faults.is_empty());
        let error = failed(Cause::Status(503), 0, 900);
        ledger.seen().tally.failed.push(error.clone());
        assert_eq!(Verdict::of(&ledger, 3, load).faults.len(), 1);
        ledger.died(Death {
            node: 1,
            span: failed(Cause::NoNode, 1, 500).span,
        });
        assert!(Verdict::of(&ledger, 3, load).faults.is_empty());
    }

    #[test]
    fn a_death_excuses_its_own_connections_and_503_for_a_while() {
        let death = Death {
            node: 1,
            span: failed(Cause::NoNode, 1, 1000).span,
        };
        let mut toll = Toll::default();
        let broken = Cause::Trouble(Trouble::Broken);
        let excused = |toll: &Toll, cause: &Cause, to, began| {
            excuses(&death, toll, &failed(cause.clone(), to, began), PATIENCE)
        };
        assert!(excused(&toll, &broken, 1, 1200));
        assert!(!excused(&toll, &broken, 2, 1200));
        assert!(!excused(&toll, &broken, 1, 9000));
        assert!(excused(&toll, &Cause::Status(503), 2, 3000));
        assert!(!excused(&toll, &Cause::Status(503), 2, 900));
        assert!(!excused(&toll, &Cause::Status(503), 2, 6100));
        toll.own.insert("1.1".to_owned());
        assert!(excused(&toll, &Cause::Status(503), 2, 6100));
        assert!(!excused(&toll, &Cause::Status(503), 2, 9100));
        assert!(!excused(&toll, &Cause::Status(500), 1, 1200));
        assert!(!excused(&toll, &Cause::NoNode, 1, 1200));
    }
}
