//! Who is at the other end: what a node says of itself when a connection begins.
//!
//! All of it is claimed by a node that has the cluster's key. It is not proven node by node: whoever
//! has the key may claim any name.

use std::fmt;

use serde::{Deserialize, Serialize};
use wadi_core::bucket::BucketCount;
use wadi_core::member::{Founding, Incarnation, NodeName};

/// What both ends must have in common.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cluster {
    /// The cluster's name: 1 to 255 bytes without control characters.
    pub name: String,
    /// The number of buckets, part of the cluster's identity.
    pub buckets: BucketCount,
}

/// A node's place with the authority; it changes when it joins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Membership {
    /// The generation of the authority that the node belongs to; 0 before it knows of one.
    pub generation: u32,
    /// Which start of the node this is; `None` until it has joined.
    pub incarnation: Option<Incarnation>,
    /// In which cluster, among those that were founded under one name; `None` until it has joined.
    pub founding: Option<Founding>,
}

impl Membership {
    /// Whether it has joined, and the same cluster as the other.
    #[must_use]
    pub fn is_with(&self, other: &Self) -> bool {
        self.founding.is_some() && self.founding == other.founding
    }
}

/// A node as it introduces itself.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peer {
    /// The name that people know it by.
    pub node: NodeName,
    /// Its place with the authority, at the time of the introduction.
    pub membership: Membership,
    /// Drawn at random when its endpoint started: tells two starts apart before they have joined.
    pub start: u64,
    /// Where it says that other nodes reach it.
    pub advertised: String,
}

impl Peer {
    /// Whether its texts are such as a node of ours gives itself: 1 to 255 bytes, without control
    /// characters, so that they can stand in a log line.
    pub(crate) fn is_well_formed(&self) -> bool {
        is_plain(self.node.as_str()) && is_plain(&self.advertised)
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.membership.incarnation {
            Some(incarnation) => write!(f, "{}/{incarnation:?}", self.node)?,
            None => write!(f, "{} (not joined)", self.node)?,
        }
        write!(f, " at {}", self.advertised)
    }
}

impl fmt::Debug for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Fit for a name, an address or a kind: 1 to 255 bytes and no control characters.
pub(crate) fn is_plain(text: &str) -> bool {
    (1..=255).contains(&text.len()) && !text.chars().any(char::is_control)
}
