//! Agreement on members, leases and layouts.
//!
//! Nothing here ever learns of a session. All of it is pure, commands and `now` in, answers out; but
//! for [`raft`], which has several nodes agree on the commands.

mod electorate;
mod lease;
mod quorum_loss;
#[cfg(feature = "raft")]
pub mod raft;
mod register;
mod solo;
mod tombstone;

pub use electorate::{Electorate, Heirs};
pub use lease::{Lease, RenewalNumber};
pub use quorum_loss::{NotOnQuorumLoss, OnQuorumLoss};
pub use register::{
    Answer, Charter, Command, Joined, LeftRefused, NotAMember, NotDeclared, ProposeRefused,
    Register, RegisterFault,
};
pub use solo::Solo;
pub use tombstone::{Death, Tombstone};

pub use crate::proof::Proof;
