//! Whole networks as a node has them, over real sockets on loopback.

mod deaths;
mod ending;
mod log;
mod messages;
mod opening;
mod questions;
mod scene;
mod streams;
mod versions;
