//! What a node says of itself, for whoever asks at any time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::bucket::Layout;
use crate::member::{Incarnation, Member, Standing};
use crate::protocol::coordinator::{ElectionPolicy, Oldest};
use crate::protocol::{Event, Loser};

/// How far a node is.
#[derive(Clone, Debug, Default)]
pub struct Status {
    /// Who it is now; `None` while it is no member.
    pub incarnation: Option<Incarnation>,
    /// The latest layout that it knows.
    pub layout: Option<Arc<Layout>>,
    /// How far its evacuation is, while it leaves.
    pub evacuation: Option<Evacuation>,
    /// How its leaving ended, when it has left.
    pub left: Option<Left>,
}

/// How many sessions have come to a node from others and gone to others, since it started.
#[derive(Debug, Default)]
pub struct Migrations {
    pub(super) arrived: AtomicU64,
    pub(super) left: AtomicU64,
}

impl Migrations {
    /// How many came and were confirmed.
    #[must_use]
    pub fn arrived(&self) -> u64 {
        self.arrived.load(Relaxed)
    }

    /// How many were sealed for another node. A few of them may have come back.
    #[must_use]
    pub fn left(&self) -> u64 {
        self.left.load(Relaxed)
    }
}

/// What became of sessions of nodes that died or were away, and of copies that served nobody, as far as
/// this node decided it or dropped them; since it started.
#[derive(Debug, Default)]
pub struct Aftermath {
    lost: AtomicU64,
    older: AtomicU64,
    outdated: AtomicU64,
    refused: AtomicU64,
    ended: AtomicU64,
}

impl Aftermath {
    pub(super) fn count(&self, event: Event) {
        let counter = match event {
            Event::Lost(_) => &self.lost,
            Event::Stale(_) => &self.older,
            Event::Dropped(_, Loser::Outdated) => &self.outdated,
            Event::Dropped(_, Loser::Refused) => &self.refused,
            Event::Dropped(_, Loser::Ended) => &self.ended,
            Event::Fork(_) => return,
        };
        counter.fetch_add(1, Relaxed);
    }

    /// Sessions that died with their holder, and of which nobody had a copy that serves.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.lost.load(Relaxed)
    }

    /// Sessions that a copy serves which may not be the newest.
    #[must_use]
    pub fn older(&self) -> u64 {
        self.older.load(Relaxed)
    }

    /// Copies of this node that were dropped because another one serves.
    #[must_use]
    pub fn outdated(&self) -> u64 {
        self.outdated.load(Relaxed)
    }

    /// Copies of this node that were dropped because the policy for stale copies took none.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.refused.load(Relaxed)
    }

    /// Copies of this node that were dropped because their session has ended.
    #[must_use]
    pub fn ended(&self) -> u64 {
        self.ended.load(Relaxed)
    }
}

/// How far an evacuation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Evacuation {
    /// Sessions that were here when it began.
    pub began_with: usize,
    /// Sessions that are still here.
    pub left: usize,
}

/// Why a member is not declared dead at an operator's word. Nothing changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NotDeclaredDead {
    /// This node is no member itself now.
    #[error("this node is no member of a cluster now; ask another one")]
    NotReady,
    /// It is the node that is asked.
    #[error("that is this node itself, which runs; let it leave")]
    Myself,
    /// By what this node knows it is no member.
    #[error("there is no such member, or none any more")]
    NoMember,
    /// This node is connected to it.
    #[error("this node is connected to it, so it seems to run; stop it, or force it")]
    Connected,
}

/// How a node left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Left {
    /// Whether everything was handed over, and the cluster agreed.
    pub in_good_order: bool,
    /// Sessions that found no other place in time.
    pub left_behind: usize,
}

impl Status {
    /// The member that decides when buckets change hands, as far as this node knows.
    #[must_use]
    pub fn coordinator(&self) -> Option<&Member> {
        let layout = self.layout.as_ref()?;
        layout.members.get(&Oldest.elect(layout)?)
    }

    /// How far it is in its life as a member.
    #[must_use]
    pub fn standing(&self) -> Option<Standing> {
        let (me, layout) = (self.incarnation?, self.layout.as_ref()?);
        layout.members.get(&me).map(|member| member.standing)
    }
}
