//! A node that came back offers what it still has; the stale-copy policy decides.
//!
//! An unknown session is adopted where it is, under a fresh tenure; a copy that may be older than one
//! that is still away waits for that as long as for a missing session. Of a known one the copy with
//! the higher tenure stands, and the loser is an event.

use std::collections::BTreeSet;

use super::end::mark;
use super::inquiry::is_newest;
use super::{Directory, Whereabouts};
use crate::member::Incarnation;
use crate::message::Body;
use crate::protocol::io::Event;
use crate::protocol::markers::Markers;
use crate::protocol::timer::Timer;
use crate::protocol::turn::Turn;
use crate::sabotage::{self, Rule};
use crate::session::SessionId;
use crate::tenure::Tenure;

impl Directory {
    /// `from` came back with a copy of tenure `offered`. No answer means: offer it again later.
    pub(in crate::protocol) fn offer(
        &mut self,
        turn: &mut Turn<'_>,
        markers: &Markers,
        from: Incarnation,
        id: SessionId,
        offered: Tenure,
        held: bool,
    ) {
        let bucket = turn.bucket(&id);
        let Some(managed) = self.managed.get_mut(&bucket) else {
            return;
        };
        if !managed.is_open() || !managed.has_allotted(offered) {
            return;
        }
        let doubt_until = managed.doubt_until;
        if let Some(tenure) = markers.get(bucket, &id)
            && !sabotage::is_off(Rule::MarkerBeats)
        {
            let mark = mark(turn, markers, id, tenure);
            turn.send(from, mark);
            return;
        }
        match managed.entries.get_mut(&id) {
            Some(entry) => match entry.place {
                Whereabouts::At { holder, tenure } if holder != from && offered < tenure => {
                    entry.older.insert(from);
                    self.clean(turn, id);
                }
                Whereabouts::At { holder, tenure } if holder != from => {
                    self.resolve(turn, id, Some(tenure));
                }
                Whereabouts::Moving {
                    from: source, to, ..
                } if from != source && from != to => {
                    entry.older.insert(from);
                }
                // A newer copy may still come back.
                Whereabouts::Missing { until, latest, .. }
                    if !is_newest(offered, held, latest)
                        && (turn.now < until || !entry.older.is_empty())
                        && !sabotage::is_off(Rule::OlderWaits) =>
                {
                    entry.older.insert(from);
                    self.entrust(turn, id);
                }
                Whereabouts::Missing { .. } => self.adopt_offered(turn, id, from, offered),
                _ => {}
            },
            None => match turn.holdings.get(&id) {
                Some(home) if offered < home.tenure => {
                    let tenure = home.tenure;
                    turn.send(from, Body::Drop { id, tenure });
                }
                Some(home) => self.resolve(turn, id, Some(home.tenure)),
                None if !held && turn.now < doubt_until && !sabotage::is_off(Rule::OlderWaits) => {
                    self.miss(turn, id, None, doubt_until, BTreeSet::from([from]));
                }
                None => self.adopt_offered(turn, id, from, offered),
            },
        }
    }

    fn adopt_offered(
        &mut self,
        turn: &mut Turn<'_>,
        id: SessionId,
        from: Incarnation,
        offered: Tenure,
    ) {
        turn.answered(Timer::Missing(id));
        turn.event(Event::Stale(id));
        self.move_session(turn, id, from, offered, from);
    }
}
