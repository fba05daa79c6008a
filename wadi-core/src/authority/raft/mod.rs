//! The authority among several nodes: one register, agreed with the Raft algorithm.
//!
//! Voters are 1, 3 or 5 of the members, never two at rest; every other member is a learner, so each
//! node's own replica tells it of layouts. Nothing is written to a disc: every start of a node is a
//! new incarnation, and the incarnation's number is its raft id. It never learns of a session.
//!
//! Time reaches the register only as readings of the leader's own clock, proposed together with
//! what they are about. openraft has timers of its own ([`Timing`]); they decide when somebody
//! stands for election, and nothing about leases or ownership.

mod acknowledged;
mod asker;
mod asking;
mod founding;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
mod gathering;
mod leader;
mod leased;
mod log;
mod machine;
mod message;
mod naming;
mod network;
mod node;
mod timing;
mod types;
mod voters;

pub use asker::AskFailed;
pub use founding::{Decision, Founders, Presence};
pub(crate) use gathering::{Gathering, GatheringSettings, Generations, Over, Saying};
pub use message::LARGEST_MESSAGE;
pub use node::{RaftAuthority, RaftSettings, StartFailed};
pub use timing::Timing;
pub use voters::{Step, Votes};
