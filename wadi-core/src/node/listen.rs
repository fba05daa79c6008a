//! What a node tells whoever listens: an operator's log, metrics, a program's own hooks.

use std::fmt;

use crate::member::Incarnation;
use crate::proof::Proof;
use crate::protocol::Event;
use crate::store::StoreError;

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Told {
    /// This node takes part as this incarnation.
    Joined(Incarnation),
    /// The cluster has declared this incarnation dead; the node comes back as a new one, and offers
    /// so many sessions that it still has.
    Fenced {
        /// Who is no more.
        former: Incarnation,
        /// What it offers.
        offers: usize,
    },
    /// This node's part in what nodes agree upon is over, though nobody declared it dead; the node joins
    /// again, as somebody new.
    PartEnded(PartEnd),
    /// It is proven that the process of this member has ended; the cluster is asked to go on without it.
    Proven {
        /// Who has ended.
        who: Incarnation,
        /// How that is known.
        proof: Proof,
        /// Whether it was leaving as far as this node knows, and perhaps has left in good order.
        was_leaving: bool,
    },
    /// The protocol's own words.
    Session(Event),
    /// A session that came from that member could not be read, and was refused. It stays there.
    Unreadable {
        /// Who sent it.
        from: Incarnation,
    },
    /// A session cannot leave this node, because a value in it has no encoding.
    Unencodable {
        /// The value's Rust type.
        type_name: &'static str,
        /// What the encoder says, without the value.
        reason: &'static str,
    },
    /// The cluster has another number of buckets than this node was set up with: it is another
    /// cluster, or another configuration, and this node takes no part in it.
    OtherCluster,
    /// This node's driver failed, which is a fault in it or in a listener: it serves nothing any more.
    Died,
    /// About the store below all nodes.
    Store(StoreTold),
    /// This node has left, and so many of its sessions found no other place.
    Left {
        /// Sessions that are lost with it.
        left_behind: usize,
    },
}

/// Something about the store below all nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StoreTold {
    /// It does not do what it is asked. Sessions in memory are served; those in the store are answered 503,
    /// and none goes down until it is back. Told once, until [`StoreTold::Back`].
    Away(StoreError),
    /// It does what it is asked again.
    Back,
    /// It has given sessions out under later tenures than this cluster's: another cluster uses it, too. Those
    /// are answered 503. Told once until the next start.
    Superseded,
    /// It has a session that cannot be read; it stays there.
    Unreadable,
    /// No cluster is founded, because the store did not say of which generation it may be; it is asked again.
    NotFounded(StoreError),
}

/// Why a node's part in what nodes agree upon is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PartEnd {
    /// It failed, which is a fault in it.
    Failed,
    /// What is agreed has not reached it for longer than a lease, though it reaches those who agree: a
    /// connection may be cut one way.
    Behind,
    /// Most of those who agreed are gone for good, and nothing can be agreed with the rest of them.
    Abandoned,
    /// It has joined, and nobody ever told it what is agreed: the others do not reach it where it says that
    /// it is, or reach somebody else there. It joins again.
    Untold,
    /// Those who agree could not be reached for longer than a lease, and this node goes on without being
    /// certain that they do not.
    Unreachable,
    /// It has met another cluster of its name, which goes on in the place of both.
    Dissolved,
}

/// Is told what happens. Called from the node's own tasks: it returns at once and calls nothing back.
pub trait Listener: fmt::Debug + Send + Sync + 'static {
    /// Something happened.
    fn told(&self, what: Told);
}

/// Listens to nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct NobodyListens;

impl Listener for NobodyListens {
    fn told(&self, _: Told) {}
}
