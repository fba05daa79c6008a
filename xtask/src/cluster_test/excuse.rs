//! Whether an error may be because of what was done to nodes. Whatever has no excuse is a violation.

use std::time::Duration;

use super::check::{Done, Harm};
use super::ledger::{Patience, Toll};
use super::tally::{Cause, Failed};
use crate::fleet::{POLL, Trouble};

/// A balancer that just asked may send for one more poll, and its requests take a moment.
const STILL_SENT: Duration = Duration::from_secs(2);

/// Whether an error is about a session that nobody may know anything of for a while, because a dead node
/// held it or may have held it, or because it has ended and only a node that is away remembers that. Each
/// death without proof begins that while anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Doubt {
    Lasting,
    None,
}

impl Doubt {
    pub(super) fn of(harms: &[(Harm, Toll)], failed: &Failed) -> Self {
        let mut deaths = harms.iter().filter(|(harm, _)| harm.done.kills());
        let died = deaths.any(|(death, toll)| {
            death.span.began <= failed.span.ended && toll.own.contains(&failed.session)
        });
        if died || failed.of_ended {
            Self::Lasting
        } else {
            Self::None
        }
    }
}

/// A harmed node's own connections for as long as a balancer sends to it; 503 anywhere until it is
/// healed; and 503 for what is in doubt as long as that lasts.
pub(super) fn excuses(
    harm: &Harm,
    toll: &Toll,
    doubt: Doubt,
    failed: &Failed,
    patience: Patience,
) -> bool {
    let span = &failed.span;
    let by_itself = failed.to.is_some_and(|to| harm.nodes.contains(&to));
    let is_own = toll.own.contains(&failed.session);
    match (harm.done, &failed.cause) {
        (
            Done::Killed | Done::KilledMost | Done::Paused,
            Cause::Trouble(Trouble::Refused | Trouble::Broken),
        )
        | (Done::Paused, Cause::Trouble(Trouble::TimedOut)) => {
            by_itself && harm.explains(span, POLL + STILL_SENT)
        }
        (_, Cause::Status(503)) if doubt == Doubt::Lasting => harm.explains(span, patience.whole()),
        // Until there is a cluster again, nobody is ready.
        (Done::KilledMost, Cause::NoNode) => harm.explains(span, patience.heal),
        // Whoever leaves last is ready for nobody, and what has gone down stays there until they are back.
        (Done::Stopped, Cause::NoNode | Cause::Status(503)) => {
            harm.explains(span, POLL + STILL_SENT)
        }
        (Done::Paused | Done::CutOff, Cause::Status(503)) if !is_own && !by_itself => {
            harm.explains_at_others(span, patience.heal)
        }
        (_, Cause::Status(503)) => harm.explains(span, patience.heal),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::check::Span;
    use super::*;

    const PATIENCE: Patience = Patience {
        heal: Duration::from_secs(5),
        doubt: Duration::from_secs(3),
        lease: Duration::from_secs(1),
    };
    const BROKEN: Cause = Cause::Trouble(Trouble::Broken);
    const LATE: Cause = Cause::Trouble(Trouble::TimedOut);

    fn span(began: u64) -> Span {
        Span {
            began: Duration::from_millis(began),
            ended: Duration::from_millis(began + 2),
        }
    }

    fn failed(cause: Cause, to: usize, began: u64) -> Failed {
        Failed {
            cause,
            span: span(began),
            to: Some(to),
            session: "1.1".to_owned(),
            of_ended: false,
            what: "Count".to_owned(),
        }
    }

    /// n2, from the first second on; what is undone is undone at 20 s.
    fn harm(done: Done) -> Harm {
        Harm {
            done,
            nodes: BTreeSet::from([1]),
            span: span(1000),
            undone: (!done.kills()).then(|| span(20_000)),
        }
    }

    fn excused(done: Done, is_own: bool, cause: Cause, to: usize, began: u64) -> bool {
        let mut toll = Toll::default();
        if is_own {
            toll.own.insert("1.1".to_owned());
        }
        let harm = (harm(done), toll);
        let failed = failed(cause, to, began);
        let doubt = Doubt::of(std::slice::from_ref(&harm), &failed);
        excuses(&harm.0, &harm.1, doubt, &failed, PATIENCE)
    }

    #[test]
    fn a_death_excuses_its_own_connections_and_503_for_a_while() {
        let excused = |is_own, cause, to, began| excused(Done::Killed, is_own, cause, to, began);
        assert!(excused(false, BROKEN, 1, 1200));
        assert!(!excused(false, BROKEN, 2, 1200));
        assert!(!excused(false, BROKEN, 1, 9000));
        assert!(excused(false, Cause::Status(503), 2, 3000));
        assert!(!excused(false, Cause::Status(503), 2, 900));
        assert!(!excused(false, Cause::Status(503), 2, 6100));
        assert!(excused(true, Cause::Status(503), 2, 6100));
        assert!(!excused(true, Cause::Status(503), 2, 9100));
        assert!(!excused(true, Cause::Status(500), 1, 1200));
        assert!(!excused(true, Cause::NoNode, 1, 1200));
        assert!(!excused(true, LATE, 1, 1200));
    }

    #[test]
    fn while_all_are_stopped_nobody_serves_and_afterwards_everybody() {
        let excused = |cause, began| excused(Done::Stopped, true, cause, 1, began);
        for cause in [Cause::NoNode, Cause::Status(503)] {
            assert!(!excused(cause.clone(), 900));
            assert!(excused(cause.clone(), 9000));
            assert!(excused(cause.clone(), 21_000));
            assert!(!excused(cause, 23_000));
        }
        for cause in [BROKEN, LATE, Cause::Status(500)] {
            assert!(!excused(cause, 9000));
        }
    }

    #[test]
    fn nobody_is_ready_only_where_most_of_the_voters_died() {
        assert!(excused(Done::KilledMost, false, Cause::NoNode, 0, 3000));
        assert!(!excused(Done::Paused, true, Cause::NoNode, 0, 3000));
        assert!(!excused(Done::KilledMost, true, Cause::NoNode, 0, 9000));
    }

    #[test]
    fn a_paused_node_is_late_and_the_others_are_not() {
        assert!(excused(Done::Paused, false, LATE, 1, 1200));
        assert!(!excused(Done::Paused, false, LATE, 2, 1200));
        assert!(!excused(Done::CutOff, false, LATE, 1, 1200));
    }

    #[test]
    fn sessions_of_the_others_are_served_while_a_node_is_away() {
        for done in [Done::Paused, Done::CutOff] {
            let excused = |is_own, to, began| {
                super::tests::excused(done, is_own, Cause::Status(503), to, began)
            };
            assert!(excused(false, 2, 3000), "{done:?}");
            assert!(!excused(false, 2, 9000), "{done:?}");
            assert!(excused(false, 2, 21_000), "{done:?}");
            // Its own wait for it, and who asks itself has nobody else to ask.
            assert!(excused(true, 2, 9000), "{done:?}");
            assert!(excused(false, 1, 9000), "{done:?}");
            assert!(!excused(true, 1, 26_000), "{done:?}");
        }
        // Where nobody is spared everything may wait.
        assert!(excused(Done::CutApart, false, Cause::Status(503), 2, 9000));
    }

    #[test]
    fn what_a_dead_node_held_is_in_doubt_again_after_each_death() {
        let mut toll = Toll::default();
        toll.own.insert("1.1".to_owned());
        let paused = harm(Done::Paused);
        let late = failed(Cause::Status(503), 2, 27_000);
        let first = (harm(Done::Killed), toll);
        let doubt = Doubt::of(&[first, (paused.clone(), Toll::default())], &late);
        assert!(excuses(&paused, &Toll::default(), doubt, &late, PATIENCE));
        let none = Doubt::None;
        assert!(!excuses(&paused, &Toll::default(), none, &late, PATIENCE));
    }

    #[test]
    fn an_id_that_has_ended_is_in_doubt_like_one_that_nobody_holds() {
        let ended = |began| {
            let mut failed = failed(Cause::Status(503), 2, began);
            failed.of_ended = true;
            let doubt = Doubt::of(&[], &failed);
            let harm = harm(Done::KilledMost);
            excuses(&harm, &Toll::default(), doubt, &failed, PATIENCE)
        };
        assert!(ended(8500));
        assert!(!ended(9500));
    }
}
