//! Exhaustive models of the rules that keep two nodes from owning the same thing.
//!
//! They drive the product's own register and lease through every interleaving within small
//! bounds. Each rule can be left out; then a model must find a counterexample, or it proves
//! nothing. What the models cannot reach is said by their bounds.

pub mod generations;
pub mod leases;
pub mod process;
pub mod report;
pub mod sessions;
pub mod succession;
