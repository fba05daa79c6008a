//! The figures of a run, and what in them is a violation.

use std::collections::BTreeMap;
use std::time::Duration;

use super::check::Death;
use super::ledger::{Ledger, Seen, Toll};
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
}

impl Verdict {
    /// Judges errors by the deaths that may excuse them, and adds everything up.
    pub(super) fn of(ledger: &Ledger, nodes: usize, load: Duration) -> Self {
        let mut verdict = Self::default();
        let limit = ledger.heal_within();
        let mut seen = ledger.seen();
        verdict.count(&mut seen, load);
        verdict.errors(&seen, limit);
        for (death, toll) in &seen.deaths {
            verdict.death(death, toll, &seen.tally.failed, nodes, limit);
        }
        let mut kinds: BTreeMap<String, u64> = BTreeMap::new();
        for violation in &seen.violations {
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

    fn errors(&mut self, seen: &Seen, limit: Duration) {
        let deaths: Vec<&Death> = seen.deaths.iter().map(|(death, _)| death).collect();
        let mut counts: BTreeMap<(&Cause, bool), (u64, &Failed)> = BTreeMap::new();
        for failed in &seen.tally.failed {
            let excused = deaths.iter().any(|death| excuses(death, failed, limit));
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
        death: &Death,
        toll: &Toll,
        failed: &[Failed],
        nodes: usize,
        limit: Duration,
    ) {
        let name = format!("n{}", death.node + 1);
        let Toll {
            held,
            perhaps,
            lost,
            elsewhere,
            touched,
        } = *toll;
        let of_death = failed
            .iter()
            .filter(|failed| failed.to != Some(death.node) && excuses(death, failed, limit));
        let healed = of_death.map(|failed| failed.span.ended).max();
        let healed = healed.map_or(Duration::ZERO, |ended| {
            ended.saturating_sub(death.span.began)
        });
        let text = format!(
            "{name} held {held} sessions and perhaps {perhaps} more; {lost} of them are lost; \
             the last error elsewhere came {} after it",
            millis(healed)
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

/// Whether a death may be the cause of an error: the dead node's own connections for as long as a
/// balancer sends to it, and 503 anywhere until it is healed.
fn excuses(death: &Death, failed: &Failed, limit: Duration) -> bool {
    let its_own = failed.to == Some(death.node);
    match failed.cause {
        Cause::Trouble(Trouble::Refused | Trouble::Broken) => {
            its_own && death.explains(&failed.span, POLL + STILL_SENT)
        }
        Cause::Status(503) => death.explains(&failed.span, limit),
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
        let ledger = Ledger::new(Duration::from_secs(5));
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
        let limit = Duration::from_secs(5);
        let broken = Cause::Trouble(Trouble::Broken);
        let excused =
            |cause: &Cause, to, began| excuses(&death, &failed(cause.clone(), to, began), limit);
        assert!(excused(&broken, 1, 1200));
        assert!(!excused(&broken, 2, 1200));
        assert!(!excused(&broken, 1, 9000));
        assert!(excused(&Cause::Status(503), 2, 3000));
        assert!(!excused(&Cause::Status(503), 2, 900));
        assert!(!excused(&Cause::Status(503), 2, 6100));
        assert!(!excused(&Cause::Status(500), 1, 1200));
        assert!(!excused(&Cause::NoNode, 1, 1200));
    }
}
