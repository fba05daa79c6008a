//! A request goes to its session's node: over HTTP/2, on a stream of the cluster.
//!
//! Bodies stream both ways, upgrades work, and a request goes over one such stream only: who
//! receives it serves it, or says where it should have gone.

mod arrived;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod headers;
mod hop;
mod lent;
mod load;
mod pool;
mod redirect;
mod send;

pub(crate) use arrived::Arrived;
pub(crate) use headers::take_off_with_named as take_off_hop_by_hop;
pub(crate) use hop::{Hop, Verdict, Wants};
pub(crate) use load::{Answer, Load, Received};
pub(crate) use pool::{
    AT_ONCE, GREETING, MAX_HEADERS, Pool, REQUESTS, UPGRADES, WINDOW, WINDOW_OF_ALL,
};
pub(crate) use redirect::Redirected;
pub(crate) use send::Sent;
