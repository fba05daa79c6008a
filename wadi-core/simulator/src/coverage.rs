//! Which faults struck which phases of the protocol, counted over all runs.

use std::collections::BTreeMap;
use std::fmt;

use wadi_core::message::{Body, Scope, Want};
use wadi_core::protocol::Timer;

/// A phase of the protocol that can be under way when a fault strikes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    Finding,
    Registering,
    Releasing,
    Arriving,
    Dropping,
    Ending,
    Marking,
    Offering,
    HandingOver,
    Rebuilding,
    Resolving,
    Evacuating,
}

impl Phase {
    pub(crate) const ALL: [Self; 12] = [
        Self::Finding,
        Self::Registering,
        Self::Releasing,
        Self::Arriving,
        Self::Dropping,
        Self::Ending,
        Self::Marking,
        Self::Offering,
        Self::HandingOver,
        Self::Rebuilding,
        Self::Resolving,
        Self::Evacuating,
    ];

    /// The phase that a running timer belongs to.
    pub(crate) fn of_timer(timer: Timer) -> Option<Self> {
        Some(match timer {
            Timer::Ask(_) => Self::Finding,
            Timer::Register(_) => Self::Registering,
            Timer::Release(_) => Self::Releasing,
            Timer::Arrived(_) => Self::Arriving,
            Timer::Drop(_) => Self::Dropping,
            Timer::End(_) => Self::Ending,
            Timer::Mark(_) => Self::Marking,
            Timer::Offer(_) => Self::Offering,
            Timer::Pull(_) | Timer::HandOver(_) => Self::HandingOver,
            Timer::Inquire(Scope::Bucket(_)) => Self::Rebuilding,
            Timer::Inquire(Scope::Session(..)) => Self::Resolving,
            Timer::Evacuate | Timer::Entrust(_) => Self::Evacuating,
            Timer::Missing(_) | Timer::Forget => return None,
        })
    }

    /// The phase that a message belongs to.
    pub(crate) fn of_message(body: &Body, leaving: bool) -> Option<Self> {
        Some(match body {
            Body::Find {
                want: Want::Move, ..
            } if leaving => Self::Evacuating,
            Body::Find { .. } | Body::Answer { .. } => Self::Finding,
            Body::Register { .. } | Body::Registered { .. } => Self::Registering,
            Body::Release { .. } | Body::Busy { .. } | Body::NotHere { .. } => Self::Releasing,
            Body::State { .. } | Body::Arrived { .. } | Body::Confirmed { .. } => Self::Arriving,
            Body::Drop { .. } | Body::Dropped { .. } => Self::Dropping,
            Body::End { .. } | Body::Ended { .. } => Self::Ending,
            Body::Mark { .. } | Body::Marked { .. } => Self::Marking,
            Body::Offer { .. } | Body::Refuse { .. } => Self::Offering,
            Body::Entrust { .. } | Body::Entrusted { .. } => Self::Evacuating,
            Body::Pull { .. }
            | Body::Directory { .. }
            | Body::NotMine { .. }
            | Body::Pulled { .. } => Self::HandingOver,
            Body::Inquire {
                scope: Scope::Bucket(_),
                ..
            }
            | Body::Report {
                scope: Scope::Bucket(_),
                ..
            } => Self::Rebuilding,
            Body::Inquire { .. } | Body::Report { .. } => Self::Resolving,
            Body::Stale { .. } => return None,
        })
    }
}

/// A kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fault {
    Loss,
    Duplicate,
    Delay,
    OneWay,
    Partition,
    Pause,
    Crash,
    Leave,
    Authority,
    Generation,
}

impl Fault {
    pub(crate) const ALL: [Self; 10] = [
        Self::Loss,
        Self::Duplicate,
        Self::Delay,
        Self::OneWay,
        Self::Partition,
        Self::Pause,
        Self::Crash,
        Self::Leave,
        Self::Authority,
        Self::Generation,
    ];
}

/// Fault × phase → how often.
#[derive(Clone, Debug, Default)]
pub(crate) struct Coverage(BTreeMap<(Fault, Phase), u64>);

impl Coverage {
    pub(crate) fn count(&mut self, fault: Fault, phase: Phase) {
        *self.0.entry((fault, phase)).or_default() += 1;
    }

    pub(crate) fn get(&self, fault: Fault, phase: Phase) -> u64 {
        self.0.get(&(fault, phase)).copied().unwrap_or(0)
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        for (cell, count) in &other.0 {
            *self.0.entry(*cell).or_default() += count;
        }
    }

    /// The least covered cell and its count.
    pub(crate) fn least(&self) -> (u64, Fault, Phase) {
        let cells = Fault::ALL
            .iter()
            .flat_map(|fault| Phase::ALL.iter().map(|phase| (*fault, *phase)));
        cells
            .map(|(fault, phase)| (self.get(fault, phase), fault, phase))
            .min()
            .expect("there are faults and phases")
    }
}

impl fmt::Display for Coverage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>12}", "")?;
        for fault in Fault::ALL {
            write!(f, " {:>10}", format!("{fault:?}"))?;
        }
        writeln!(f)?;
        for phase in Phase::ALL {
            write!(f, "{:>12}", format!("{phase:?}"))?;
            for fault in Fault::ALL {
                write!(f, " {:>10}", self.get(fault, phase))?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}
