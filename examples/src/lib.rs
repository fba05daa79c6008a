//! Runnable applications, and the modules that they are made of.

pub mod node;
