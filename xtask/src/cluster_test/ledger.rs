//! What a run has seen so far: counts, deaths, and every violation as soon as it is known.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::check::{Death, Fate, Hold, Kind, Life, Span, Told, Violation, judge};
use super::tally::Tally;
use crate::report::Stopwatch;

/// Shown at once; the rest of them is counted.
const SHOWN: usize = 20;

/// How long the consequences of a death may be seen.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// By sessions that the dead node did not hold.
    pub(super) heal: Duration,
    /// By its own, from then on.
    pub(super) doubt: Duration,
}

impl Patience {
    pub(super) fn whole(self) -> Duration {
        self.heal + self.doubt
    }
}

/// What became of the sessions that a dead node held.
#[derive(Clone, Debug, Default)]
pub(super) struct Toll {
    /// The sessions that it held or may have held.
    pub(super) own: BTreeSet<String>,
    /// Surely there when it died.
    pub(super) held: usize,
    /// On their way, or nobody knows.
    pub(super) perhaps: usize,
    /// What these came to, each of them; the first of the two are those that surely were there.
    pub(super) fates: [BTreeMap<Fate, usize>; 2],
    /// Elsewhere, and asked of living nodes until the death was healed.
    pub(super) elsewhere: usize,
    /// Of those, the ones that were answered with an error.
    pub(super) touched: usize,
}

#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) tally: Tally,
    pub(super) violations: Vec<Violation>,
    pub(super) deaths: Vec<(Death, Toll)>,
    /// Sessions that their clients could still use at the end.
    pub(super) alive: u64,
}

/// Shared by everybody of a run.
#[derive(Debug)]
pub(super) struct Ledger {
    clock: Stopwatch,
    patience: Patience,
    seen: Mutex<Seen>,
}

impl Ledger {
    pub(super) fn new(patience: Patience) -> Self {
        Self {
            clock: Stopwatch::start(),
            patience,
            seen: Mutex::default(),
        }
    }

    /// Since the run began.
    pub(super) fn now(&self) -> Duration {
        self.clock.read()
    }

    /// Held across no await: everything below it is arithmetic.
    pub(super) fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) const fn patience(&self) -> Patience {
        self.patience
    }

    /// Says what happens, with the moment at which it does.
    pub(super) fn note(&self, text: &str) {
        println!("{:8.3} s  {text}", self.now().as_secs_f64());
    }

    pub(super) fn violated(&self, violation: Violation) {
        let mut seen = self.seen();
        if seen.violations.len() < SHOWN {
            println!("{violation}");
        }
        seen.violations.push(violation);
    }

    /// A node is killed in this span.
    pub(super) fn died(&self, death: Death) {
        self.seen().deaths.push((death, Toll::default()));
    }

    /// Judges a life that is over, or that nobody asks any more.
    pub(super) fn close(&self, life: &Life) {
        let found = judge(life);
        let lost = found.iter().any(|violation| violation.kind == Kind::Lost);
        let mut excused = false;
        for (death, toll) in &mut self.seen().deaths {
            let hold = death.hold(life);
            match hold {
                Hold::None => continue,
                Hold::Surely => toll.held += 1,
                Hold::Perhaps => toll.perhaps += 1,
                Hold::Elsewhere => toll.ask_elsewhere(death, life, self.patience.heal),
            }
            if hold != Hold::Elsewhere {
                toll.own.insert(life.name.clone());
                let fates = &mut toll.fates[usize::from(hold == Hold::Perhaps)];
                *fates.entry(death.fate(life)).or_default() += 1;
                excused |= lost;
            }
        }
        for violation in found {
            if violation.kind != Kind::Lost || !excused {
                self.violated(violation);
            }
        }
    }
}

impl Toll {
    fn ask_elsewhere(&mut self, death: &Death, life: &Life, limit: Duration) {
        let healing = Span {
            began: death.span.began,
            ended: death.span.ended + limit,
        };
        let mut asked = life.events.iter().filter(|event| {
            event.to != death.node && event.span.overlaps(&healing) && event.told != Told::NotSent
        });
        if asked.clone().next().is_some() {
            self.elsewhere += 1;
            self.touched += usize::from(asked.any(|event| event.told == Told::Unknown));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::check::{Asked, Event};
    use super::*;

    fn event(node: usize, began: u64, told: Told) -> Event {
        Event {
            asked: Asked::Increment,
            told,
            span: Span {
                began: Duration::from_millis(began),
                ended: Duration::from_millis(began + 1),
            },
            to: node,
            at: Some(node),
        }
    }

    fn lost_on(node: usize) -> Life {
        Life {
            name: "1.1".to_owned(),
            events: vec![
                event(node, 10, Told::Count(1)),
                event(0, 300, Told::Unknown),
                event(0, 500, Told::Fresh),
            ],
        }
    }

    fn after_the_death_of(node: usize) -> Ledger {
        let ledger = Ledger::new(Patience {
            heal: Duration::from_secs(10),
            doubt: Duration::ZERO,
        });
        ledger.died(Death {
            node,
            span: event(node, 200, Told::Done).span,
        });
        ledger
    }

    #[test]
    fn a_session_that_died_with_its_node_is_no_violation() {
        let ledger = after_the_death_of(1);
        ledger.close(&lost_on(1));
        assert!(ledger.seen().violations.is_empty());
        let (_, toll) = ledger.seen().deaths[0].clone();
        assert_eq!((toll.held, toll.elsewhere), (1, 0));
        assert_eq!(toll.fates[0].get(&Fate::Lost), Some(&1));
    }

    #[test]
    fn a_session_that_was_elsewhere_must_not_die_with_it() {
        let ledger = after_the_death_of(1);
        ledger.close(&lost_on(2));
        assert_eq!(ledger.seen().violations.len(), 1);
        let (_, toll) = ledger.seen().deaths[0].clone();
        assert_eq!(
            (
                toll.held,
                toll.fates.iter().map(BTreeMap::len).sum::<usize>()
            ),
            (0, 0)
        );
        assert_eq!((toll.elsewhere, toll.touched), (1, 1));
    }
}
