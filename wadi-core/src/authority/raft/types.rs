//! The types that openraft is told of, and what stands in its log.

use std::io::Cursor;

use openraft::{BasicNode, CommittedLeaderId, RaftMetrics};
use serde::{Deserialize, Serialize};

use crate::authority::{Answer, Charter, Command};
use crate::bucket::LayoutVersion;
use crate::clock::Moment;
use crate::member::{Founding, Incarnation, NodeName, Place};

openraft::declare_raft_types!(
    /// Proposals in, outcomes out; a raft id is the number of an [`Incarnation`].
    pub(super) RaftTypes:
        D = Proposal,
        R = Outcome,
        NodeId = u64,
        Node = BasicNode,
        SnapshotData = Cursor<Vec<u8>>,
);

/// What openraft says of itself.
pub(super) type Metrics = RaftMetrics<u64, BasicNode>;

/// The leader under whom an entry was proposed, as openraft orders them.
pub(super) type Leadership = CommittedLeaderId<u64>;

/// A founding that nobody had; or why the system has no random bytes.
pub(super) fn draw_founding() -> Result<Founding, String> {
    random().map(|bytes| Founding::new(u64::from_le_bytes(bytes)))
}

/// One start of a node for the purpose of founding, drawn at random; it takes part in one founding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct StartId(u64);

impl StartId {
    /// One that nobody had; or why the system has no random bytes.
    pub(super) fn draw() -> Result<Self, String> {
        random().map(|bytes| Self(u64::from_le_bytes(bytes)))
    }
}

fn random<const BYTES: usize>() -> Result<[u8; BYTES], String> {
    let mut bytes = [0; BYTES];
    getrandom::fill(&mut bytes).map_err(|error| error.to_string())?;
    Ok(bytes)
}

/// One entry of the log: several commands under one reading of the proposer's clock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Proposal {
    /// The term in which the proposer knew itself leader *before* it read its clock. Where the entry
    /// is appended in another term it is void: a proposer that was deposed, and elected again while
    /// its proposal waited, would otherwise bring a reading that is older than its election.
    pub(super) term: u64,
    /// The reading of the proposer's clock.
    pub(super) now: Moment,
    /// What to do.
    pub(super) what: What,
}

/// What a proposal does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum What {
    /// The very first: there is a register from now on. It counts as the taking over.
    Found(Found),
    /// A new leader's first.
    TakeOver,
    /// Carried out in order; void under a leader that has not taken over.
    Commands(Vec<Command>),
}

/// What a register is founded with. All of its first members are ready, and vote.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Found {
    pub(super) charter: Charter,
    pub(super) founding: Founding,
    pub(super) generation: u32,
    /// Who founds, and then who backs it; never none.
    pub(super) first: Vec<Founder>,
}

/// One of a cluster's first members.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Founder {
    pub(super) node: NodeName,
    pub(super) address: String,
    #[serde(default)]
    pub(super) place: Option<Place>,
}

impl Found {
    /// The incarnation that the first member at this place is given.
    pub(super) fn incarnation(&self, place: usize) -> Incarnation {
        let before_first = LayoutVersion::founding(self.generation).as_u64();
        Incarnation::new(before_first + 1 + place as u64)
    }
}

/// What came of an entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Outcome {
    /// It was none of ours.
    Nothing,
    /// An answer to each command, in order.
    Answers(Vec<Answer>),
    /// Nothing changed: it was proposed under another leadership than it was appended in, or before
    /// its leader took over.
    Void,
}

/// Whether sending the command a second time does no harm and its answer means the same.
pub(super) const fn may_repeat(command: &Command) -> bool {
    match command {
        // Of a join whose answer got lost, the incarnation dies when its lease runs out.
        // Nobody dies twice: the second time it is no member any more.
        Command::Join { .. }
        | Command::Renew(_)
        | Command::Ready(_)
        | Command::Leave(_)
        | Command::DeclareDead { .. }
        | Command::Raise { .. } => true,
        Command::Left { .. }
        | Command::Expire
        | Command::Propose { .. }
        | Command::TakeOver
        | Command::Name(_)
        | Command::Settle => false,
    }
}

/// The raft id of an incarnation.
pub(super) const fn raft_id(incarnation: Incarnation) -> u64 {
    incarnation.get()
}

/// The incarnation with this raft id.
pub(super) const fn incarnation(raft_id: u64) -> Incarnation {
    Incarnation::new(raft_id)
}
