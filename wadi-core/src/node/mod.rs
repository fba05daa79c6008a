//! One node of a cluster: performs what the protocol says, on the node's own sessions.
//!
//! It is a shell, and thin: one task owns the protocol's participant, the coordinator's role and the
//! lease; takes inputs from one bounded queue, gives them in order and does what comes out. It
//! decides nothing itself. Every wait in here is bounded, and an unknown outcome is "unavailable",
//! never "absent".

#[cfg(feature = "raft")]
mod agreement;
mod asking;
mod authority;
mod below;
mod driver;
mod given;
mod handle;
mod holdings;
mod in_process;
mod lanes;
mod listen;
mod locate;
mod open;
mod settings;
mod status;
mod surroundings;
mod waiting;

pub use crate::authority::OnQuorumLoss;
pub use crate::message::Want;
pub use crate::protocol::{Event, Loser};
#[cfg(feature = "raft")]
pub use agreement::{Agreement, AgreementSettings};
pub use authority::{Answering, Authority, Unreachable};
pub use below::Below;
pub use handle::{Node, NotReady};
pub use in_process::InProcess;
pub use listen::{Listener, NobodyListens, PartEnd, StoreTold, Told};
pub use locate::Located;
pub use settings::NodeSettings;
pub use status::{Aftermath, Evacuation, Left, Migrations, NotDeclaredDead, Status};
pub use surroundings::Surroundings;
