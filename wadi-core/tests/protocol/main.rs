//! The session protocol as scripts: a few nodes, a network that can be cut, time that is moved by
//! hand, and one session that must have one owner throughout.
//!
//! Each test says in its name what holds, and drives nothing but the public participant.

mod dying;
mod ending;
mod fenced;
mod handing_over;
mod hostile;
mod leases;
mod leaving;
mod moving;
mod stale;
mod stored;
mod surviving;
mod taking_over;
mod waiting;
mod world;
