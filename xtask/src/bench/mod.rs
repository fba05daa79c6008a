//! Measures what sessions cost, beside what else costs in the same run, and holds it to budgets.
//!
//! Only what hardly changes from run to run and from machine to machine has a budget that fails: counts,
//! and never a time.

mod balance;
mod healing;
mod hops;
mod joining;
mod minority;
mod moving;
mod patron;
mod single;
mod spans;
mod times;

use clap::{Args, ValueEnum};

use crate::report::Report;

#[derive(Args)]
pub(crate) struct Options {
    /// Few requests and few sessions: enough to notice a budget that is blown.
    #[arg(long)]
    smoke: bool,
    /// Only this part; may be given several times.
    #[arg(long, value_enum, value_name = "PART")]
    only: Vec<Part>,
    /// How many sessions are evacuated, or there when a node joins [default: 1,000,000; with --smoke 20,000]
    #[arg(long, value_name = "N")]
    sessions: Option<usize>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Instructions and allocations of a request.
    Request,
    /// Live heap of a session.
    Memory,
    /// One session that moves between processes.
    Migration,
    /// All sessions of a node that leaves.
    Evacuation,
    /// How far requests go in a cluster.
    Hops,
    /// How long a cluster needs without a node that is gone.
    Healing,
    /// How long a few go on that were parted from the most.
    Minority,
    /// What requests notice of a node that joins.
    Join,
}

impl Options {
    /// What has a budget that holds on any machine.
    pub(crate) fn smoke() -> Self {
        Self {
            smoke: true,
            only: vec![Part::Request, Part::Memory],
            sessions: None,
        }
    }

    fn sessions(&self) -> usize {
        let usual = if self.smoke { 20_000 } else { 1_000_000 };
        self.sessions.unwrap_or(usual)
    }
}

pub(crate) fn run(options: &Options, report: &mut Report) {
    for part in Part::value_variants() {
        if options.only.is_empty() || options.only.contains(part) {
            part.run(options, report);
        }
    }
}

impl Part {
    fn run(self, options: &Options, report: &mut Report) {
        let smoke = options.smoke;
        match self {
            Self::Request => report.stage("bench: request", || single::fastpath(smoke)),
            Self::Memory => report.stage("bench: memory", || single::memory(smoke)),
            Self::Migration => report.stage("bench: migration", || moving::migration(smoke)),
            Self::Evacuation => {
                let sessions = options.sessions();
                report.stage("bench: evacuation", || moving::evacuation(sessions));
            }
            Self::Hops => report.stage("bench: hops", || hops::run(smoke)),
            Self::Healing => report.stage("bench: healing", || healing::run(smoke)),
            Self::Minority => report.stage("bench: minority", || minority::run(smoke)),
            Self::Join => {
                let sessions = options.sessions();
                report.stage("bench: join", || joining::run(sessions));
            }
        }
    }
}
