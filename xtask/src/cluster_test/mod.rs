//! `cargo xtask cluster-test`: real processes of the reference node, under load, checked.
//!
//! Simulated browsers ask random ready nodes; what they were told is judged by `check`, which knows
//! nothing of the inside. The seed decides what browsers do and who is chosen, not how the processes run.

mod below;
mod browser;
mod check;
mod door;
mod excuse;
mod ledger;
mod load;
mod options;
mod partition;
mod restart;
mod run;
mod sabotaged;
mod scenario;
mod stage;
mod storm;
mod tally;
mod verdict;

pub(crate) use options::Options;
pub(crate) use run::run;
pub(crate) use scenario::Scenario;
