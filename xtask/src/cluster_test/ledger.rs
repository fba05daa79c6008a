//! What a run has seen so far: counts, what was done to nodes, and every violation as soon as it is known.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::check::{
    Departure, Done, Fate, Following, Harm, Hold, Kind, Life, Span, Told, Violation, judge,
};
use super::tally::Tally;
use crate::report::Stopwatch;

/// Shown at once; the rest of them is counted.
const SHOWN: usize = 20;
/// So many requests before a violation are shown with it.
const SHOWN_BEFORE: usize = 12;

/// How long the consequences of what was done to nodes may be seen.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// By sessions that such a node did not hold, and by its own once it is back.
    pub(super) heal: Duration,
    /// By those of a dead node, from then on.
    pub(super) doubt: Duration,
    /// How long a node may act that hears nothing from the others.
    pub(super) lease: Duration,
}

impl Patience {
    pub(super) fn whole(self) -> Duration {
        self.heal + self.doubt
    }
}

/// What became of the sessions that harmed nodes held.
#[derive(Clone, Debug, Default)]
pub(super) struct Toll {
    /// The sessions that they held or may have held.
    pub(super) own: BTreeSet<String>,
    /// Surely there when it happened.
    pub(super) held: usize,
    /// On their way, or nobody knows.
    pub(super) perhaps: usize,
    /// What these came to, each of them; the first of the two are those that surely were there.
    pub(super) fates: [BTreeMap<Fate, usize>; 2],
    /// Elsewhere, and asked of other nodes until it was healed.
    pub(super) elsewhere: usize,
    /// Of those, the ones that were answered with an error.
    pub(super) touched: usize,
    /// Answers of the other nodes while it lasted.
    pub(super) answered_meanwhile: usize,
}

#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) tally: Tally,
    pub(super) violations: Vec<Violation>,
    pub(super) harms: Vec<(Harm, Toll)>,
    pub(super) departures: Vec<Departure>,
    /// Sessions that their clients could still use at the end.
    pub(super) alive: u64,
    /// Sessions that are lost and were surely, or perhaps, on a node that was killed.
    pub(super) lost: [usize; 2],
    /// Lives in which something failed, to say what came before and after.
    pub(super) troubled: BTreeMap<String, Life>,
}

/// Which harm it was, to say later that it is undone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct HarmNumber(usize);

/// Shared by everybody of a run.
#[derive(Debug)]
pub(super) struct Ledger {
    clock: Stopwatch,
    patience: Patience,
    following: Option<Following>,
    seen: Mutex<Seen>,
}

impl Ledger {
    /// Of nodes whose sessions follow their clients so.
    pub(super) fn new(patience: Patience, following: Option<Following>) -> Self {
        Self {
            clock: Stopwatch::start(),
            patience,
            following,
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

    /// Something is done to these nodes since `began`.
    pub(super) fn harmed(
        &self,
        done: Done,
        nodes: impl IntoIterator<Item = usize>,
        began: Duration,
    ) -> HarmNumber {
        let ended = self.now();
        let harm = Harm {
            done,
            nodes: nodes.into_iter().collect(),
            span: Span { began, ended },
            undone: None,
        };
        let mut seen = self.seen();
        seen.harms.push((harm, Toll::default()));
        HarmNumber(seen.harms.len() - 1)
    }

    /// It is undone since `began`.
    pub(super) fn undone(&self, HarmNumber(number): HarmNumber, began: Duration) {
        let ended = self.now();
        self.seen().harms[number].0.undone = Some(Span { began, ended });
    }

    /// A node is told to leave in good order: from now on what it holds may go anywhere.
    pub(super) fn departs(&self, node: usize) {
        let (began, ended) = (self.now(), Duration::MAX);
        let span = Span { began, ended };
        self.seen().departures.push(Departure { node, span });
    }

    /// It has left.
    pub(super) fn departed(&self, node: usize) {
        let now = self.now();
        let mut seen = self.seen();
        let mut departures = seen.departures.iter_mut().rev();
        if let Some(departure) = departures.find(|departure| departure.node == node) {
            departure.span.ended = now;
        }
    }

    /// Judges a life that is over, or that nobody asks any more.
    pub(super) fn close(&self, life: &Life) {
        let mut found = judge(life);
        let lost = found.iter().any(|violation| violation.kind == Kind::Lost);
        let mut excuse = None;
        {
            let seen = &mut *self.seen();
            for (harm, toll) in &mut seen.harms {
                let hold = harm.hold(life, &seen.departures, self.following);
                toll.take(hold, harm, life, self.patience.heal);
                if lost && harm.done.kills() && !harm.was_survived_by(life) {
                    excuse = excuse.max(Some(hold));
                }
                found.extend(self.alone(harm, life));
            }
            excuse = excuse.filter(|hold| *hold >= Hold::Perhaps);
            if let Some(hold) = excuse {
                seen.lost[usize::from(hold == Hold::Perhaps)] += 1;
            }
            if life.events.iter().any(|event| event.told == Told::Unknown) {
                seen.troubled.insert(life.name.clone(), life.clone());
            }
        }
        for violation in found {
            if violation.kind != Kind::Lost || excuse.is_none() {
                self.tell_before(&violation, life);
                self.violated(violation);
            }
        }
    }

    /// Shows what its client asked before, where the violation itself is shown.
    fn tell_before(&self, violation: &Violation, life: &Life) {
        if self.seen().violations.len() < SHOWN {
            for event in life.before(violation.at, SHOWN_BEFORE) {
                println!("    {event}");
            }
        }
    }

    /// An answer of a node that could not have a lease any more.
    fn alone(&self, harm: &Harm, life: &Life) -> Option<Violation> {
        let lease = self.patience.lease;
        let mut events = life.events.iter();
        let event = events.find(|event| harm.was_answered_alone(event, lease))?;
        let node = event.at.unwrap_or(event.to) + 1;
        let since = event.span.began.saturating_sub(harm.span.ended);
        Some(Violation {
            kind: Kind::Alone,
            session: life.name.clone(),
            at: event.span.ended,
            text: format!(
                "n{node} answered {:?}, asked {:.1} s after it was cut off",
                event.asked,
                since.as_secs_f64()
            ),
        })
    }
}

impl Toll {
    /// Counts this life, by whether it was there.
    fn take(&mut self, hold: Hold, harm: &Harm, life: &Life, heal: Duration) {
        self.count_meanwhile(harm, life);
        match hold {
            Hold::None => return,
            Hold::Surely => self.held += 1,
            Hold::Perhaps => self.perhaps += 1,
            Hold::Elsewhere => return self.ask_elsewhere(harm, life, heal),
        }
        self.own.insert(life.name.clone());
        let fates = &mut self.fates[usize::from(hold == Hold::Perhaps)];
        *fates.entry(harm.fate(life)).or_default() += 1;
    }

    fn count_meanwhile(&mut self, harm: &Harm, life: &Life) {
        let until = harm.undone.map_or(Duration::MAX, |undone| undone.began);
        let meanwhile = life.events.iter().filter(|event| {
            event.is_acknowledged()
                && event.at.is_some_and(|at| !harm.nodes.contains(&at))
                && event.span.began > harm.span.ended
                && event.span.ended < until
        });
        self.answered_meanwhile += meanwhile.count();
    }

    fn ask_elsewhere(&mut self, harm: &Harm, life: &Life, limit: Duration) {
        let healing = Span {
            began: harm.span.began,
            ended: harm.span.ended + limit,
        };
        let mut asked = life.events.iter().filter(|event| {
            !harm.nodes.contains(&event.to)
                && event.span.overlaps(&healing)
                && event.told != Told::NotSent
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

    fn harm(ledger: &Ledger, done: Done, node: usize) {
        let harm = Harm {
            done,
            nodes: BTreeSet::from([node]),
            span: event(node, 200, Told::Done).span,
            undone: None,
        };
        ledger.seen().harms.push((harm, Toll::default()));
    }

    fn after_the_death_of(node: usize) -> Ledger {
        let ledger = ledger();
        harm(&ledger, Done::Killed, node);
        ledger
    }

    fn ledger() -> Ledger {
        let patience = Patience {
            heal: Duration::from_secs(10),
            doubt: Duration::ZERO,
            lease: Duration::from_millis(50),
        };
        Ledger::new(patience, Following::of(&[]))
    }

    #[test]
    fn a_session_that_died_with_its_node_is_no_violation() {
        let ledger = after_the_death_of(1);
        ledger.close(&lost_on(1));
        assert!(ledger.seen().violations.is_empty());
        let (_, toll) = ledger.seen().harms[0].clone();
        assert_eq!((toll.held, toll.elsewhere), (1, 0));
        assert_eq!(toll.fates[0].get(&Fate::Lost), Some(&1));
    }

    #[test]
    fn a_session_that_was_elsewhere_must_not_die_with_it() {
        let ledger = after_the_death_of(1);
        ledger.close(&lost_on(2));
        assert_eq!(ledger.seen().violations.len(), 1);
        let (_, toll) = ledger.seen().harms[0].clone();
        assert_eq!(
            (
                toll.held,
                toll.fates.iter().map(BTreeMap::len).sum::<usize>()
            ),
            (0, 0)
        );
        assert_eq!((toll.elsewhere, toll.touched), (1, 1));
    }

    #[test]
    fn a_session_that_survived_a_death_is_not_excused_by_it_later() {
        let ledger = after_the_death_of(1);
        let mut life = lost_on(1);
        life.events.insert(2, event(0, 400, Told::Count(2)));
        ledger.close(&life);
        assert_eq!(ledger.seen().violations.len(), 1);
        let (_, toll) = ledger.seen().harms[0].clone();
        assert_eq!(toll.fates[0].get(&Fate::Served), Some(&1));
    }

    #[test]
    fn what_a_node_holds_that_is_leaving_may_die_with_another() {
        let ledger = ledger();
        ledger.departs(2);
        ledger.seen().departures[0].span.began = Duration::from_millis(100);
        harm(&ledger, Done::Killed, 1);
        ledger.close(&lost_on(2));
        assert!(ledger.seen().violations.is_empty());
        ledger.close(&lost_on(3));
        assert_eq!(ledger.seen().violations.len(), 1);
        ledger.departed(2);
        assert!(ledger.seen().departures[0].span.ended < Duration::MAX);
    }

    #[test]
    fn a_session_that_a_paused_node_held_must_not_be_lost() {
        for done in [Done::Stopped, Done::Paused, Done::CutOff, Done::CutApart] {
            let ledger = ledger();
            harm(&ledger, done, 1);
            ledger.close(&lost_on(1));
            assert_eq!(ledger.seen().violations.len(), 1, "{done:?}");
        }
    }

    #[test]
    fn an_answer_without_a_lease_is_a_violation() {
        let kinds = |done| {
            let ledger = ledger();
            harm(&ledger, done, 1);
            let events = [(10, 1), (230, 2), (300, 3)];
            let events = events.map(|(began, count)| event(1, began, Told::Count(count)));
            ledger.close(&Life {
                name: "1.1".to_owned(),
                events: events.into(),
            });
            let seen = ledger.seen();
            seen.violations.iter().map(|v| v.kind).collect::<Vec<_>>()
        };
        assert_eq!(kinds(Done::CutOff), [Kind::Alone]);
        assert!(kinds(Done::CutApart).is_empty());
    }

    #[test]
    fn what_others_answer_while_it_lasts_is_counted() {
        let ledger = after_the_death_of(1);
        harm(&ledger, Done::CutOff, 1);
        ledger.close(&Life {
            name: "2.1".to_owned(),
            events: vec![event(0, 10, Told::Count(1)), event(0, 300, Told::Count(2))],
        });
        assert_eq!(ledger.seen().harms[1].1.answered_meanwhile, 1);
    }
}
