//! What goes into the protocol and what comes out of it: two closed lists.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::returned::ReturnedCopy;
use super::timer::Timer;
use crate::bucket::{BucketCount, BucketId, Layout, LayoutVersion};
use crate::clock::Moment;
use crate::member::Incarnation;
use crate::message::{Message, Want};
use crate::session::SessionId;
use crate::tenure::{Revision, Tenure};

/// Something that happened to this node.
#[derive(Clone, Debug)]
pub enum Input {
    /// The authority agreed a layout; older ones than the adopted one are ignored.
    Layout(Arc<Layout>),
    /// The authority's grant lets this incarnation act until this moment of its own clock.
    Lease(Moment),
    /// A message for this incarnation arrived.
    Message {
        /// Who sent it.
        from: Incarnation,
        /// What it says.
        message: Message,
    },
    /// A timer went off, and with it whichever of its kind and bucket are due now.
    Timer(Timer),
    /// A request wants a session that is not in this node's map.
    Find {
        /// The session.
        id: SessionId,
        /// Where it is, or to have it here.
        want: Want,
    },
    /// A request creates a session with this new id and this node manages no open bucket.
    Register(SessionId),
    /// The driver did what [`Output::Seal`] said of these sessions, each of them once: they are out of
    /// the map, and nobody is served from them any more. While a session is out of the map and not
    /// given back, this node answers no inquiry that concerns it, so the time between is to be short.
    Sealed(Vec<SealedCopy>),
    /// What this node had in its map when it was fenced, and what was encoded only after
    /// [`Participant::come_back`](super::Participant::come_back); it is offered with the rest.
    Returned(ReturnedCopy),
    /// The driver waits for the session's lock, and will say what became of it.
    Waits(SessionId),
    /// The driver could not have the session's lock in time; it is in the map as before.
    Busy(SessionId),
    /// The session has no encoding; it is in the map as before.
    Unencodable(SessionId),
    /// The transport did not take a message, because it has too many: who has much to send waits.
    Congested,
    /// The session that was to be sealed is not in the map (any more).
    Gone(SessionId),
    /// A session was destroyed or expired here: under its exclusive lock it was taken out of the
    /// map. Only a held session may end; one that arrived is confirmed first. Until this is given the
    /// session counts as held: what is asked between would miss it, and an older copy could serve. Given without a valid
    /// lease it waits for this incarnation's next one, and counts for nothing if none comes.
    End {
        /// The session.
        id: SessionId,
        /// The tenure under which it was held.
        tenure: Tenure,
    },
    /// This member is leaving: move everything it holds to the buckets' managers.
    Evacuate,
    /// Nobody asks for the session any more: it may go to the store below all nodes. Nothing comes of it
    /// where that cannot be now.
    Demote(SessionId),
    /// What became of [`Output::Store`], of each exactly one. Silence becomes [`Stored::Unknown`], in
    /// bounded time.
    Stored {
        /// The session.
        id: SessionId,
        /// The tenure that was named.
        tenure: Tenure,
        /// What became of it.
        stored: Stored,
    },
}

impl Input {
    /// The one bucket that it concerns; `None` where it may concern all of them.
    pub(super) fn bucket(&self, buckets: BucketCount) -> Option<BucketId> {
        match self {
            Self::Message { message, .. } => Some(message.body.bucket(buckets)),
            Self::Timer(timer) => timer.bucket(buckets),
            Self::Find { id, .. }
            | Self::Register(id)
            | Self::Returned(ReturnedCopy { id, .. })
            | Self::Waits(id)
            | Self::Busy(id)
            | Self::Unencodable(id)
            | Self::Gone(id)
            | Self::Demote(id)
            | Self::Stored { id, .. }
            | Self::End { id, .. } => Some(id.bucket(buckets)),
            Self::Sealed(copies) => {
                let first = copies.first()?.id.bucket(buckets);
                let all = copies.iter().all(|copy| copy.id.bucket(buckets) == first);
                all.then_some(first)
            }
            Self::Layout(_) | Self::Lease(_) | Self::Congested | Self::Evacuate => None,
        }
    }
}

/// What the store below all nodes is to do with one session.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ToStore {
    /// Keep this.
    Put {
        /// How many commits it has seen.
        revision: Revision,
        /// The encoded session.
        state: Bytes,
    },
    /// Give what there is, and from now on neither give nor take anything under a lower tenure.
    Take,
    /// It has ended.
    End {
        /// For how long that is to be remembered.
        keep_for: Duration,
    },
}

/// What became of it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Stored {
    /// It is done: the row is there, or the end is remembered.
    Done,
    /// By this asking a row was not put, and never will be: the store said so, or was never reached.
    Refused,
    /// This is what there was.
    Row {
        /// The tenure under which it was put.
        tenure: Tenure,
        /// How many commits it has seen.
        revision: Revision,
        /// Under which tenure an earlier manager had it given out, since it was put.
        given_out: Option<Tenure>,
        /// The encoded session.
        state: Bytes,
    },
    /// There was nothing.
    Nothing,
    /// It has ended, and the store remembers that.
    Ended,
    /// There was something that nobody can read.
    Unreadable,
    /// Something was given out or put under a later tenure: nothing is given under this one.
    Superseded,
    /// Nobody knows: it may have been done, or may be done yet.
    Unknown,
}

/// A session that was sealed and taken out of the map.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SealedCopy {
    /// The session.
    pub id: SessionId,
    /// The tenure under which it was held.
    pub tenure: Tenure,
    /// How many commits it has seen.
    pub revision: Revision,
    /// The encoded session.
    pub state: Bytes,
}

impl SealedCopy {
    /// As it is offered, where it was asked for of an earlier incarnation.
    pub(super) fn returned(self) -> ReturnedCopy {
        ReturnedCopy {
            id: self.id,
            tenure: self.tenure,
            revision: self.revision,
            held: false,
            away_since: None,
            state: self.state,
        }
    }

    /// It was sealed in vain.
    pub(super) fn restored(self) -> Output {
        Output::Restore {
            id: self.id,
            tenure: self.tenure,
            revision: self.revision,
            state: self.state,
        }
    }
}

/// Something that the driver must do, in this order, before it gives the next input.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Output {
    /// Send a message. To itself: give it back as an input, after [`Input::Sealed`] of a session
    /// that was taken out meanwhile.
    Send {
        /// To whom.
        to: Incarnation,
        /// What.
        message: Message,
    },
    /// Have the store below all nodes do this, then give [`Input::Stored`]. What is asked again while it
    /// is under way for the same session under the same tenure is one asking.
    Store {
        /// The session.
        id: SessionId,
        /// The tenure under which.
        tenure: Tenure,
        /// What.
        ask: ToStore,
    },
    /// Take the session's exclusive lock, within a bound, encode it and take it out of the map;
    /// then give [`Input::Sealed`], [`Input::Busy`], [`Input::Unencodable`] or [`Input::Gone`], exactly
    /// one of them; [`Input::Waits`] before, where the lock cannot be had at once. Those that are sealed
    /// in one step are best given together.
    Seal(SessionId),
    /// Put a session that was sealed in vain back as it was: held.
    Restore {
        /// The session.
        id: SessionId,
        /// The tenure under which it is held.
        tenure: Tenure,
        /// How many commits it has seen.
        revision: Revision,
        /// The encoded session.
        state: Bytes,
    },
    /// Put a session that arrived into the map, in place of any other copy. It cannot fail: the driver
    /// has read the state before it gave the message. Handlers may run on it
    /// at once; no response head of theirs may leave before [`Output::Confirm`].
    Install {
        /// The session.
        id: SessionId,
        /// The tenure under which it is here.
        tenure: Tenure,
        /// How many commits it has seen.
        revision: Revision,
        /// The encoded session.
        state: Bytes,
    },
    /// The session that arrived under this tenure is held here now.
    Confirm {
        /// The session.
        id: SessionId,
        /// The confirmed tenure.
        tenure: Tenure,
    },
    /// Take the session out of the map: another copy is current, or it has ended. Requests that
    /// wait for it look again.
    Discard(SessionId),
    /// What became of [`Input::Find`] or [`Input::Register`], unless the session was installed.
    Found {
        /// The session.
        id: SessionId,
        /// What is known.
        found: Found,
    },
    /// Markers keep the ended session from coming back; its destroyer may be answered.
    Ended(SessionId),
    /// Sessions may be created in this bucket from now on, with the tenure 0 of this epoch.
    Open(BucketId, LayoutVersion),
    /// No session may be created in this bucket any more.
    Close(BucketId),
    /// A layout of at least this version exists; fetch it from the authority.
    WantLayout(LayoutVersion),
    /// Everything that this leaving member held is elsewhere, and it manages nothing. Said each
    /// time that [`Input::Evacuate`] is given and nothing is left.
    Evacuated,
    /// Something that an operator or a listener wants to know.
    Event(Event),
}

/// What became of a question about a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Found {
    /// It is in this node's own map.
    Here,
    /// That member holds it.
    At(Incarnation),
    /// It does not exist (any more); `lost` when it may have died with a node.
    Absent {
        /// Whether it may have died with a node, rather than have ended.
        lost: bool,
    },
    /// Registered as held here under this tenure; the session may be put into the map.
    Registered(Tenure),
    /// Nobody could say in time.
    Unavailable,
}

/// Something that an operator or a listener wants to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Event {
    /// A session died with its holder; nobody has a copy.
    Lost(SessionId),
    /// A copy of a session serves that may not be the newest, for no newer one is known; the newest may be
    /// gone.
    Stale(SessionId),
    /// A copy that served nobody, and might have, was dropped: told once, by the node that had it.
    Dropped(SessionId, Loser),
    /// Two copies of a session were held at once. This never happens while the rules hold.
    Fork(SessionId),
}

/// Why a copy was dropped that served nobody, and might have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Loser {
    /// Another copy serves.
    Outdated,
    /// The policy for stale copies did not take it, nor another one.
    Refused,
    /// Its session has ended.
    Ended,
}
