//! Session to request, or request to session: the policy, and what it is told.
//!
//! Pure and small: it reads no clock and moves nothing. A node asks it and does what it says.

mod policy;
mod streaks;

pub use policy::{Adaptive, Choice, Migrate, Proxy, Relocation, Stray};
pub use streaks::{Streaks, Use};
