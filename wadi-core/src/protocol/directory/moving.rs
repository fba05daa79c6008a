//! One session's move, as its manager arbitrates it: commit first, then release, then confirm,
//! then have older copies dropped. Every step is asked again until it is answered.

use std::collections::BTreeSet;

use super::end::mark;
use super::{Directory, Entry, Phase, Whereabouts};
use crate::member::Incarnation;
use crate::message::{Answer, Body};
use crate::protocol::markers::Markers;
use crate::protocol::timer::Timer;
use crate::protocol::turn::Turn;
use crate::sabotage::{self, Rule};
use crate::session::SessionId;
use crate::tenure::Tenure;

impl Entry {
    /// The session has arrived at its new holder, and the former one has an older copy.
    fn moved(&mut self, from: Incarnation, to: Incarnation, tenure: Tenure) {
        self.place = Whereabouts::At { holder: to, tenure };
        if from == Incarnation::STORE {
            // Its row says since it was given out that there is a newer copy.
            self.older.remove(&from);
        } else {
            self.older.insert(from);
        }
        self.older.remove(&to);
    }
}

impl Directory {
    /// Commits a move from `from`, whose copy has tenure `held`, to `to`, and tells `from`.
    pub(super) fn move_session(
        &mut self,
        turn: &mut Turn<'_>,
        id: SessionId,
        from: Incarnation,
        held: Tenure,
        to: Incarnation,
    ) {
        let Some(managed) = self.managed_of(turn, &id) else {
            return;
        };
        let tenure = if sabotage::is_off(Rule::FreshTenure) {
            held
        } else {
            managed.allot()
        };
        let entry = managed.entries.entry(id).or_insert_with(|| Entry {
            place: Whereabouts::At {
                holder: from,
                tenure: held,
            },
            older: BTreeSet::new(),
        });
        entry.place = Whereabouts::Moving {
            from,
            held,
            to,
            tenure,
            until: turn.now + turn.settings.resolve_after,
        };
        if !entry.older.is_empty() {
            turn.answered(Timer::Drop(id));
        }
        turn.send(
            from,
            Body::Release {
                id,
                held,
                to,
                tenure,
            },
        );
        turn.await_answer(Timer::Release(id));
    }

    /// Tells the holder again; whether the session is still on its way. One that has been on its way
    /// for too long may be kept there by a cut link between the two: everybody is asked.
    pub(in crate::protocol) fn release_again(
        &mut self,
        turn: &mut Turn<'_>,
        id: SessionId,
    ) -> bool {
        let Some(managed) = self.managed.get(&turn.bucket(&id)) else {
            return false;
        };
        let Some(&Whereabouts::Moving {
            from,
            held,
            to,
            tenure,
            until,
        }) = managed.entries.get(&id).map(|entry| &entry.place)
        else {
            return false;
        };
        // Where the store has not answered, nobody else can have it.
        let is_unanswered = from == Incarnation::STORE && held == Tenure::NONE;
        if turn.now >= until && !is_unanswered {
            self.resolve(turn, id, Some(held));
            return false;
        }
        turn.send(
            from,
            Body::Release {
                id,
                held,
                to,
                tenure,
            },
        );
        true
    }

    /// The holder could not let it go: it stays there, and the asker may go there.
    pub(in crate::protocol) fn busy(
        &mut self,
        turn: &mut Turn<'_>,
        markers: &Markers,
        sender: Incarnation,
        id: SessionId,
        refused: Tenure,
    ) {
        let Some(managed) = self.managed_of(turn, &id) else {
            return;
        };
        let Some(entry) = managed.entries.get_mut(&id) else {
            return;
        };
        let Whereabouts::Moving {
            from,
            held,
            to,
            tenure,
            ..
        } = entry.place
        else {
            return;
        };
        if sender != from || (refused != tenure && !sabotage::is_off(Rule::OlderTenure)) {
            return;
        }
        entry.place = Whereabouts::At {
            holder: from,
            tenure: held,
        };
        turn.answered(Timer::Release(id));
        let answer = Answer::At {
            holder: from,
            tenure: held,
        };
        turn.send(to, Body::Answer { id, answer });
        self.clean(turn, id);
        self.answer_early_of(turn, markers, id);
    }

    /// The supposed holder has no such copy: everybody is asked.
    pub(in crate::protocol) fn not_here(
        &mut self,
        turn: &mut Turn<'_>,
        sender: Incarnation,
        id: SessionId,
        refused: Tenure,
    ) {
        let Some(managed) = self.managed_of(turn, &id) else {
            return;
        };
        let Some(entry) = managed.entries.get_mut(&id) else {
            return;
        };
        let latest = match entry.place {
            Whereabouts::Moving {
                from, held, tenure, ..
            } if from == sender && tenure == refused => held,
            Whereabouts::At { holder, tenure } if holder == sender && tenure == refused => tenure,
            _ => return,
        };
        if sabotage::is_off(Rule::ResolveNotHere) {
            managed.entries.remove(&id);
            return;
        }
        self.resolve(turn, id, Some(latest));
    }

    /// The session is at its new holder, or in the store.
    pub(in crate::protocol) fn arrived(
        &mut self,
        turn: &mut Turn<'_>,
        markers: &Markers,
        sender: Incarnation,
        id: SessionId,
        arrived: Tenure,
    ) {
        let bucket = turn.bucket(&id);
        let Some(managed) = self.managed.get_mut(&bucket) else {
            return;
        };
        if let Some(tenure) = markers.get(bucket, &id) {
            let mark = mark(turn, markers, id, tenure);
            turn.send(sender, mark);
            return;
        }
        if !managed.has_allotted(arrived) {
            return;
        }
        let open = managed.is_open();
        if matches!(managed.phase, Phase::Pulling(_)) {
            // It is told again, and answers wait for it.
            self.urge(turn, bucket);
            return;
        }
        let confirmed = Body::Confirmed {
            id,
            tenure: arrived,
        };
        match managed.entries.get_mut(&id) {
            Some(entry) => match entry.place {
                Whereabouts::Moving {
                    from, to, tenure, ..
                } if is_receiver(sender, from, to)
                    && (tenure == arrived || sabotage::is_off(Rule::OlderTenure)) =>
                {
                    entry.moved(from, to, arrived);
                    turn.answered(Timer::Release(id));
                    if to == sender {
                        turn.send(sender, confirmed);
                    }
                    self.clean(turn, id);
                    self.answer_early_of(turn, markers, id);
                }
                Whereabouts::At { holder, tenure } if holder == sender && tenure == arrived => {
                    turn.send(sender, confirmed);
                }
                Whereabouts::At { holder, tenure } if arrived < tenure && holder != sender => {
                    entry.older.insert(sender);
                    self.clean(turn, id);
                }
                Whereabouts::At { tenure, .. } if arrived < tenure => {
                    turn.send(sender, Body::Drop { id, tenure });
                }
                Whereabouts::Moving { from, to, .. } if sender != from && sender != to => {
                    entry.older.insert(sender);
                }
                _ => {}
            },
            None => match turn.holdings.get(&id) {
                Some(_) if !open => {}
                Some(home) if sender == turn.me && home.tenure == arrived => {
                    turn.send(sender, confirmed);
                }
                Some(home) if arrived < home.tenure => {
                    let tenure = home.tenure;
                    turn.send(sender, Body::Drop { id, tenure });
                }
                _ if open => self.resolve(turn, id, None),
                _ => {}
            },
        }
    }

    /// A session that was to move to this very node, its manager, is about to be in the map: whether
    /// that ends the move. Else it is told like any other arrival.
    pub(in crate::protocol) fn comes_home(
        &mut self,
        turn: &mut Turn<'_>,
        id: SessionId,
        arrived: Tenure,
    ) -> bool {
        let me = turn.me;
        let Some(managed) = self.managed_of(turn, &id).filter(|it| it.is_open()) else {
            return false;
        };
        let Some(entry) = managed.entries.get_mut(&id) else {
            return false;
        };
        match entry.place {
            Whereabouts::Moving {
                from, to, tenure, ..
            } if to == me && tenure == arrived => {
                entry.moved(from, to, arrived);
                turn.answered(Timer::Release(id));
                self.clean(turn, id);
                self.is_here_now(turn, id, arrived);
                true
            }
            _ => false,
        }
    }

    /// Has older copies dropped; an entry that says nothing more than the node's own map goes.
    pub(super) fn clean(&mut self, turn: &mut Turn<'_>, id: SessionId) {
        let me = turn.me;
        let layout = turn.layout;
        let Some(managed) = self.managed_of(turn, &id) else {
            return;
        };
        let open = managed.is_open();
        let Some(entry) = managed.entries.get_mut(&id) else {
            return;
        };
        let Whereabouts::At { holder, tenure } = entry.place else {
            return;
        };
        let has_store = turn.settings.store;
        let is_there = |who| layout.is_member(who) || (who == Incarnation::STORE && has_store);
        let is_kept = |who: &Incarnation| is_there(*who) && *who != holder;
        if !entry.older.iter().all(is_kept) {
            entry.older.retain(is_kept);
        }
        if sabotage::is_off(Rule::DropOlder) {
            entry.older.clear();
        }
        if entry.older.is_empty() {
            turn.answered(Timer::Drop(id));
            if open && (holder == me || holder == Incarnation::STORE) {
                managed.entries.remove(&id);
            }
            return;
        }
        for &who in &entry.older {
            turn.send(who, Body::Drop { id, tenure });
        }
        turn.await_answer(Timer::Drop(id));
    }

    /// Has older copies dropped, again; whether there still may be one.
    pub(in crate::protocol) fn drop_again(&self, turn: &mut Turn<'_>, id: SessionId) -> bool {
        let Some(entry) = self
            .managed
            .get(&turn.bucket(&id))
            .and_then(|managed| managed.entries.get(&id))
        else {
            return false;
        };
        let drop = match entry.place {
            Whereabouts::At { tenure, .. } => Body::Drop { id, tenure },
            Whereabouts::Missing {
                refused: Some(tenure),
                ..
            } => Body::Refuse { id, tenure },
            _ => return false,
        };
        for &who in &entry.older {
            turn.send(who, drop.clone());
        }
        !entry.older.is_empty()
    }

    /// An older copy is gone.
    pub(in crate::protocol) fn dropped(
        &mut self,
        turn: &mut Turn<'_>,
        sender: Incarnation,
        id: SessionId,
        dropped: Tenure,
    ) {
        let me = turn.me;
        let Some(managed) = self.managed_of(turn, &id) else {
            return;
        };
        let open = managed.is_open();
        let Some(entry) = managed.entries.get_mut(&id) else {
            return;
        };
        let (holder, tenure) = match entry.place {
            Whereabouts::At { holder, tenure } => (Some(holder), tenure),
            Whereabouts::Missing {
                refused: Some(tenure),
                ..
            } => (None, tenure),
            _ => {
                self.relieved(turn, sender, id, dropped);
                return;
            }
        };
        let of_this = dropped == tenure || sabotage::is_off(Rule::OlderTenure);
        if !of_this || !entry.older.remove(&sender) {
            return;
        }
        if entry.older.is_empty() {
            turn.answered(Timer::Drop(id));
            let is_elsewhere = |holder| holder == me || holder == Incarnation::STORE;
            if open && holder.is_some_and(is_elsewhere) {
                managed.entries.remove(&id);
            }
        }
    }
}

/// Whether `sender` may say that what went from `from` to `to` has arrived: for the store whoever puts it
/// there does.
fn is_receiver(sender: Incarnation, from: Incarnation, to: Incarnation) -> bool {
    match to {
        Incarnation::STORE => sender == from,
        somebody => sender == somebody,
    }
}
