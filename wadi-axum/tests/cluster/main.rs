//! Several nodes in one process, each with a real application: whatever node a request comes to, it
//! has its session.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod app;
mod arriving;
mod below;
mod client;
mod counting;
mod creating;
mod crowds;
mod declaring;
mod ending;
mod following;
mod hops;
mod layers;
mod proxying;
mod redirecting;
mod upgrades;
