//! Which sessions a killed node held, as far as its clients can know.
//!
//! Without replicas those are lost, and nothing else may be.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use super::history::{Asked, Life, Span, Told};
use super::session::judge;
use super::violation::Kind;

/// A node that was killed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Death {
    pub(crate) node: usize,
    /// The kill itself, from before the signal was sent to after.
    pub(crate) span: Span,
}

/// Whether a session was on a node when that node died.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hold {
    /// It did not exist then, or had ended.
    None,
    /// It was elsewhere.
    Elsewhere,
    /// It was on its way, or nobody knows.
    Perhaps,
    /// It was there.
    Surely,
}

/// What a session that a dead node held, or may have held, came to, as far as its client saw.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fate {
    /// It is gone, and its client was told so.
    Lost,
    /// It is gone, and its client may have ended it.
    Ended,
    /// It was answered by a living node: it was not there any more.
    Elsewhere,
    /// Nothing but errors until its client was told to stop, or left it.
    InDoubt,
    /// Nobody asked for it again.
    NotAsked,
}

impl fmt::Display for Fate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Lost => "lost",
            Self::Ended => "ended by their clients",
            Self::Elsewhere => "served by others",
            Self::InDoubt => "in doubt to the end",
            Self::NotAsked => "not asked for again",
        })
    }
}

impl Death {
    /// What `life`, which may have been held by the dead node, came to.
    pub(crate) fn fate(&self, life: &Life) -> Fate {
        let after = |event: &&super::Event| {
            event.span.ended >= self.span.began && event.told != Told::NotSent
        };
        let later = life.events.iter().filter(after);
        // What began before it died may have been answered by itself.
        let answered =
            |event: &super::Event| event.is_acknowledged() && event.span.began > self.span.ended;
        let logged_out = |event: &super::Event| event.asked == Asked::Logout;
        if judge(life).iter().any(|found| found.kind == Kind::Lost) {
            Fate::Lost
        } else if life.events.iter().any(super::Event::is_fresh) || later.clone().any(logged_out) {
            Fate::Ended
        } else if later.clone().any(answered) {
            Fate::Elsewhere
        } else if later.clone().any(|event| event.told == Told::Unknown) {
            Fate::InDoubt
        } else {
            Fate::NotAsked
        }
    }
    /// Where the session of this life was when the node died: where its last answer came from, unless
    /// something was under way that may have moved it.
    pub(crate) fn hold(&self, life: &Life) -> Hold {
        let before = |event: &&super::Event| event.span.began <= self.span.ended;
        let known = life.events.iter().filter(before);
        let answered = known
            .clone()
            .filter(|event| event.is_acknowledged() && event.span.ended < self.span.began);
        let Some(last) = answered.clone().max_by_key(|event| event.span.ended) else {
            let created = known.clone().any(super::Event::is_acknowledged);
            return if created { Hold::Perhaps } else { Hold::None };
        };
        let since = Span {
            began: last.span.began,
            ended: self.span.ended,
        };
        let mut nodes = BTreeSet::new();
        for event in known.filter(|event| event.span.overlaps(&since)) {
            if matches!(event.told, Told::NotSent) {
                continue;
            }
            nodes.extend(event.at);
            // Where it was asked, it may have been brought, whatever became of the answer.
            if event.span.ended >= self.span.began || event.told == Told::Unknown {
                nodes.insert(event.to);
            }
        }
        match (nodes.contains(&self.node), nodes.len()) {
            (false, _) => Hold::Elsewhere,
            (true, 1) => Hold::Surely,
            (true, _) => Hold::Perhaps,
        }
    }

    /// Whether something that lasted for `span` can be because of this death, healed within `limit`.
    pub(crate) fn explains(&self, span: &Span, limit: Duration) -> bool {
        span.ended >= self.span.began && span.began <= self.span.ended + limit
    }
}

#[cfg(test)]
mod tests {
    use super::super::history::by_hand::{event, life, span};
    use super::super::history::{Asked, Event};
    use super::*;

    fn at(node: usize, began: u64, ended: u64, told: Told) -> Event {
        Event {
            to: node,
            at: (told != Told::Unknown).then_some(node),
            ..event(began, ended, Asked::Increment, told)
        }
    }

    fn death() -> Death {
        Death {
            node: 1,
            span: span(100, 101),
        }
    }

    #[test]
    fn a_session_was_where_its_last_answer_came_from() {
        let moved = [at(0, 0, 1, Told::Count(1)), at(1, 10, 11, Told::Count(2))];
        assert_eq!(death().hold(&life(moved.clone())), Hold::Surely);
        let back = moved.into_iter().chain([at(2, 20, 21, Told::Count(3))]);
        assert_eq!(death().hold(&life(back)), Hold::Elsewhere);
        assert_eq!(
            death().hold(&life([at(1, 200, 201, Told::Count(1))])),
            Hold::None
        );
    }

    #[test]
    fn what_was_under_way_may_have_moved_it() {
        let asked = at(1, 99, 110, Told::Unknown);
        let found = death().hold(&life([at(0, 0, 1, Told::Count(1)), asked]));
        assert_eq!(found, Hold::Perhaps);
        let gave_up = at(1, 50, 60, Told::Unknown);
        let found = death().hold(&life([at(0, 0, 1, Told::Count(1)), gave_up]));
        assert_eq!(found, Hold::Perhaps);
        let elsewhere = at(2, 99, 110, Told::Unknown);
        let found = death().hold(&life([at(0, 0, 1, Told::Count(1)), elsewhere]));
        assert_eq!(found, Hold::Elsewhere);
    }

    #[test]
    fn each_session_of_a_dead_node_comes_to_something() {
        let fate = |later: &[Event]| {
            let held = at(1, 10, 11, Told::Count(1));
            death().fate(&life([held].into_iter().chain(later.iter().cloned())))
        };
        let doubt = at(0, 200, 201, Told::Unknown);
        let logout = Event {
            asked: Asked::Logout,
            ..at(0, 300, 301, Told::Unknown)
        };
        assert_eq!(fate(&[]), Fate::NotAsked);
        assert_eq!(fate(std::slice::from_ref(&doubt)), Fate::InDoubt);
        let gone = at(0, 400, 401, Told::Fresh);
        assert_eq!(fate(&[doubt.clone(), gone.clone()]), Fate::Lost);
        assert_eq!(fate(&[doubt.clone(), logout.clone()]), Fate::Ended);
        assert_eq!(fate(&[logout, gone]), Fate::Ended);
        let served = at(0, 400, 401, Told::Count(2));
        assert_eq!(fate(&[doubt, served]), Fate::Elsewhere);
    }

    #[test]
    fn a_death_explains_what_happened_while_it_was_healed() {
        let limit = Duration::from_millis(500);
        assert!(death().explains(&span(90, 100), limit));
        assert!(death().explains(&span(600, 700), limit));
        assert!(!death().explains(&span(80, 99), limit));
        assert!(!death().explains(&span(602, 700), limit));
    }
}
