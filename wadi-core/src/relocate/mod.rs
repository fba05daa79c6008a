//! Session to request, or request to session: the policy, and what it is told.
//!
//! Pure and small: it reads no clock and moves nothing. A node asks it and does what it says.

mod lately;
mod policy;
mod streaks;

pub use lately::Lately;
pub use policy::{Adaptive, Choice, Migrate, Neither, Proxy, Redirect, Relocation, Stray};
pub use streaks::{Streaks, Use};
