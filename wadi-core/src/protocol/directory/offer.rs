//! A node that came back offers what it still has; the policy for stale copies decides.
//!
//! An unknown session is adopted where it is, under a fresh tenure; a copy that may be older than one
//! that is still away waits for that as long as for a missing session. Of a known one the copy with
//! the higher tenure stands, and the loser's node drops it, and tells so.

use super::end::mark;
use super::stale::{Contest, Offered};
use super::{Directory, Whereabouts};
use crate::member::Incarnation;
use crate::message::Body;
use crate::protocol::markers::Markers;
use crate::protocol::timer::Timer;
use crate::protocol::turn::Turn;
use crate::sabotage::{self, Rule};
use crate::session::SessionId;
use crate::tenure::Tenure;

impl Directory {
    /// `from` came back with this copy. No answer means: offer it again later.
    pub(in crate::protocol) fn offer(
        &mut self,
        turn: &mut Turn<'_>,
        markers: &Markers,
        from: Incarnation,
        id: SessionId,
        copy: Offered,
    ) {
        let offered = copy.tenure;
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
        let waits = |latest| {
            !Contest::of(from, copy, latest).is_certain() && !sabotage::is_off(Rule::OlderWaits)
        };
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
                Whereabouts::Missing {
                    until,
                    latest,
                    refused: None,
                    ..
                } if waits(latest) && (turn.now < until || !entry.older.is_empty()) => {
                    entry.older.insert(from);
                    self.entrust(turn, id);
                }
                Whereabouts::Missing {
                    latest,
                    refused: None,
                    ..
                } if turn.settings.store && waits(latest) => self.resolve(turn, id, latest),
                Whereabouts::Missing { latest, .. } => self.take(turn, id, from, copy, latest),
                _ => {}
            },
            None => match turn.holdings.get(&id) {
                Some(home) if offered < home.tenure => {
                    let tenure = home.tenure;
                    turn.send(from, Body::Drop { id, tenure });
                }
                Some(home) => self.resolve(turn, id, Some(home.tenure)),
                None if turn.now < doubt_until && waits(None) => {
                    let mut older = super::store::perhaps_stored(turn);
                    older.insert(from);
                    self.miss(turn, id, None, doubt_until, older);
                }
                // The store may have a newer one.
                None if turn.settings.store && waits(None) => self.resolve(turn, id, None),
                None => self.take(turn, id, from, copy, None),
            },
        }
    }

    /// Nobody has the session, and nobody is waited for: adopts the copy where it is, unless the policy does
    /// not take it.
    fn take(
        &mut self,
        turn: &mut Turn<'_>,
        id: SessionId,
        from: Incarnation,
        copy: Offered,
        latest: Option<Tenure>,
    ) {
        if let Some(winner) = Contest::of(from, copy, latest).choose(turn) {
            turn.answered(Timer::Missing(id));
            self.revive(turn, id, winner);
        } else if let Some(managed) = self.managed_of(turn, &id) {
            let tenure = managed.allot();
            turn.send(from, Body::Refuse { id, tenure });
        }
    }
}
