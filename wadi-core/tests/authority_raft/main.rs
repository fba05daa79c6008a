//! The raft authority as scripts: several nodes in one process, on a network that can be cut.
//!
//! Leases are real and short. What must hold is checked against the clock only in the direction in
//! which a slow machine cannot make it fail; what must come about is waited for.

mod agreeing;
mod failing;
mod net;
mod voting;
mod world;
