//! Which sessions go from memory to the store below: small policies that look at numbers.
//!
//! A policy reads no clock and touches no session; it is asked about few at a time, and what it says is a
//! wish. Who is in use stays.

mod policies;

use std::fmt;
use std::time::Duration;

pub use policies::{AfterIdle, All, Always, Any, MoreBytes, MoreThan, Never, Pressure};

/// Chooses the sessions that go down.
///
/// Both methods are called on the task that looks at all sessions in turn, and return at once.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not choose which sessions go down",
    note = "implement `wadi_core::evict::Evicter`, or use one of the policies there, such as `AfterIdle`"
)]
pub trait Evicter: fmt::Debug + Send + Sync + 'static {
    /// Whether this session goes, for its own sake.
    fn evicts(&self, session: &Candidate) -> bool;

    /// How many go for the sake of the others, whichever they are: then those go that nobody has asked for
    /// for the longest time, among the few that are looked at together.
    fn excess(&self, load: &Load) -> usize {
        let _ = load;
        0
    }
}

/// A session in memory that nobody uses at this moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Candidate {
    /// For how long nobody has asked for it.
    pub idle: Duration,
    /// How many bytes its attributes count for.
    pub bytes: usize,
    /// Whether it is bytes already, and its values are not to be encoded.
    pub frozen: bool,
}

impl Candidate {
    /// One of which so much is known.
    #[must_use]
    pub const fn new(idle: Duration, bytes: usize, frozen: bool) -> Self {
        Self {
            idle,
            bytes,
            frozen,
        }
    }
}

/// How much there is in memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Load {
    /// How many sessions are in memory.
    pub sessions: usize,
    /// How many bytes their attributes count for, as of the last round over all of them.
    pub bytes: usize,
    /// How much of the memory that this process may have is taken, in thousandths; `None` where the system
    /// does not say.
    pub memory_taken: Option<u16>,
}

impl Load {
    /// So many sessions with so many bytes, and so many thousandths of the memory taken.
    #[must_use]
    pub const fn new(sessions: usize, bytes: usize, memory_taken: Option<u16>) -> Self {
        Self {
            sessions,
            bytes,
            memory_taken,
        }
    }
}
