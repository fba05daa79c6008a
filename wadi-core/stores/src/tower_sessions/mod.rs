//! Any store of tower-sessions as a store below memory: it brings MySQL, MongoDB, DynamoDB and more.
//!
//! Such a store can create, save, load and delete, and compares nothing while it does. So the comparisons are made here,
//! between two calls, which holds within one process only; [`TowerSessionsStore`] says what that costs. It never
//! pretends to more: what such a store cannot say, it is not asked.

mod numbers;
mod record;
mod store;
#[cfg(test)]
mod tests;
mod write;

pub use store::TowerSessionsStore;
