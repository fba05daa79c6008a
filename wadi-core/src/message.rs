//! What nodes say to each other about sessions and buckets.
//!
//! Every message carries the epoch of the bucket that it speaks of, as its sender knows it, and
//! every message that moves ownership a tenure. What is said of one session may be said of several of
//! one bucket in one message, each by its own words. Nothing here says how it travels.

pub mod frame;

use std::mem::discriminant;
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::bucket::{BucketCount, BucketId, LayoutVersion};
use crate::member::Incarnation;
use crate::session::SessionId;
use crate::tenure::{Revision, Tenure};

/// One message from one incarnation to another.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Message {
    /// The epoch of the bucket it speaks of: the layout version at which that bucket's manager
    /// took over. A receiver that knows a later one refuses; one that knows only an earlier one
    /// fetches the layout first.
    pub epoch: LayoutVersion,
    /// What it says.
    pub body: Body,
    /// The same kind of thing about other sessions of the same bucket, in the order of their ids, each
    /// once: so what one of them says has no bearing on another, and they may be taken one by one.
    pub more: Vec<Body>,
}

/// At most so many sessions are spoken of in one message: its receiver does nothing else meanwhile.
pub const MOST_SESSIONS: usize = 256;

impl Message {
    /// A message about one session, or one bucket.
    #[must_use]
    pub const fn new(epoch: LayoutVersion, body: Body) -> Self {
        Self {
            epoch,
            body,
            more: Vec::new(),
        }
    }

    /// Everything that it says.
    pub fn bodies(&self) -> impl Iterator<Item = &Body> {
        std::iter::once(&self.body).chain(&self.more)
    }

    /// The same, to be changed.
    pub fn bodies_mut(&mut self) -> impl Iterator<Item = &mut Body> {
        std::iter::once(&mut self.body).chain(&mut self.more)
    }

    /// The same, to be kept.
    pub fn into_bodies(self) -> impl Iterator<Item = Body> {
        std::iter::once(self.body).chain(self.more)
    }

    /// The message with only those bodies that `keep` says; `None` when there is none.
    #[must_use]
    pub fn retain(mut self, mut keep: impl FnMut(&Body) -> bool) -> Option<Self> {
        self.more.retain(&mut keep);
        if !keep(&self.body) {
            if self.more.is_empty() {
                return None;
            }
            self.body = self.more.remove(0);
        }
        Some(self)
    }

    /// Whether `body` may follow what this message says already.
    #[must_use]
    pub fn may_go_on_with(&self, body: &Body, buckets: BucketCount) -> bool {
        let last = self.more.last().unwrap_or(&self.body);
        self.more.len() + 1 < MOST_SESSIONS && last.may_be_followed_by(body, buckets)
    }

    /// Whether what it says is of one kind, and about sessions of one bucket in their order. One that
    /// came from outside may be anything.
    #[must_use]
    pub fn is_well_formed(&self, buckets: BucketCount) -> bool {
        let pairs = self.bodies().zip(&self.more);
        self.more.len() < MOST_SESSIONS
            && pairs
                .into_iter()
                .all(|(one, next)| one.may_be_followed_by(next, buckets))
    }
}

/// What a message says. The parties: the *asker* wants a session, the *manager* answers for its
/// bucket, the *holder* has the primary copy.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Body {
    /// Asker to manager: where is it? With [`Want::Move`]: let it move to `to`.
    Find {
        /// The session.
        id: SessionId,
        /// Who should hold it afterwards; the asker itself, or the target of an evacuation.
        to: Incarnation,
        /// What is wanted.
        want: Want,
    },
    /// Manager to asker: what became of a `Find` that moved nothing.
    Answer {
        /// The session.
        id: SessionId,
        /// What the manager knows.
        answer: Answer,
    },
    /// Manager to holder: seal your copy of tenure `held` and send it to `to` under `tenure`.
    Release {
        /// The session.
        id: SessionId,
        /// The tenure of the copy that is to be released.
        held: Tenure,
        /// Who receives it.
        to: Incarnation,
        /// The tenure under which it is received.
        tenure: Tenure,
    },
    /// Holder to manager: its lock could not be had in time; `tenure` is spent and it stays.
    Busy {
        /// The session.
        id: SessionId,
        /// The tenure that is refused.
        tenure: Tenure,
    },
    /// Holder to manager: there is no such copy here.
    NotHere {
        /// The session.
        id: SessionId,
        /// The tenure of the release, or of the location, that is refused.
        tenure: Tenure,
    },
    /// Holder to the new holder: the sealed state.
    State {
        /// The session.
        id: SessionId,
        /// The tenure under which it is received.
        tenure: Tenure,
        /// How many commits it has seen.
        revision: Revision,
        /// The encoded session. As it was decoded it may be a part of a whole frame, which it keeps in
        /// memory: whoever keeps it for long copies it.
        #[serde(deserialize_with = "frame::part")]
        state: Bytes,
    },
    /// New holder to manager: it is here.
    Arrived {
        /// The session.
        id: SessionId,
        /// The tenure under which it was received.
        tenure: Tenure,
    },
    /// Manager to new holder: it is yours; answers that waited may go out.
    Confirmed {
        /// The session.
        id: SessionId,
        /// The confirmed tenure.
        tenure: Tenure,
    },
    /// Manager to whoever may have an older copy: drop every copy below `tenure`.
    Drop {
        /// The session.
        id: SessionId,
        /// The tenure of the copy that is current.
        tenure: Tenure,
    },
    /// The answer to `Drop`.
    Dropped {
        /// The session.
        id: SessionId,
        /// The tenure that was named.
        tenure: Tenure,
    },
    /// A node that manages no bucket to a manager: a session with this new id shall be held by me.
    Register {
        /// The new session.
        id: SessionId,
    },
    /// The answer to `Register`.
    Registered {
        /// The session.
        id: SessionId,
        /// Its tenure.
        tenure: Tenure,
    },
    /// Holder to manager: it has ended.
    End {
        /// The session.
        id: SessionId,
        /// The tenure of the copy that ended.
        tenure: Tenure,
        /// For how long its markers are to be kept; an end told again is kept no longer for that.
        keep_for: Duration,
    },
    /// Manager to holder: the markers that keep it from coming back are in place.
    Ended {
        /// The session.
        id: SessionId,
        /// The tenure that the markers name.
        tenure: Tenure,
    },
    /// Manager to deputy and to whoever may have a copy: it has ended; keep a marker.
    Mark {
        /// The session.
        id: SessionId,
        /// The tenure of the copy that ended.
        tenure: Tenure,
        /// For how long; a marker handed on lives no longer for that.
        keep_for: Duration,
    },
    /// The answer to `Mark`.
    Marked {
        /// The session.
        id: SessionId,
        /// The tenure that was named.
        tenure: Tenure,
    },
    /// A node that came back to a manager: I still have a copy.
    Offer {
        /// The session.
        id: SessionId,
        /// The copy's tenure.
        tenure: Tenure,
        /// The copy's revision.
        revision: Revision,
        /// Whether it was held when its node lost its right to act; else a newer one may exist.
        held: bool,
        /// For how long it has served nobody, at least.
        away_for: Duration,
    },
    /// New manager to the previous one: hand the bucket's directory over.
    Pull {
        /// The bucket.
        bucket: BucketId,
    },
    /// The answer to `Pull`: every session of the bucket that the previous manager knew of.
    Directory {
        /// The bucket.
        bucket: BucketId,
        /// Where each session is, or is on its way to.
        records: Vec<Record>,
        /// For how long an id that is not among them may still come back with a node that died.
        doubt_for: Duration,
        /// For how long, after that, such an id counts as lost rather than as ended.
        lost_for: Duration,
    },
    /// The answer to `Pull` by a node that never had the bucket's directory whole: ask everybody.
    NotMine {
        /// The bucket.
        bucket: BucketId,
    },
    /// New manager to the previous one: the directory arrived.
    Pulled {
        /// The bucket.
        bucket: BucketId,
    },
    /// Manager to every member: what do you have?
    Inquire {
        /// Of what.
        scope: Scope,
    },
    /// The answer to `Inquire`.
    Report {
        /// Of what.
        scope: Scope,
        /// Every copy and marker that the answering node has.
        sightings: Vec<Sighting>,
        /// For how long it doubts. It may have known of the latest death for longer than the manager.
        doubt: Doubt,
    },
    /// You spoke under an old epoch; the layout is at least at this version.
    Stale {
        /// The bucket that the refused message spoke of.
        bucket: BucketId,
        /// The refusing node's layout version.
        version: LayoutVersion,
    },
    /// Manager to a leaving member with an older copy that waits for a newer one: let me keep it
    /// meanwhile. What is of tenure `kept`, or below, I keep already, and yours may go.
    Entrust {
        /// The session.
        id: SessionId,
        /// The tenure of the copy that the manager keeps; [`Tenure::NONE`] while it has none.
        kept: Tenure,
    },
    /// The answer to `Entrust`: the copy, which serves nobody. Where it may go: `Dropped`.
    Entrusted {
        /// The session.
        id: SessionId,
        /// The copy's tenure.
        tenure: Tenure,
        /// The copy's revision.
        revision: Revision,
        /// The encoded session; a part of its frame, as that of a `State`.
        #[serde(deserialize_with = "frame::part")]
        state: Bytes,
    },
    /// Manager to whoever has a copy that serves nobody, and that the policy for stale copies did not
    /// take: drop every copy below `tenure`. The answer is `Dropped`.
    Refuse {
        /// The session.
        id: SessionId,
        /// A tenure above those of all copies.
        tenure: Tenure,
    },
}

/// What an asker wants of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Want {
    /// To know where it is.
    Locate,
    /// To have it.
    Move,
}

/// What a manager knows of a session that it does not let move.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Answer {
    /// It is held there.
    At {
        /// The holder.
        holder: Incarnation,
        /// The tenure of its copy.
        tenure: Tenure,
    },
    /// It does not exist (any more).
    Absent {
        /// Whether it may have died with a node, rather than have ended.
        lost: bool,
    },
    /// Nobody can say yet; ask again.
    Wait,
}

/// What an inquiry is about. It names the one inquiry, too, so that an answer to an earlier one is
/// known: a bucket is asked about once in an epoch, a session once under a tenure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Scope {
    /// Every session of a bucket: its manager rebuilds the directory.
    Bucket(BucketId),
    /// One session. Who answers promises to act on no tenure up to this one.
    Session(SessionId, Tenure),
}

/// For how long what nobody holds may still come back, as one node knows it.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Doubt {
    /// The layout version of the latest death without proof that it counts from.
    pub of: LayoutVersion,
    /// For how many milliseconds, from when it is said.
    pub lasts_ms: u64,
}

/// One copy, or marker, that a node reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Sighting {
    /// The session.
    pub id: SessionId,
    /// What the node has of it.
    pub kind: CopyKind,
    /// The copy's own tenure.
    pub tenure: Tenure,
    /// The copy's revision.
    pub revision: Revision,
}

impl Sighting {
    /// Whether it is proof of the session's end, and no copy.
    #[must_use]
    pub const fn is_marker(&self) -> bool {
        matches!(self.kind, CopyKind::Marker(_))
    }
}

/// What a node has of a session; later ones in this list are less.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum CopyKind {
    /// Proof that it has ended, kept for so much longer.
    Marker(Duration),
    /// The primary copy, serving.
    Held,
    /// A copy that arrived and that no manager has confirmed.
    Arriving,
    /// A copy that was sealed to be sent to this member.
    Sealed(Incarnation),
    /// A copy that came back with its node under a new incarnation.
    Returned {
        /// Whether it was held when its node lost its right to act; else a newer one may exist.
        held: bool,
        /// For how long it has served nobody, at least.
        away_for: Duration,
    },
    /// The row that the store below all nodes has. It was given out under that tenure by an earlier
    /// manager; then a newer copy may exist.
    Row(Option<Tenure>),
}

/// A line of a directory that is handed over.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Record {
    /// The session.
    pub id: SessionId,
    /// Where it is.
    pub place: Place,
    /// Who may still have an older copy.
    pub older: Vec<Incarnation>,
}

/// Where a session is, in a directory that is handed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Place {
    /// Held there under this tenure.
    At(Incarnation, Tenure),
    /// On its way.
    Moving {
        /// From whom.
        from: Incarnation,
        /// Under which tenure it is or was held there.
        held: Tenure,
        /// To whom.
        to: Incarnation,
        /// Under which tenure it is received.
        tenure: Tenure,
    },
    /// Nobody could say where it is; ask everybody. It was last held under this tenure, where that is
    /// known.
    Unsettled(Option<Tenure>),
    /// It died with its holder.
    Missing {
        /// Under which tenure it was held, where that is known.
        latest: Option<Tenure>,
        /// For how long its holder may still come back with it.
        wait_for: Duration,
    },
    /// It has ended. Who is named with older copies has not said that it keeps a marker.
    Ended {
        /// The tenure of the copy that ended.
        tenure: Tenure,
        /// For how long the marker is still kept.
        keep_for: Duration,
    },
}

impl Body {
    fn may_be_followed_by(&self, next: &Self, buckets: BucketCount) -> bool {
        match (self.session(), next.session()) {
            (Some(one), Some(other)) => {
                one < other
                    && one.bucket(buckets) == other.bucket(buckets)
                    && discriminant(self) == discriminant(next)
            }
            _ => false,
        }
    }

    /// How many bytes of a session's state it carries.
    #[must_use]
    pub const fn state_bytes(&self) -> usize {
        match self {
            Self::State { state, .. } | Self::Entrusted { state, .. } => state.len(),
            _ => 0,
        }
    }

    /// The one session that this message speaks of, unless it speaks of a whole bucket.
    #[must_use]
    pub const fn session(&self) -> Option<&SessionId> {
        match self {
            Self::Find { id, .. }
            | Self::Answer { id, .. }
            | Self::Release { id, .. }
            | Self::Busy { id, .. }
            | Self::NotHere { id, .. }
            | Self::State { id, .. }
            | Self::Arrived { id, .. }
            | Self::Confirmed { id, .. }
            | Self::Drop { id, .. }
            | Self::Dropped { id, .. }
            | Self::Register { id }
            | Self::Registered { id, .. }
            | Self::End { id, .. }
            | Self::Ended { id, .. }
            | Self::Mark { id, .. }
            | Self::Marked { id, .. }
            | Self::Offer { id, .. }
            | Self::Entrust { id, .. }
            | Self::Entrusted { id, .. }
            | Self::Refuse { id, .. }
            | Self::Inquire {
                scope: Scope::Session(id, _),
                ..
            }
            | Self::Report {
                scope: Scope::Session(id, _),
                ..
            } => Some(id),
            Self::Pull { .. }
            | Self::Directory { .. }
            | Self::NotMine { .. }
            | Self::Pulled { .. }
            | Self::Stale { .. }
            | Self::Inquire { .. }
            | Self::Report { .. } => None,
        }
    }

    /// The bucket that this message speaks of, where there are so many. A message from outside may
    /// name a bucket that does not exist.
    #[must_use]
    pub fn bucket(&self, buckets: BucketCount) -> BucketId {
        match self {
            Self::Pull { bucket }
            | Self::Directory { bucket, .. }
            | Self::NotMine { bucket }
            | Self::Pulled { bucket }
            | Self::Stale { bucket, .. }
            | Self::Inquire {
                scope: Scope::Bucket(bucket),
                ..
            }
            | Self::Report {
                scope: Scope::Bucket(bucket),
                ..
            } => *bucket,
            about_one => about_one
                .session()
                .expect("what speaks of no bucket speaks of a session")
                .bucket(buckets),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_says_one_kind_of_thing_of_each_session_of_one_bucket_once() {
        let one = BucketCount::new(1).expect("above zero");
        let many = BucketCount::new(u16::MAX).expect("above zero");
        let id = |number: u32| SessionId::from_parts([number as u8; 16], number);
        let dropped = |number| Body::Dropped {
            id: id(number),
            tenure: Tenure::NONE,
        };
        let message = |bodies: &[Body]| {
            let mut message = Message::new(LayoutVersion::from_u64(1), bodies[0].clone());
            message.more.extend_from_slice(&bodies[1..]);
            message
        };
        let good = message(&[dropped(1), dropped(2), dropped(3)]);
        assert!(good.is_well_formed(one));
        assert!(!good.is_well_formed(many), "these are of several buckets");
        assert!(good.may_go_on_with(&dropped(4), one));
        assert!(!good.may_go_on_with(&dropped(3), one));

        let registered = Body::Register { id: id(2) };
        let bucket = BucketId::new(0);
        let bad = [
            [dropped(1), dropped(1)],
            [dropped(2), dropped(1)],
            [dropped(1), registered],
            [dropped(1), Body::Pulled { bucket }],
            [Body::Pulled { bucket }, Body::Pulled { bucket }],
        ];
        for bodies in bad {
            assert!(!message(&bodies).is_well_formed(one), "{bodies:?}");
        }

        let mut full = message(&[dropped(0)]);
        let others = 1..MOST_SESSIONS as u32;
        full.more.extend(others.map(|number| Body::Dropped {
            id: SessionId::from_parts([0; 16], number),
            tenure: Tenure::NONE,
        }));
        assert!(full.is_well_formed(one));
        assert!(!full.may_go_on_with(&dropped(1), one));
        full.more.push(dropped(1));
        assert!(!full.is_well_formed(one));
    }

    #[test]
    fn what_is_not_kept_leaves_the_rest_as_it_was() {
        let body = |number| Body::Register {
            id: SessionId::from_parts([0; 16], number),
        };
        let mut message = Message::new(LayoutVersion::from_u64(1), body(1));
        message.more.extend([body(2), body(3)]);
        let kept = message.clone().retain(|it| *it != body(1));
        let kept: Vec<_> = kept.into_iter().flat_map(Message::into_bodies).collect();
        assert_eq!(kept, [body(2), body(3)]);
        assert_eq!(message.retain(|_| false), None);
    }
}
