//! The store, opened as a program opens it.

mod contract;
