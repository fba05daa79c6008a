//! Who takes part in a cluster: nodes by name, and each start of a node by its incarnation.
//!
//! Everything that owns, asks or answers is an [`Incarnation`]; a name is for people.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// The name that people give a node; it says nothing about ownership.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct NodeName(Arc<str>);

impl NodeName {
    /// A node's name as given by its operator.
    #[must_use]
    pub fn new(name: impl Into<Arc<str>>) -> Self {
        Self(name.into())
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for NodeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for NodeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One start of one node; given by the authority when it joins, in join order, and never reused.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Incarnation(u64);

impl Incarnation {
    /// The store below all nodes, where there is one: the protocol speaks to it as to somebody who never
    /// dies. No authority gives this number, and nobody says it of himself.
    pub const STORE: Self = Self(u64::MAX);

    /// The incarnation with this number.
    #[must_use]
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// Its number; a later joiner's is higher.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl fmt::Debug for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "i{}", self.0)
    }
}

/// One founding of one cluster: a number drawn at random, so that a cluster is never taken for one
/// that was founded before it, under the same name and with the same numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Founding(u64);

impl Founding {
    /// Of a cluster that nobody outside of its process can reach, and so cannot mistake.
    pub const IN_PROCESS: Self = Self(0);

    /// The founding with this number.
    #[must_use]
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// Its number; which of two is higher says nothing.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }
}

/// A network of one running machine: what listens at an address there is reached by everybody in it
/// without anything between. Two machines, two starts of one, and two network namespaces differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Place(u64);

impl Place {
    /// The place with this number, which is drawn from what the machine says of itself.
    #[must_use]
    pub const fn new(number: u64) -> Self {
        Self(number)
    }
}

/// How far a member is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Standing {
    /// Has joined, and is not ready: it is given no buckets.
    Joining,
    /// Ready: it may be given buckets and sessions.
    Ready,
    /// Leaving in good order: it is no longer a target of anything.
    Leaving,
}

/// A member as the authority records it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Member {
    /// The name that people know it by.
    pub node: NodeName,
    /// Where other nodes reach it.
    pub address: String,
    /// Where it itself listens at exactly that address, which is then a literal one; `None` where that is
    /// not known.
    #[serde(default)]
    pub place: Option<Place>,
    /// How far it is in its life.
    pub standing: Standing,
}
