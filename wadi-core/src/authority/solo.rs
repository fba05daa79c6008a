//! The authority of a node that is alone: in its own process, at no cost.
//!
//! It never takes in a second member, so nothing is ever waited for, renewed or declared dead.

use super::lease::Lease;
use super::register::{Charter, Register};
use crate::bucket::Layout;
use crate::clock::Moment;
use crate::member::{Founding, Incarnation, NodeName};

/// One node's own register.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Solo {
    register: Register,
    incarnation: Incarnation,
}

impl Solo {
    /// Founds a cluster of one node, which is ready and manages every bucket.
    ///
    /// Whoever restarts founds again: give a `generation` above those of earlier starts where
    /// something of them is kept (sessions on disc or in a database), so that what they allotted
    /// is older than what this one allots; else 0.
    #[must_use]
    pub fn found(charter: Charter, generation: u32, node: NodeName, now: Moment) -> Self {
        let (register, joined) = Register::found(
            charter,
            Founding::IN_PROCESS,
            generation,
            node,
            String::new(),
            now,
        );
        Self {
            register,
            incarnation: joined.incarnation,
        }
    }

    /// The node's incarnation.
    #[must_use]
    pub const fn incarnation(&self) -> Incarnation {
        self.incarnation
    }

    /// The layout: one member, which manages every bucket.
    #[must_use]
    pub const fn layout(&self) -> &Layout {
        self.register.layout()
    }

    /// The node's lease: whoever pauses or ends the node pauses or ends its authority with it.
    #[must_use]
    pub const fn lease(&self) -> Lease {
        Lease::endless()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_node_manages_everything_for_ever() {
        let solo = Solo::found(Charter::default(), 0, NodeName::new("n1"), Moment::ZERO);
        let me = solo.incarnation();
        assert_eq!(solo.layout().check(), Ok(()));
        assert_eq!(solo.layout().managed_by(me), 4096);
        assert!(solo.layout().is_eligible(me));
        assert!(solo.lease().is_valid(Moment::from_nanos(u64::MAX)));
        assert_eq!(solo.lease().renewal_due(), None);
    }

    #[test]
    fn a_later_start_is_above_an_earlier_one() {
        let first = Solo::found(Charter::default(), 1, NodeName::new("n1"), Moment::ZERO);
        let second = Solo::found(Charter::default(), 2, NodeName::new("n1"), Moment::ZERO);
        assert!(second.incarnation() > first.incarnation());
        assert!(second.layout().version > first.layout().version);
    }
}
