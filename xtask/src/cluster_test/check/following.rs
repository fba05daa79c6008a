//! Where a session may have gone without any answer that shows it: a node that it is asked of again and
//! again fetches it once it has answered, and says so to nobody.
//!
//! It knows of the reference node only what its policy promises to clients.

use std::collections::BTreeSet;
use std::time::Duration;

use super::history::{Event, Life, Span};

/// For so long a fetch may be under way: a question is pursued for 2 s, and so is a move.
const FETCHED_WITHIN: Duration = Duration::from_secs(4);

/// A session goes where it is asked for so many times in a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Following {
    after: usize,
}

impl Following {
    /// What nodes with these flags do; `None` where no session follows anybody.
    pub(crate) fn of(flags: &[String]) -> Option<Self> {
        let words = flags.iter().flat_map(|flag| flag.split(['=', ' ']));
        let words: Vec<&str> = words.collect();
        let mut pairs = words.windows(2).rev();
        let policy = pairs.find(|pair| pair[0] == "--relocate");
        match policy.map_or("adaptive", |pair| pair[1]) {
            "adaptive" => Some(Self { after: 4 }),
            // What could not come with its request comes after the answer.
            "migrate" => Some(Self { after: 1 }),
            _ => None,
        }
    }

    /// The nodes to which the session may have gone between its last answer, which was asked at
    /// `since.began`, and `since.ended`.
    pub(super) fn nodes(self, life: &Life, since: &Span) -> BTreeSet<usize> {
        let known = |event: &&Event| event.span.began <= since.ended;
        let asked = life.events.iter().filter(known).map(|event| event.to);
        let asked: BTreeSet<usize> = asked.collect();
        let may_have = |node: &usize| {
            let by_way = life.events.iter().filter(known);
            let by_way = by_way.filter(|event| event.to == *node && may_be_proxied(event));
            let mut by_way: Vec<&Event> = by_way.collect();
            by_way.sort_by_key(|event| event.span.ended);
            let mut rows = by_way.windows(self.after);
            rows.any(|row| {
                let ended = row.last().map_or(Duration::ZERO, |last| last.span.ended);
                ended + FETCHED_WITHIN >= since.began
                    && was_mostly_served(row)
                    && is_unbroken(row, life, *node)
            })
        };
        asked.into_iter().filter(may_have).collect()
    }
}

/// Whether another node may have served it for the one that was asked.
fn may_be_proxied(event: &Event) -> bool {
    let is_elsewhere = event.at.is_none_or(|at| at != event.to);
    event.was_sent() && !event.is_fresh() && is_elsewhere
}

/// An error leaves open whether its request came to the session; of a row that is more than a guess one
/// did at most.
fn was_mostly_served(row: &[&Event]) -> bool {
    row.iter().filter(|event| event.at.is_none()).count() <= 1
}

/// Whether these can have come one after another: nothing was served between them that came by another
/// way. What overlaps them may have come before or after.
fn is_unbroken(row: &[&Event], life: &Life, node: usize) -> bool {
    let ended = row.iter().map(|event| event.span.ended).min();
    let began = row.iter().map(|event| event.span.began).max();
    let (Some(ended), Some(began)) = (ended, began) else {
        return false;
    };
    let mut others = life
        .events
        .iter()
        .filter(|event| event.shows_its_session() && (event.to != node || event.at == Some(node)));
    !others.any(|other| other.span.began > ended && other.span.ended < began)
}

#[cfg(test)]
mod tests {
    use super::super::history::by_hand::{event, life, span};
    use super::super::history::{Asked, Told};
    use super::*;

    const FOUR: Following = Following { after: 4 };

    /// Asked of one node, answered by another.
    fn by_way(of: usize, at: usize, began: u64) -> Event {
        Event {
            to: of,
            at: Some(at),
            ..event(began, began + 1, Asked::Increment, Told::Count(began + 1))
        }
    }

    fn followed(events: impl IntoIterator<Item = Event>, since: u64) -> Vec<usize> {
        let nodes = FOUR.nodes(&life(events), &span(since, since + 100));
        nodes.into_iter().collect()
    }

    #[test]
    fn a_session_may_have_gone_to_who_it_was_asked_of_again_and_again() {
        let row = [10, 20, 30, 40].map(|began| by_way(3, 0, began));
        assert_eq!(followed(row.clone(), 40), [3]);
        let three = row.clone().into_iter().skip(1);
        assert!(followed(three, 40).is_empty(), "three are no row");
        let here = [10, 20, 30, 40].map(|began| by_way(0, 0, began));
        assert!(followed(here, 40).is_empty(), "it is there already");
        // Nobody knows whether the last one came to the session.
        let mut unknown = row;
        (unknown[3].told, unknown[3].at) = (Told::Unknown, None);
        assert_eq!(followed(unknown.clone(), 30), [3]);
        // Two such are no row that anybody saw.
        (unknown[2].told, unknown[2].at) = (Told::Unknown, None);
        assert!(followed(unknown, 20).is_empty());
    }

    #[test]
    fn what_came_by_another_way_ends_the_row() {
        let row = [10, 20, 30, 40].map(|began| by_way(3, 0, began));
        let with = |other: Event| followed(row.iter().cloned().chain([other]), 40);
        for between in [by_way(2, 0, 25), by_way(0, 0, 25), by_way(3, 3, 25)] {
            assert!(with(between).is_empty());
        }
        assert_eq!(with(by_way(2, 0, 5)), [3]);
        // It may have come before all of them.
        let overlapping = Event {
            span: span(5, 25),
            ..by_way(2, 0, 5)
        };
        assert_eq!(with(overlapping), [3]);
        // An error shows that nothing was served.
        let unknown = Event {
            told: Told::Unknown,
            at: None,
            ..by_way(2, 0, 25)
        };
        assert_eq!(with(unknown), [3]);
    }

    #[test]
    fn who_answers_long_after_it_has_it_still() {
        let row = || [10, 20, 30, 40].map(|began| by_way(3, 0, began));
        let later = |began| row().into_iter().chain([by_way(2, 0, began)]);
        assert_eq!(followed(later(3000), 3000), [3], "it may be on its way");
        assert!(followed(later(4100), 4100).is_empty());
    }

    #[test]
    fn how_sessions_follow_is_in_the_nodes_flags() {
        let of = |flags: &[&str]| {
            let flags: Vec<String> = flags.iter().map(|flag| (*flag).to_owned()).collect();
            Following::of(&flags).map(|following| following.after)
        };
        assert_eq!(of(&["--lease=2"]), Some(4));
        assert_eq!(of(&["--relocate=migrate"]), Some(1));
        assert_eq!(of(&["--lease=2", "--relocate", "proxy"]), None);
        assert_eq!(of(&["--relocate=proxy", "--relocate=adaptive"]), Some(4));
    }
}
