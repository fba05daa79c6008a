//! "Where is it, and may I have it?"

use super::{Directory, Phase, Whereabouts};
use crate::member::{Incarnation, Standing};
use crate::message::{Answer, Body, Want};
use crate::protocol::markers::Markers;
use crate::protocol::turn::Turn;
use crate::sabotage::{self, Rule};
use crate::session::SessionId;
use crate::tenure::Tenure;

impl Directory {
    /// A node looks for a session; with [`Want::Move`] it shall be held by `to` afterwards.
    pub(in crate::protocol) fn find(
        &mut self,
        turn: &mut Turn<'_>,
        markers: &Markers,
        asker: Incarnation,
        id: SessionId,
        to: Incarnation,
        want: Want,
    ) {
        let bucket = turn.bucket(&id);
        let Some(managed) = self.managed.get_mut(&bucket) else {
            return;
        };
        if markers.get(bucket, &id).is_some() {
            turn.send(asker, answer(id, Answer::Absent { lost: false }));
            return;
        }
        let (holder, tenure) = match managed.entries.get(&id).map(|entry| &entry.place) {
            Some(&Whereabouts::At {
                holder: Incarnation::STORE,
                tenure,
            }) => {
                // It has just gone there.
                turn.send(asker, answer(id, Answer::Wait));
                if asker == to {
                    self.promote(turn, id, tenure, asker, want);
                }
                return;
            }
            Some(&Whereabouts::At { holder, tenure }) => (holder, tenure),
            Some(Whereabouts::Moving { .. } | Whereabouts::Unsettled { .. }) => {
                turn.send(asker, answer(id, Answer::Wait));
                // Who wants to have it waits longer, so that whoever gets it has a turn with it.
                if asker == to && want == Want::Locate {
                    managed.early.keep(id, asker, want);
                }
                return;
            }
            Some(&Whereabouts::Missing { until, refused, .. }) => {
                let has_older = refused.is_none() && !managed.entries[&id].older.is_empty();
                let known = if turn.now < until || has_older {
                    Answer::Wait
                } else {
                    Answer::Absent { lost: true }
                };
                turn.send(asker, answer(id, known));
                return;
            }
            None if managed.phase != Phase::Open => {
                turn.send(asker, answer(id, Answer::Wait));
                if asker == to {
                    managed.early.keep(id, asker, want);
                    self.urge(turn, bucket);
                }
                return;
            }
            None => match turn.holdings.get(&id) {
                Some(copy) => (turn.me, copy.tenure),
                None if turn.settings.store && !sabotage::is_off(Rule::AskStore) => {
                    turn.send(asker, answer(id, Answer::Wait));
                    if asker == to {
                        self.promote(turn, id, Tenure::NONE, asker, want);
                    }
                    return;
                }
                None => {
                    let known = managed.nobody_has(turn);
                    turn.send(asker, answer(id, known));
                    return;
                }
            },
        };
        if want == Want::Move && holder != to && may_hold(turn, to) {
            self.move_session(turn, id, holder, tenure, to);
        } else {
            turn.send(asker, answer(id, Answer::At { holder, tenure }));
        }
    }

    /// A node that manages no bucket creates a session in this one.
    pub(in crate::protocol) fn register(
        &mut self,
        turn: &mut Turn<'_>,
        markers: &Markers,
        from: Incarnation,
        id: SessionId,
    ) {
        let bucket = turn.bucket(&id);
        let Some(managed) = self.managed.get_mut(&bucket) else {
            return;
        };
        let known = markers.get(bucket, &id).is_some() || turn.holdings.get(&id).is_some();
        if !managed.is_open() || known {
            self.urge(turn, bucket);
            return;
        }
        let tenure = match managed.entries.get(&id).map(|entry| &entry.place) {
            Some(&Whereabouts::At { holder, tenure }) if holder == from => tenure,
            Some(_) => return,
            None => {
                let tenure = managed.allot();
                if from != turn.me {
                    let place = Whereabouts::At {
                        holder: from,
                        tenure,
                    };
                    let older = std::collections::BTreeSet::new();
                    managed.entries.insert(id, super::Entry { place, older });
                }
                tenure
            }
        };
        turn.send(from, Body::Registered { id, tenure });
    }
}

/// Whether a session may be brought to this one.
pub(super) fn may_hold(turn: &Turn<'_>, who: Incarnation) -> bool {
    let member = turn.layout.members.get(&who);
    member.is_some_and(|member| member.standing == Standing::Ready)
        || (who == Incarnation::STORE && turn.settings.store)
}

pub(super) fn answer(id: SessionId, answer: Answer) -> Body {
    Body::Answer { id, answer }
}
