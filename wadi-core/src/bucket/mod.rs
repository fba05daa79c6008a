//! Buckets: the fixed shards of the id space, and the layout that says who manages each.

mod assignment;
mod layout;

pub use assignment::AssignmentTerms;
pub use layout::{BucketCount, BucketId, Layout, LayoutFault, LayoutVersion, Placement};
