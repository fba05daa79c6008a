//! Endpoints over real loopback sockets, with real TLS.
//!
//! Nothing sleeps to be in time: tests wait for what they expect, up to a generous limit.

#![allow(clippy::unwrap_used, reason = "all of this is tests")]

mod files;
mod hostile;
mod memory;
mod messages;
mod refusals;
mod scene;
mod streams;
