//! One node alone, with a real application: its sessions from the first write to the end, and its listener.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod any_service;
mod bad_input;
mod browser;
mod caching;
mod churn;
mod client;
mod config;
mod leaving;
mod listener;
mod overlap;
mod renewal;
mod serving;
mod session;
mod store;
mod values;
