//! Serving an application on a listener and leaving in good order.
//!
//! Nothing here knows what a session is; it moves the node's life forward and obeys it.

mod accept;
mod connection;
mod entrance;
mod leave;
mod signal;

pub(crate) use accept::{Listening, serve};
pub(crate) use leave::{Departure, leave_when_asked};
pub(crate) use signal::Signals;
