//! The pure protocol: who holds a session, who may be asked, and what happens when nodes come,
//! go and die.
//!
//! Input and `now` go in, outputs and timers come out. Nothing here awaits, locks, reads a clock,
//! draws a random number or opens a socket: a driver does what the outputs say, and a simulator
//! can be that driver.

mod asks;
mod by_bucket;
pub mod coordinator;
mod copies;
mod directory;
mod evacuation;
mod holdings;
mod io;
mod markers;
mod participant;
mod returned;
mod settings;
mod timer;
mod turn;

pub use directory::DirectoryFault;
pub use holdings::{Copy, Holdings};
pub use io::{Event, Found, Input, Loser, Output, SealedCopy, Stored, ToStore};
pub use participant::Participant;
pub use returned::ReturnedCopy;
pub use settings::Settings;
pub use timer::Timer;
