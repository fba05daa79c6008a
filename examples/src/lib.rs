//! Runnable applications, and the modules that they are made of.

pub mod node;

/// The README's example is compiled with every test.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
