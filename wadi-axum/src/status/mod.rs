//! What a node says of itself and of its cluster, for people and for programs.
//!
//! It shows no id and no value, and decides nothing.

mod admin;
#[cfg(feature = "metrics")]
mod gauges;
mod page;
mod report;

pub use admin::guard;
pub use report::{
    AftermathReport, AuthorityReport, Evacuation, MemberReport, MigrationReport, SessionReport,
    StatusReport, StoreReport,
};
