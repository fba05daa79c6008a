//! What the nodes of one authority say to each other, and how large it may be.

use openraft::error::{InstallSnapshotError, RaftError};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, InstallSnapshotRequest, InstallSnapshotResponse,
    VoteRequest, VoteResponse,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::types::{Found, RaftTypes, StartId};
use crate::authority::{Answer, Command};
use crate::bucket::LayoutVersion;
use crate::member::{Founding, Incarnation, NodeName, Place};
use crate::proof::Proof;

/// Bytes of one encoded message or answer, at most; whatever is larger is refused unread.
///
/// The largest are 32 entries of 32 commands with the longest names, and a chunk of a snapshot.
pub const LARGEST_MESSAGE: usize = 2 << 20;

/// Entries in one message, at most.
pub(super) const MOST_ENTRIES: u64 = 32;

/// Commands in one entry, at most.
pub(super) const MOST_COMMANDS: usize = 32;

/// Bytes of a snapshot in one message, at most. Bytes are written as an array of small numbers,
/// each of up to two bytes.
pub(super) const LARGEST_CHUNK: u64 = 512 << 10;

/// Bytes of a whole snapshot, at most: above what 65,535 buckets with a dozen deputies come to.
pub(super) const LARGEST_SNAPSHOT: u64 = 16 << 20;

/// One message.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Message {
    /// `None`: of whoever wants to join, and knows no cluster yet.
    pub(super) cluster: Option<Founding>,
    pub(super) body: Body,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Body {
    Append(Incarnation, AppendEntriesRequest<RaftTypes>),
    Vote(Incarnation, VoteRequest<u64>),
    Snapshot(Incarnation, InstallSnapshotRequest<RaftTypes>),
    Ask {
        /// Who asks; `None` before it has joined.
        by: Option<Incarnation>,
        command: Command,
    },
    /// What are you?
    WhoIsThere,
    Invite(Invitation),
    /// These members of the message's cluster are dead.
    Deaths(Vec<KnownDeath>),
    /// Members of a cluster, perhaps another one, are at these addresses.
    Known(Vec<String>),
}

/// A member's death, and who has a proof of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct KnownDeath {
    pub(super) dead: Incarnation,
    pub(super) by: Incarnation,
    pub(super) proof: Proof,
}

/// Somebody founds, and asks one of its backers to stand by.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Invitation {
    pub(super) found: Found,
    /// Which of the first members it is to be,
    pub(super) place: usize,
    /// in which start of it.
    pub(super) start: StartId,
    /// Who each of them was, where these are the heirs of a generation that is over.
    #[serde(default)]
    pub(super) former: Option<Former>,
}

/// Who the first members were in the generation before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Former {
    pub(super) cluster: Founding,
    /// By place.
    pub(super) first: Vec<Incarnation>,
}

/// Which part of which raft runs at a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Part {
    pub(super) cluster: Founding,
    pub(super) incarnation: Incarnation,
}

/// What a node is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Present {
    /// In no cluster, and ready to found.
    Waiting {
        node: NodeName,
        /// Whom it would found with, an address.
        backs: Option<String>,
        start: StartId,
        /// A cluster that it takes part in founding is of this generation at least.
        generation: u32,
        /// Where it listens at exactly the address that it is asked at, if it knows.
        #[serde(default)]
        place: Option<Place>,
        /// Who it was in a generation that is over, whose heir it is.
        #[serde(default)]
        heir: Option<Part>,
        /// It is about to found the next generation, or to help who does.
        #[serde(default)]
        is_due: bool,
        /// It founds with nobody, because others may go on with the cluster that it was in.
        #[serde(default)]
        is_barred: bool,
        /// It was a member of this cluster, of this generation, and joins another one only if that is of a
        /// higher one.
        #[serde(default)]
        last: Option<(Founding, u32)>,
    },
    /// In the middle of founding this cluster, together with who is at this address.
    Founding { part: Part, by: String },
    /// A member.
    Member {
        part: Part,
        generation: u32,
        /// Whether it may act now.
        #[serde(default)]
        is_leased: bool,
    },
    /// No member, and takes part in no founding now. This part of it may still run.
    Apart(Option<Part>),
}

/// The answer to a message.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Reply {
    Append(Result<AppendEntriesResponse<u64>, RaftError<u64>>),
    Vote(Result<VoteResponse<u64>, RaftError<u64>>),
    Snapshot(Result<InstallSnapshotResponse<u64>, RaftError<u64, InstallSnapshotError>>),
    Said(Said),
    There(Present),
    /// Whether who was invited stands by.
    Invited(bool),
    /// It was looked at.
    Noted,
    /// The message was for another cluster, for an incarnation that does not run here, too large,
    /// or no message. Nothing changed.
    NotHere,
}

/// The answer to what was asked of the leader.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Said {
    /// Agreed; this layout, or a later one, held when that was carried out.
    Answered(Answer, LayoutVersion),
    /// Nothing changed; whoever is at this address leads, if anybody is known to.
    Elsewhere(Option<String>),
    /// Nothing changed: too many ask at once.
    Busy,
    /// Nothing changed: it still votes and is about to be replaced.
    StillVotes,
    /// Nothing changed, and never will: it is not for nodes to ask, or too large.
    NotForYou,
    /// It was proposed, and what came of it is not known.
    Unknown,
}

pub(super) fn encode(message: &impl Serialize) -> Option<Vec<u8>> {
    let bytes = rmp_serde::to_vec(message).ok()?;
    (bytes.len() <= LARGEST_MESSAGE).then_some(bytes)
}

pub(super) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    if bytes.len() > LARGEST_MESSAGE {
        return None;
    }
    rmp_serde::from_slice(bytes).ok()
}

impl Message {
    pub(super) fn ask(cluster: Option<Founding>, part: Option<Part>, command: Command) -> Self {
        let by = part.map(|part| part.incarnation);
        Self {
            cluster,
            body: Body::Ask { by, command },
        }
    }
}
