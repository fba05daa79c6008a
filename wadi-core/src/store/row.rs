//! What goes into a store and comes out of it. Plain values.

use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

use super::payload::Payload;
use crate::bucket::BucketId;
use crate::session::SessionId;
use crate::tenure::{Revision, Tenure};

/// One session, as a store keeps it.
#[derive(Clone, PartialEq, Eq)]
pub struct Row {
    /// The session.
    pub id: SessionId,
    /// Its bucket.
    pub bucket: BucketId,
    /// The tenure under which it was put down.
    pub tenure: Tenure,
    /// Its revision then.
    pub revision: Revision,
    /// How long from now until it has ended, if nobody asks for it.
    pub left: Duration,
    /// Everything else.
    pub payload: Payload,
}

impl fmt::Debug for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Row({:?} {:?})", self.tenure, self.revision)
    }
}

/// What became of a row that was put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Put {
    /// The store has it.
    Stored,
    /// The store has something newer, or has given it out under a later tenure, or said under one that there is
    /// none, or it has ended: nothing changed.
    Refused,
}

/// By what right a session is taken out of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    /// The store is the taker's alone: the row goes in the same step.
    Own,
    /// The manager of its bucket granted this tenure, above every earlier one: the row stays, as a stale
    /// copy, and is given to no lower one.
    Granted(Tenure),
}

/// What taking a session came to.
#[derive(Clone, PartialEq, Eq)]
pub enum Took {
    /// This.
    Row(Kept),
    /// The store knows nothing of it.
    Nothing,
    /// It has ended, and never comes back.
    Ended,
    /// It was given out, or put, under a later tenure than the one that was granted.
    Superseded,
}

impl fmt::Debug for Took {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Row(_) => "Row",
            Self::Nothing => "Nothing",
            Self::Ended => "Ended",
            Self::Superseded => "Superseded",
        })
    }
}

/// A session that a store gave out.
#[derive(Clone, PartialEq, Eq)]
pub struct Kept {
    /// The tenure under which it was put.
    pub tenure: Tenure,
    /// Its revision.
    pub revision: Revision,
    /// The tenure under which an earlier epoch had it last, since it was put: of those under which it was given out
    /// and whose epoch is lower than that of the tenure which is granted now, the highest. Then this is a stale copy
    /// of what that one has. Of its own epoch's a manager knows itself, so it is told the same each time, under
    /// whatever tenure it asks again because an answer was lost.
    ///
    /// To its owner ([`Claim::Own`]), who has no epoch: the last tenure under which it was given out, of all.
    pub given_out: Option<Tenure>,
    /// For how long the store has had it, by the store's own clock.
    pub age: Duration,
    /// As it was put.
    pub payload: Payload,
}

impl fmt::Debug for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Kept({:?} {:?})", self.tenure, self.revision)
    }
}

/// A session that has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    /// The session.
    pub id: SessionId,
    /// Its bucket.
    pub bucket: BucketId,
    /// How long the store remembers that, so that no late row brings it back.
    pub remember_for: Duration,
}

/// What of a store is to be listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// Of these buckets.
    pub buckets: RangeInclusive<BucketId>,
    /// Only what comes after this one, by bucket and then by id.
    pub after: Option<(BucketId, SessionId)>,
    /// Only what has run out and was not given out.
    pub due: bool,
    /// So many at most.
    pub most: usize,
}

/// What a store says of a session in a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// The session.
    pub id: SessionId,
    /// Its bucket.
    pub bucket: BucketId,
    /// The tenure under which it was put.
    pub tenure: Tenure,
    /// Its revision.
    pub revision: Revision,
    /// The last tenure under which it was given out, of whatever epoch; then its row is a stale copy.
    pub given_out: Option<Tenure>,
}
