//! What was done to nodes, and which sessions those held then, as far as their clients can know.
//!
//! Without replicas what a killed node held is lost, and nothing else may ever be.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use super::following::Following;
use super::history::{Asked, Event, Life, Span, Told};
use super::session::judge;
use super::violation::Kind;

/// What was done to nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Done {
    /// They were killed.
    Killed,
    /// The same, and they were most of those that vote: until the others are a cluster again nobody serves.
    KilledMost,
    /// They left in good order, all of them, and were started again.
    Stopped,
    /// They stood still for a while, and went on.
    Paused,
    /// They did not reach the others for a while; those went on without them.
    CutOff,
    /// Some nodes did not reach some others for a while, and who serves meanwhile is open.
    CutApart,
}

/// Something that was done to nodes, and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Harm {
    pub(crate) done: Done,
    pub(crate) nodes: BTreeSet<usize>,
    /// The act itself, from before it to after it.
    pub(crate) span: Span,
    /// When it was undone, likewise; nothing while it lasts, and for what cannot be undone.
    pub(crate) undone: Option<Span>,
}

/// A node that left in good order, and when: what it held is somewhere else. While it leaves, that has no
/// end yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Departure {
    pub(crate) node: usize,
    pub(crate) span: Span,
}

/// Whether a session was on a node when that one was harmed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
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

/// What a session that a harmed node held, or may have held, came to, as far as its client saw.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fate {
    /// It is gone, and its client was told so.
    Lost,
    /// It is gone, and its client may have ended it.
    Ended,
    /// It was answered later.
    Served,
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
            Self::Served => "served afterwards",
            Self::InDoubt => "in doubt to the end",
            Self::NotAsked => "not asked for again",
        })
    }
}

impl Done {
    /// Whether it takes what the nodes held with them.
    pub(crate) const fn kills(self) -> bool {
        matches!(self, Self::Killed | Self::KilledMost)
    }
}

impl Harm {
    /// What `life`, which may have been held by such a node, came to.
    pub(crate) fn fate(&self, life: &Life) -> Fate {
        let after =
            |event: &&Event| event.span.ended >= self.span.began && event.told != Told::NotSent;
        let later = life.events.iter().filter(after);
        let logged_out = |event: &Event| event.asked == Asked::Logout;
        if self.was_survived_by(life) {
            Fate::Served
        } else if judge(life).iter().any(|found| found.kind == Kind::Lost) {
            Fate::Lost
        } else if life.events.iter().any(Event::is_fresh) || later.clone().any(logged_out) {
            Fate::Ended
        } else if later.clone().any(|event| event.told == Told::Unknown) {
            Fate::InDoubt
        } else {
            Fate::NotAsked
        }
    }

    /// Whether the session was there for what was asked after it happened: what becomes of it later has
    /// another reason.
    pub(crate) fn was_survived_by(&self, life: &Life) -> bool {
        let mut events = life.events.iter();
        events.any(|event| event.shows_its_session() && event.span.began > self.span.ended)
    }

    /// Where the session of this life was when it happened: where its last answer came from, unless
    /// something was under way that may have moved it, or it may have followed its requests, or that node
    /// has left since.
    pub(crate) fn hold(
        &self,
        life: &Life,
        departures: &[Departure],
        following: Option<Following>,
    ) -> Hold {
        let before = |event: &&Event| event.span.began <= self.span.ended;
        let known = life.events.iter().filter(before);
        let answered = known
            .clone()
            .filter(|event| event.shows_its_session() && event.span.ended < self.span.began);
        let Some(last) = answered.max_by_key(|event| event.span.ended) else {
            let created = known.clone().any(Event::shows_its_session);
            return if created { Hold::Perhaps } else { Hold::None };
        };
        let since = Span {
            began: last.span.began,
            ended: self.span.ended,
        };
        let mut nodes = BTreeSet::new();
        for event in known.filter(|event| event.span.overlaps(&since)) {
            if !event.was_sent() {
                continue;
            }
            nodes.extend(event.at.filter(|_| event.shows_its_session()));
            // Where it was asked, it may have been brought, whatever became of the answer.
            if event.span.ended >= self.span.began || event.told == Told::Unknown {
                nodes.insert(event.to);
            }
        }
        if let Some(following) = following {
            nodes.extend(following.nodes(life, &since));
        }
        let has_left = |departure: &Departure| {
            nodes.contains(&departure.node) && departure.span.overlaps(&since)
        };
        if departures.iter().any(has_left) {
            return Hold::Perhaps;
        }
        if nodes.is_disjoint(&self.nodes) {
            Hold::Elsewhere
        } else if nodes.is_subset(&self.nodes) {
            Hold::Surely
        } else {
            Hold::Perhaps
        }
    }

    /// Whether something that lasted for `span` can be because of this, in force or healed within `limit`.
    pub(crate) fn explains(&self, span: &Span, limit: Duration) -> bool {
        let until = match (self.undone, self.lasts()) {
            (Some(undone), _) => undone.ended.saturating_add(limit),
            (None, true) => Duration::MAX,
            (None, false) => self.span.ended.saturating_add(limit),
        };
        span.ended >= self.span.began && span.began <= until
    }

    /// The same for who is spared: healed within `limit` after it began, and again after it was undone.
    pub(crate) fn explains_at_others(&self, span: &Span, limit: Duration) -> bool {
        let near =
            |act: &Span| span.ended >= act.began && span.began <= act.ended.saturating_add(limit);
        near(&self.span) || self.undone.as_ref().is_some_and(near)
    }

    /// Whether this answer came from a node that was cut off, and whose lease, of this length, was over
    /// before it was asked.
    pub(crate) fn was_answered_alone(&self, event: &Event, lease: Duration) -> bool {
        let until = self.undone.map_or(Duration::MAX, |undone| undone.began);
        self.done == Done::CutOff
            && event.at.is_some_and(|at| self.nodes.contains(&at))
            && (event.is_acknowledged() || event.is_fresh())
            && event.span.began > self.span.ended + lease
            && event.span.ended < until
    }

    /// Whether it goes on.
    fn lasts(&self) -> bool {
        !self.done.kills() && self.undone.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::super::history::by_hand::{event, life, span};
    use super::*;

    fn at(node: usize, began: u64, ended: u64, told: Told) -> Event {
        Event {
            to: node,
            at: (told != Told::Unknown).then_some(node),
            ..event(began, ended, Asked::Increment, told)
        }
    }

    fn death() -> Harm {
        Harm {
            done: Done::Killed,
            nodes: BTreeSet::from([1]),
            span: span(100, 101),
            undone: None,
        }
    }

    /// Cut off from 100 to 500.
    fn cut() -> Harm {
        Harm {
            done: Done::CutOff,
            undone: Some(span(500, 501)),
            ..death()
        }
    }

    #[test]
    fn a_session_was_where_its_last_answer_came_from() {
        let moved = [at(0, 0, 1, Told::Count(1)), at(1, 10, 11, Told::Count(2))];
        assert_eq!(death().hold(&life(moved.clone()), &[], None), Hold::Surely);
        let back = moved.into_iter().chain([at(2, 20, 21, Told::Count(3))]);
        assert_eq!(death().hold(&life(back), &[], None), Hold::Elsewhere);
        assert_eq!(
            death().hold(&life([at(1, 200, 201, Told::Count(1))]), &[], None),
            Hold::None
        );
    }

    #[test]
    fn what_was_under_way_may_have_moved_it() {
        let asked = at(1, 99, 110, Told::Unknown);
        let found = death().hold(&life([at(0, 0, 1, Told::Count(1)), asked]), &[], None);
        assert_eq!(found, Hold::Perhaps);
        let gave_up = at(1, 50, 60, Told::Unknown);
        let found = death().hold(&life([at(0, 0, 1, Told::Count(1)), gave_up]), &[], None);
        assert_eq!(found, Hold::Perhaps);
        let elsewhere = at(2, 99, 110, Told::Unknown);
        let found = death().hold(&life([at(0, 0, 1, Told::Count(1)), elsewhere]), &[], None);
        assert_eq!(found, Hold::Elsewhere);
    }

    #[test]
    fn who_was_asked_in_a_row_may_have_it_when_it_dies() {
        let following = Following::of(&[]);
        let row = |of: usize| {
            [10, 20, 30, 40].map(|began| Event {
                to: of,
                ..at(0, began, began + 1, Told::Count(began))
            })
        };
        let hold = |events: Vec<Event>| death().hold(&life(events), &[], following);
        assert_eq!(hold(row(1).into()), Hold::Perhaps);
        assert_eq!(hold(row(2).into()), Hold::Elsewhere, "another one died");
        assert_eq!(hold(row(1)[1..].to_vec()), Hold::Elsewhere, "it was no row");
        assert_eq!(death().hold(&life(row(1)), &[], None), Hold::Elsewhere);
        let seen_since = row(1).into_iter().chain([at(1, 50, 51, Told::Count(50))]);
        assert_eq!(hold(seen_since.collect()), Hold::Surely);
    }

    #[test]
    fn an_answer_that_needs_no_session_does_not_show_where_it_is() {
        let me = Event {
            asked: Asked::Me,
            ..at(1, 10, 11, Told::Me { logged_in: false })
        };
        let seen = at(0, 0, 1, Told::Count(1));
        let hold = |events: [Event; 2]| death().hold(&life(events), &[], None);
        assert_eq!(hold([seen.clone(), me.clone()]), Hold::Elsewhere);
        let known = Told::Me { logged_in: true };
        assert_eq!(hold([seen, Event { told: known, ..me }]), Hold::Surely);
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
        assert_eq!(fate(&[doubt, served.clone()]), Fate::Served);
        // It was lost, but later and not by this.
        let gone = at(0, 500, 501, Told::Fresh);
        assert_eq!(fate(&[served, gone]), Fate::Served);
    }

    #[test]
    fn a_death_explains_what_happened_while_it_was_healed() {
        let limit = Duration::from_millis(500);
        assert!(death().explains(&span(90, 100), limit));
        assert!(death().explains(&span(600, 700), limit));
        assert!(!death().explains(&span(80, 99), limit));
        assert!(!death().explains(&span(602, 700), limit));
    }

    #[test]
    fn what_a_node_held_that_left_may_be_anywhere() {
        let held = life([at(0, 10, 11, Told::Count(1))]);
        let left = |began, ended| Departure {
            node: 0,
            span: span(began, ended),
        };
        let hold = |departures: &[Departure]| death().hold(&held, departures, None);
        assert_eq!(hold(&[]), Hold::Elsewhere);
        assert_eq!(hold(&[left(50, 60)]), Hold::Perhaps);
        // It has left when that was not there yet.
        assert_eq!(hold(&[left(1, 5)]), Hold::Elsewhere);
        assert_eq!(hold(&[left(150, 160)]), Hold::Elsewhere);
    }

    #[test]
    fn what_is_undone_explains_as_long_as_it_lasts_and_a_while_longer() {
        let limit = Duration::from_millis(100);
        assert!(cut().explains(&span(400, 401), limit));
        assert!(cut().explains(&span(600, 700), limit));
        assert!(!cut().explains(&span(602, 700), limit));
        let lasts = Harm {
            undone: None,
            ..cut()
        };
        assert!(lasts.explains(&span(9000, 9001), limit));
        // Who is spared has been healed long before it ends.
        assert!(cut().explains_at_others(&span(150, 151), limit));
        assert!(!cut().explains_at_others(&span(300, 301), limit));
        assert!(cut().explains_at_others(&span(550, 551), limit));
    }

    #[test]
    fn who_is_cut_off_answers_nothing_once_its_lease_is_over() {
        let lease = Duration::from_millis(100);
        let alone = |event: &Event| cut().was_answered_alone(event, lease);
        assert!(!alone(&at(1, 150, 151, Told::Count(2))));
        assert!(alone(&at(1, 250, 251, Told::Count(2))));
        assert!(alone(&at(1, 250, 251, Told::Fresh)));
        assert!(!alone(&at(1, 250, 251, Told::Unknown)));
        assert!(!alone(&at(0, 250, 251, Told::Count(2))));
        // It may have waited until it was reached again.
        assert!(!alone(&at(1, 250, 505, Told::Count(2))));
    }
}
