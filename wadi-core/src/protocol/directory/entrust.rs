//! A member that leaves may have copies that wait for a newer one, and would take them with it: their
//! manager keeps them meanwhile.
//!
//! What is kept serves nobody, and keeps its tenure: it waits here as it waited there. A manager asks
//! only while the session is missing, so a copy never changes its keeper while everybody is asked for it.

use std::collections::{BTreeMap, BTreeSet};

use super::{Directory, Entry, Whereabouts};
use crate::bucket::BucketId;
use crate::member::{Incarnation, Standing};
use crate::message::Body;
use crate::protocol::timer::Timer;
use crate::protocol::turn::Turn;
use crate::sabotage::{self, Rule};
use crate::session::SessionId;
use crate::tenure::Tenure;

/// How many sessions leaving members are asked for at once: their states come all together.
const AT_ONCE: usize = 64;

/// Sessions of which leaving members have older copies.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Entrusting {
    /// Those asked for, and the tenure of what is kept of each. Its timer runs for each of them.
    asked: BTreeMap<SessionId, Tenure>,
    later: BTreeSet<SessionId>,
}

fn is_leaving(turn: &Turn<'_>, who: Incarnation) -> bool {
    let member = turn.layout.members.get(&who);
    member.is_some_and(|member| member.standing == Standing::Leaving)
}

impl Entry {
    /// Whether it is missing, and somebody who leaves may have an older copy.
    fn waits_with_leaving(&self, turn: &Turn<'_>) -> bool {
        matches!(self.place, Whereabouts::Missing { refused: None, .. })
            && self.older.iter().any(|who| is_leaving(turn, *who))
    }
}

impl Directory {
    /// A layout was adopted: somebody may be leaving who was not before.
    pub(super) fn entrust_all(&mut self, turn: &mut Turn<'_>) {
        if turn.layout.members.keys().any(|who| is_leaving(turn, *who)) {
            let buckets: Vec<_> = self.managed.keys().copied().collect();
            for bucket in buckets {
                self.entrust_in(turn, bucket);
            }
        }
    }

    /// The bucket's directory is whole.
    pub(super) fn entrust_in(&mut self, turn: &mut Turn<'_>, bucket: BucketId) {
        let Some(managed) = self.managed.get(&bucket) else {
            return;
        };
        let entries = managed.entries.iter();
        let waiting = entries.filter(|(_, entry)| entry.waits_with_leaving(turn));
        let waiting: Vec<_> = waiting.map(|(id, _)| *id).collect();
        for id in waiting {
            self.entrust(turn, id);
        }
    }

    /// The session may be missing, and a leaving member may have an older copy.
    pub(super) fn entrust(&mut self, turn: &mut Turn<'_>, id: SessionId) {
        let managed = self.managed.get(&turn.bucket(&id));
        let entry = managed.and_then(|managed| managed.entries.get(&id));
        let waits = entry.is_some_and(|entry| entry.waits_with_leaving(turn));
        if waits && !self.entrusting.asked.contains_key(&id) {
            self.entrusting.later.insert(id);
            self.entrust_more(turn);
        }
    }

    fn entrust_more(&mut self, turn: &mut Turn<'_>) {
        while self.entrusting.asked.len() < AT_ONCE
            && let Some(id) = self.entrusting.later.pop_first()
        {
            if self.ask_for_older(turn, id, Tenure::NONE) {
                self.entrusting.asked.insert(id, Tenure::NONE);
                turn.await_answer(Timer::Entrust(id));
            }
        }
    }

    /// Asks again; whether anybody still has to be asked.
    pub(in crate::protocol) fn entrust_again(
        &mut self,
        turn: &mut Turn<'_>,
        id: SessionId,
    ) -> bool {
        let Some(kept) = self.entrusting.asked.get(&id).copied() else {
            return false;
        };
        let again = self.ask_for_older(turn, id, kept);
        if !again {
            self.entrusting.asked.remove(&id);
            self.entrust_more(turn);
        }
        again
    }

    /// Asks every leaving member that may have an older copy; whether there is one. Who is leaving itself
    /// asks nobody: what it has to keep is the next manager's, too.
    fn ask_for_older(&self, turn: &mut Turn<'_>, id: SessionId, kept: Tenure) -> bool {
        let me = turn.me;
        if is_leaving(turn, me) || sabotage::is_off(Rule::Entrust) {
            return false;
        }
        let managed = self.managed.get(&turn.bucket(&id));
        let entry = managed
            .filter(|managed| managed.is_open())
            .and_then(|managed| managed.entries.get(&id));
        let Some(entry) = entry.filter(|entry| entry.waits_with_leaving(turn)) else {
            return false;
        };
        let mut some = false;
        for &who in &entry.older {
            if who != me && is_leaving(turn, who) {
                turn.send(who, Body::Entrust { id, kept });
                some = true;
            }
        }
        some
    }

    /// `from` has sent its copy: whether it is to be kept here.
    pub(in crate::protocol) fn keeps(
        &mut self,
        turn: &Turn<'_>,
        from: Incarnation,
        id: SessionId,
        tenure: Tenure,
    ) -> bool {
        let me = turn.me;
        let Some(kept) = self.entrusting.asked.get_mut(&id) else {
            return false;
        };
        let managed = self.managed.get_mut(&turn.bucket(&id));
        let Some(managed) = managed.filter(|it| it.is_open() && it.has_allotted(tenure)) else {
            return false;
        };
        match managed.entries.get_mut(&id) {
            Some(entry)
                if matches!(entry.place, Whereabouts::Missing { .. })
                    && entry.older.contains(&from) =>
            {
                entry.older.insert(me);
                *kept = tenure.max(*kept);
                true
            }
            _ => false,
        }
    }

    /// Its copy is kept here now: it may go there.
    pub(in crate::protocol) fn relieve(
        &self,
        turn: &mut Turn<'_>,
        from: Incarnation,
        id: SessionId,
    ) {
        if let Some(&kept) = self.entrusting.asked.get(&id) {
            turn.send(from, Body::Entrust { id, kept });
        }
    }

    /// `from` has nothing any more that is not kept here.
    pub(super) fn relieved(
        &mut self,
        turn: &mut Turn<'_>,
        from: Incarnation,
        id: SessionId,
        kept: Tenure,
    ) {
        if self.entrusting.asked.get(&id) != Some(&kept) || kept == Tenure::NONE {
            return;
        }
        let Some(managed) = self.managed_of(turn, &id) else {
            return;
        };
        let Some(entry) = managed.entries.get_mut(&id) else {
            return;
        };
        if !matches!(entry.place, Whereabouts::Missing { .. }) {
            return;
        }
        entry.older.remove(&from);
        if !entry.waits_with_leaving(turn) {
            turn.answered(Timer::Entrust(id));
            self.entrusting.asked.remove(&id);
            self.entrust_more(turn);
        }
    }
}
