//! Nodes that found, join, come back and leave by themselves, as scripts: each with its agreement, on
//! a network in memory that can be cut.
//!
//! Time is the runtime's paused time, so a test takes as long as its work and does not depend on how
//! fast the machine is.

mod chaos;
mod failing_over;
mod founding;
mod generations;
mod joining;
mod layouts;
mod leaving;
mod net;
mod pausing;
mod succeeding;
mod whole;
mod world;
