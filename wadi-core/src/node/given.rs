//! What reaches a node's driver, all of it through its queue.

use std::sync::Arc;

use tokio::sync::oneshot;

use super::asking::Key;
use super::authority::Unreachable;
use super::locate::Located;
use super::status::{Left, NotDeclaredDead};
use crate::authority::Answer;
use crate::bucket::Layout;
use crate::clock::Moment;
use crate::member::Incarnation;
use crate::message::{Message, Want};
use crate::proof::Proof;
use crate::protocol::Stored;
use crate::session::{Guard, Registered, SessionId};

/// One thing that the driver is given.
pub(super) enum Given {
    /// A message arrived.
    Message {
        /// For which incarnation of this node.
        to: Incarnation,
        from: Incarnation,
        message: Message,
    },
    /// A request looks for a session that is not in the map.
    Find {
        id: SessionId,
        want: Want,
        reply: oneshot::Sender<Located>,
    },
    /// A session needs an id that this node cannot give it.
    Register {
        id: SessionId,
        reply: oneshot::Sender<Registered>,
    },
    /// A session's lock was had, or was not in time.
    Locked {
        /// For which incarnation of this node it was waited for.
        me: Incarnation,
        id: SessionId,
        alone: Option<Guard>,
    },
    /// Sessions ended: the departures have them.
    Departed,
    /// The lease was renewed.
    Leased,
    /// The network has a proof that a member's process has ended.
    Died {
        /// Which incarnation of this node was told.
        me: Incarnation,
        who: Incarnation,
        proof: Proof,
    },
    /// An operator says that a member has ended.
    DeclareDead {
        who: Incarnation,
        force: bool,
        reply: oneshot::Sender<Result<(), NotDeclaredDead>>,
    },
    /// The authority agreed a layout.
    Layout(Arc<Layout>),
    /// The authority answered, or did not.
    Answered {
        asked: Asked,
        answer: Result<Answer, Unreachable>,
    },
    /// What became of what the store below all nodes was asked.
    Stored(Vec<(Key, Stored)>),
    /// Nobody asks for these: they may go to the store below all nodes.
    Demote(Vec<SessionId>),
    /// Move everything to the others; requests lose what they still use then. Told whether
    /// everything was moved; `false` where nobody is there to take it.
    Evacuate {
        revoke_at: Moment,
        reply: oneshot::Sender<bool>,
    },
    /// Leave in good order, at the latest by then.
    Leave {
        until: Moment,
        reply: oneshot::Sender<Left>,
    },
}

/// What the authority was asked, and by which incarnation.
#[derive(Clone, Copy, Debug)]
pub(super) enum Asked {
    Join {
        sent_at: Moment,
    },
    Renew(Incarnation),
    Ready(Incarnation),
    Leave(Incarnation),
    Propose(Incarnation),
    Left(Incarnation),
    /// By whom, and who is dead.
    Declare(Incarnation, Incarnation),
}
