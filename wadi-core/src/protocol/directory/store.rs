//! The store below all nodes, as a bucket's manager deals with it: somebody who never dies, says nothing
//! unasked, and has what nobody else has.
//!
//! A session goes there and comes from there as it moves between members, under a tenure that only the
//! manager allots, so it is in one place at a time. The manager itself takes rows out: it knows what was given
//! out in its own time, and the row says whether an earlier manager has given it out.

use std::collections::BTreeSet;

use super::find::{answer, may_hold};
use super::{Directory, Whereabouts};
use crate::bucket::LayoutVersion;
use crate::member::Incarnation;
use crate::message::{Answer, Body, CopyKind, Scope, Sighting, Want};
use crate::protocol::io::Stored;
use crate::protocol::markers::Markers;
use crate::protocol::timer::Timer;
use crate::protocol::turn::Turn;
use crate::sabotage::{self, Rule};
use crate::session::SessionId;
use crate::tenure::Tenure;

/// Who may have an older copy of a session of which nothing is known: the store, where there is one.
pub(super) fn perhaps_stored(turn: &Turn<'_>) -> BTreeSet<Incarnation> {
    let store = turn.settings.store.then_some(Incarnation::STORE);
    store.into_iter().collect()
}

/// Whether the store was asked by this very manager, and has not said that there is anything: then nobody has
/// been given it, and under another tenure the row says the same. What a former manager has asked is asked
/// again as it was, so that the row says who had it before that.
pub(super) fn is_unanswered(
    epoch: LayoutVersion,
    from: Incarnation,
    held: Tenure,
    granted: Tenure,
) -> bool {
    from == Incarnation::STORE && held == Tenure::NONE && granted.epoch() == epoch
}

impl Directory {
    /// The session is in the store, where it was put under the tenure `held`; or nobody has it, as far as is
    /// known here, and that is [`Tenure::NONE`]. Has it come to whoever asks, or to this node.
    pub(super) fn promote(
        &mut self,
        turn: &mut Turn<'_>,
        id: SessionId,
        held: Tenure,
        asker: Incarnation,
        want: Want,
    ) {
        if turn.layout.everybody_leaves() {
            // It would only have to go back, and may come too late for that.
            return;
        }
        let to = if may_hold(turn, asker) {
            asker
        } else {
            turn.me
        };
        if to != asker
            && let Some(managed) = self.managed_of(turn, &id)
        {
            managed.early.keep(id, asker, want);
        }
        self.move_session(turn, id, Incarnation::STORE, held, to);
    }

    /// What the store says of what it was asked as the manager's peer.
    pub(in crate::protocol) fn stored(
        &mut self,
        turn: &mut Turn<'_>,
        markers: &mut Markers,
        id: SessionId,
        tenure: Tenure,
        stored: Stored,
    ) {
        if stored == Stored::Superseded {
            // So it is stale, for whoever wanted that.
            self.dropped(turn, Incarnation::STORE, id, tenure);
        }
        if matches!(stored, Stored::Unknown | Stored::Superseded) {
            self.store_is_silent(turn, id, tenure);
            return;
        }
        let bucket = turn.bucket(&id);
        let managed = self.managed.get(&bucket);
        let place = managed
            .and_then(|it| it.entries.get(&id))
            .map(|it| &it.place);
        match place {
            Some(&Whereabouts::Moving {
                from: Incarnation::STORE,
                held,
                tenure: granted,
                ..
            }) if granted == tenure => self.comes_up(turn, markers, id, held, tenure, stored),
            Some(Whereabouts::Unsettled { inquiry, .. })
                if inquiry.scope == Scope::Session(id, tenure) =>
            {
                let sightings = match stored {
                    Stored::Row { tenure: its, .. } if !self.has_allotted(turn, &id, its) => return,
                    Stored::Row {
                        tenure,
                        revision,
                        given_out,
                        ..
                    } => vec![Sighting {
                        id,
                        kind: CopyKind::Row(given_out),
                        tenure,
                        revision,
                    }],
                    _ => Vec::new(),
                };
                let scope = Scope::Session(id, tenure);
                let doubt = super::doubt(turn);
                self.report(turn, markers, Incarnation::STORE, scope, sightings, doubt);
            }
            _ => {
                let is_end = stored == Stored::Done;
                self.dropped(turn, Incarnation::STORE, id, tenure);
                if is_end {
                    self.marked(turn, Incarnation::STORE, id, tenure);
                }
            }
        }
    }

    /// Whether such a row may be of this cluster; one of a later cluster is neither this one's, nor gone.
    fn has_allotted(&self, turn: &Turn<'_>, id: &SessionId, tenure: Tenure) -> bool {
        let managed = self.managed.get(&turn.bucket(id));
        managed.is_some_and(|managed| managed.has_allotted(tenure))
    }

    /// The store did not answer. Who looks for a session asks again; for everything else this node does.
    fn store_is_silent(&mut self, turn: &mut Turn<'_>, id: SessionId, tenure: Tenure) {
        let Some(managed) = self.managed_of(turn, &id) else {
            return;
        };
        if let Some(&Whereabouts::Moving {
            from,
            held,
            tenure: granted,
            ..
        }) = managed.entries.get(&id).map(|entry| &entry.place)
            && granted == tenure
            && is_unanswered(managed.epoch, from, held, granted)
        {
            managed.entries.remove(&id);
            managed.early.take_of(id);
            turn.answered(Timer::Release(id));
        }
    }

    /// What there was of a session that is to come up: the row that was put under `held`, or of a session
    /// that nobody has one that nobody was given since.
    fn comes_up(
        &mut self,
        turn: &mut Turn<'_>,
        markers: &Markers,
        id: SessionId,
        held: Tenure,
        granted: Tenure,
        stored: Stored,
    ) {
        let bucket = turn.bucket(&id);
        let Some(managed) = self.managed.get_mut(&bucket) else {
            return;
        };
        let highest = managed.highest();
        let Some(entry) = managed.entries.get_mut(&id) else {
            return;
        };
        let Whereabouts::Moving {
            held: known, to, ..
        } = &mut entry.place
        else {
            return;
        };
        match stored {
            Stored::Row { tenure: its, .. } if its > highest => {
                self.store_is_silent(turn, id, granted);
            }
            Stored::Row {
                tenure: its,
                revision,
                given_out,
                state,
            } if its == held
                || (held == Tenure::NONE && given_out.is_none())
                || sabotage::is_off(Rule::StaleRow) =>
            {
                *known = its;
                let to = *to;
                let body = Body::State {
                    id,
                    tenure: granted,
                    revision,
                    state,
                };
                turn.send(to, body);
            }
            // Somebody had it since, or somebody after that one, and may come back with what became of it.
            Stored::Row { .. } => self.resolve(turn, id, None),
            Stored::Nothing | Stored::Ended | Stored::Done | Stored::Refused
                if held == Tenure::NONE =>
            {
                let to = *to;
                managed.entries.remove(&id);
                turn.answered(Timer::Release(id));
                let known = match stored {
                    // Nobody can come back with it; but it may be one that was given up, and so lost.
                    Stored::Ended => Answer::Absent {
                        lost: turn.now < managed.lost_until,
                    },
                    _ => managed.nobody_has(turn),
                };
                let early = managed.early.take_of(id);
                turn.send(to, answer(id, known));
                for (asker, _) in early {
                    turn.send(asker, answer(id, known));
                }
            }
            // What was there a moment ago is not, or cannot be read.
            _ => {
                turn.answered(Timer::Release(id));
                let latest = Some(held).filter(|held| *held != Tenure::NONE);
                self.miss(turn, id, latest, turn.now, BTreeSet::new());
                self.answer_early_of(turn, markers, id);
            }
        }
    }
}
