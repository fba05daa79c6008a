//! Endpoints over real loopback sockets, with real TLS.
//!
//! Nothing sleeps to be in time: tests wait for what they expect, up to a generous limit.

mod files;
mod hostile;
mod memory;
mod messages;
mod refusals;
mod scene;
mod streams;
