//! One replica of the register: agreed entries go in, answers and layouts come out.
//!
//! It reads no clock. An entry counts only under the leadership that it was proposed in, and only
//! after that leader took over: so the moments in the register are always of one clock.

use std::io::Cursor;
use std::sync::Arc;

use openraft::storage::RaftStateMachine;
use openraft::{
    AnyError, BasicNode, Entry, EntryPayload, LogId, OptionalSend, RaftSnapshotBuilder, Snapshot,
    SnapshotMeta, StorageError, StorageIOError, StoredMembership,
};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::message::KnownDeath;
use super::types::{Founder, Leadership, Outcome, Proposal, RaftTypes, What};
use crate::authority::{Death, Electorate, Register};
use crate::bucket::Layout;
use crate::clock::Moment;
use crate::member::Incarnation;

/// One replica; clones are the same replica.
#[derive(Clone, Debug)]
pub(super) struct Machine {
    state: Arc<Mutex<State>>,
    layouts: watch::Sender<Option<Arc<Layout>>>,
}

#[derive(Debug, Default)]
struct State {
    replica: Replica,
    applied: Option<LogId<u64>>,
    membership: StoredMembership<u64, BasicNode>,
    snapshot: Option<Kept>,
    snapshots: u64,
}

#[derive(Clone, Debug)]
struct Kept {
    meta: SnapshotMeta<u64, BasicNode>,
    bytes: Vec<u8>,
}

/// What a snapshot holds.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Replica {
    register: Option<Register>,
    /// Who took over last.
    led: Option<Leadership>,
}

impl Replica {
    fn carry_out(&mut self, leadership: Leadership, proposal: Proposal) -> Outcome {
        let Proposal { term, now, what } = proposal;
        if term != leadership.term {
            return Outcome::Void;
        }
        match (what, &mut self.register) {
            (What::Found(found), nothing @ None) => {
                let mut first = found.first.into_iter();
                let Some(founder) = first.next() else {
                    return Outcome::Void;
                };
                let (mut register, joined) = Register::found(
                    found.charter,
                    found.founding,
                    found.generation,
                    founder.node,
                    founder.address,
                    now,
                );
                register.locate(joined.incarnation, founder.place);
                for founder in first {
                    let Founder {
                        node,
                        address,
                        place,
                    } = founder;
                    let backer = register.join_in(place, node, address, now).incarnation;
                    // It was given just now, so it is a member.
                    let _ = register.ready(backer);
                }
                register.all_vote();
                if register.layout().members.len() > 1 {
                    register.may_follow_another();
                }
                *nothing = Some(register);
                self.led = Some(leadership);
                Outcome::Answers(vec![crate::authority::Answer::Joined(joined)])
            }
            (What::TakeOver, Some(register)) => {
                register.take_over(now);
                self.led = Some(leadership);
                Outcome::Answers(vec![crate::authority::Answer::TookOver])
            }
            (What::Commands(commands), Some(register)) if self.led == Some(leadership) => {
                let answers = commands
                    .into_iter()
                    .map(|command| register.apply(command, now));
                Outcome::Answers(answers.collect())
            }
            _ => Outcome::Void,
        }
    }
}

impl Machine {
    pub(super) fn new() -> Self {
        Self {
            state: Arc::default(),
            layouts: watch::Sender::new(None),
        }
    }

    /// The layouts as this replica learns of them; only the latest is kept.
    pub(super) fn layouts(&self) -> watch::Receiver<Option<Arc<Layout>>> {
        self.layouts.subscribe()
    }

    /// The layout that holds here; `None` before the first entry arrived.
    pub(super) fn layout(&self) -> Option<Arc<Layout>> {
        self.layouts.borrow().clone()
    }

    /// Whether there is a register yet.
    pub(super) fn is_founded(&self) -> bool {
        self.state.lock().replica.register.is_some()
    }

    /// The leader that took over last, by what this replica knows.
    pub(super) fn led_by(&self) -> Option<Leadership> {
        self.state.lock().replica.led
    }

    /// Whose lease has run out at `now`, by the clock of whoever leads.
    pub(super) fn overdue(&self, now: Moment) -> Vec<Incarnation> {
        let state = self.state.lock();
        let register = state.replica.register.as_ref();
        register
            .map(|register| register.overdue(now))
            .unwrap_or_default()
    }

    /// When the next lease runs out, by the clock of whoever leads.
    pub(super) fn next_expiry(&self) -> Option<Moment> {
        let state = self.state.lock();
        state.replica.register.as_ref()?.next_expiry()
    }

    /// The electorates that are agreed, by what this replica knows, and how far it knows.
    pub(super) fn electorates(&self) -> (Vec<Electorate>, u64) {
        let state = self.state.lock();
        let register = state.replica.register.as_ref();
        let electorates = register.map(|register| register.electorates().to_vec());
        let applied = state.applied.map_or(0, |applied| applied.index);
        (electorates.unwrap_or_default(), applied)
    }

    /// The deaths that a member had a proof of and that were agreed, by what this replica knows.
    pub(super) fn agreed_deaths(&self) -> Vec<KnownDeath> {
        let state = self.state.lock();
        let buried = state.replica.register.iter().flat_map(Register::tombstones);
        let proven = buried.filter_map(|(dead, tombstone)| match tombstone.death {
            Death::Proven(proof) => Some(KnownDeath {
                dead,
                by: tombstone.proven_by?,
                proof,
            }),
            _ => None,
        });
        proven.collect()
    }

    /// A copy of the register.
    pub(super) fn register(&self) -> Option<Register> {
        self.state.lock().replica.register.clone()
    }

    /// Tells the watchers, where the layout is another one.
    fn publish(&self, state: &State) {
        let Some(register) = &state.replica.register else {
            return;
        };
        let layout = register.layout();
        self.layouts.send_if_modified(|known| {
            let is_news = known.as_ref().is_none_or(|k| k.version != layout.version);
            if is_news {
                *known = Some(Arc::new(layout.clone()));
            }
            is_news
        });
    }
}

impl RaftStateMachine<RaftTypes> for Machine {
    type SnapshotBuilder = Self;

    async fn applied_state(
        &mut self,
    ) -> Result<(Option<LogId<u64>>, StoredMembership<u64, BasicNode>), StorageError<u64>> {
        let state = self.state.lock();
        Ok((state.applied, state.membership.clone()))
    }

    async fn apply<I>(&mut self, entries: I) -> Result<Vec<Outcome>, StorageError<u64>>
    where
        I: IntoIterator<Item = Entry<RaftTypes>> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let mut state = self.state.lock();
        let mut outcomes = Vec::new();
        for entry in entries {
            state.applied = Some(entry.log_id);
            outcomes.push(match entry.payload {
                EntryPayload::Blank => Outcome::Nothing,
                EntryPayload::Membership(membership) => {
                    state.membership = StoredMembership::new(Some(entry.log_id), membership);
                    Outcome::Nothing
                }
                EntryPayload::Normal(proposal) => {
                    state.replica.carry_out(entry.log_id.leader_id, proposal)
                }
            });
        }
        self.publish(&state);
        Ok(outcomes)
    }

    async fn get_snapshot_builder(&mut self) -> Self {
        self.clone()
    }

    async fn begin_receiving_snapshot(
        &mut self,
    ) -> Result<Box<Cursor<Vec<u8>>>, StorageError<u64>> {
        Ok(Box::default())
    }

    async fn install_snapshot(
        &mut self,
        meta: &SnapshotMeta<u64, BasicNode>,
        snapshot: Box<Cursor<Vec<u8>>>,
    ) -> Result<(), StorageError<u64>> {
        let bytes = snapshot.into_inner();
        let unreadable = |error| StorageIOError::read_snapshot(Some(meta.signature()), error);
        let replica: Replica =
            rmp_serde::from_slice(&bytes).map_err(|error| unreadable(AnyError::new(&error)))?;
        // Everything that is agreed from here on relies on it.
        if let Some(register) = &replica.register {
            let checked = register.check();
            checked.map_err(|fault| unreadable(AnyError::new(&fault)))?;
        }
        let mut state = self.state.lock();
        state.replica = replica;
        state.applied = meta.last_log_id;
        state.membership = meta.last_membership.clone();
        state.snapshot = Some(Kept {
            meta: meta.clone(),
            bytes,
        });
        self.publish(&state);
        Ok(())
    }

    async fn get_current_snapshot(
        &mut self,
    ) -> Result<Option<Snapshot<RaftTypes>>, StorageError<u64>> {
        let kept = self.state.lock().snapshot.clone();
        Ok(kept.map(Kept::open))
    }
}

impl Kept {
    fn open(self) -> Snapshot<RaftTypes> {
        Snapshot {
            meta: self.meta,
            snapshot: Box::new(Cursor::new(self.bytes)),
        }
    }
}

impl RaftSnapshotBuilder<RaftTypes> for Machine {
    async fn build_snapshot(&mut self) -> Result<Snapshot<RaftTypes>, StorageError<u64>> {
        let mut state = self.state.lock();
        let bytes = rmp_serde::to_vec(&state.replica)
            .map_err(|error| StorageIOError::write_snapshot(None, AnyError::new(&error)))?;
        state.snapshots += 1;
        let at = state.applied.map_or(0, |applied| applied.index);
        let kept = Kept {
            meta: SnapshotMeta {
                last_log_id: state.applied,
                last_membership: state.membership.clone(),
                snapshot_id: format!("{at}-{}", state.snapshots),
            },
            bytes,
        };
        state.snapshot = Some(kept.clone());
        Ok(kept.open())
    }
}

#[cfg(test)]
#[path = "machine_tests.rs"]
mod tests;
