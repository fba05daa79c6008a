//! `cargo xtask demo`: a cluster to play with, on one machine, with nothing to install.
//!
//! Three reference nodes, a reverse proxy without affinity before them, a few browsers that click, and
//! a screen that shows what becomes of their sessions when nodes join, leave and die.

mod clicks;
mod proxy;
mod run;
mod screen;

pub(crate) use run::{Options, run};
