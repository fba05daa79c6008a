//! What a node may ask the leader for, and of whom. That it is who it says it is, nobody proves here:
//! this is against mistakes, and the cluster's key against strangers.

use crate::authority::{Command, Proof};
use crate::bucket::Layout;
use crate::member::Incarnation;

/// Bytes of a name or an address, at most.
pub(super) const LONGEST_NAME: usize = 255;

/// Whether the one that asks, who has no number before it has joined, may ask for it; the others are
/// for somebody else, or the leader's own duties.
pub(super) fn may_be_asked(
    command: &Command,
    by: Option<Incarnation>,
    layout: Option<&Layout>,
) -> bool {
    match command {
        Command::Expire | Command::TakeOver => false,
        Command::Join { node, address } => {
            node.as_str().len() <= LONGEST_NAME && address.len() <= LONGEST_NAME
        }
        // Each at its own word only.
        Command::Renew(who)
        | Command::Ready(who)
        | Command::Leave(who)
        | Command::Left {
            incarnation: who, ..
        } => by == Some(*who),
        Command::DeclareDead { incarnation, proof } => by.is_some_and(|by| {
            layout.is_none_or(|layout| may_prove(*proof, by, *incarnation, layout))
        }),
        Command::Propose { .. } => by.is_some(),
    }
}

/// Whether this member can have this proof of that one's death.
fn may_prove(proof: Proof, by: Incarnation, dead: Incarnation, layout: &Layout) -> bool {
    let address = |who| Some(layout.members.get(&who)?.address.as_str());
    let both = address(by).zip(address(dead));
    match proof {
        Proof::Operator => true,
        // Whoever has taken the place of another is a later one.
        Proof::DataDirectory => by > dead,
        Proof::BoundAddress => by > dead && both.is_none_or(|(by, dead)| by == dead),
        Proof::RefusedHere => by != dead && both.is_none_or(|(by, dead)| host(by) == host(dead)),
        // Nothing configures it yet.
        Proof::ClosedAndRefused => false,
    }
}

fn host(address: &str) -> &str {
    address.rsplit_once(':').map_or(address, |(host, _)| host)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authority::{Charter, Register};
    use crate::clock::Moment;
    use crate::member::{Founding, NodeName};

    fn i(number: u64) -> Incarnation {
        Incarnation::new(number)
    }

    /// n1 and n2 on one host, n3 on another, n4 at n2's address.
    fn layout() -> Layout {
        let (mut register, _) = Register::found(
            Charter::default(),
            Founding::IN_PROCESS,
            0,
            NodeName::new("n1"),
            "a:1".into(),
            Moment::ZERO,
        );
        for address in ["a:2", "b:1", "a:2"] {
            register.join(NodeName::new("n"), address.into(), Moment::ZERO);
        }
        register.layout().clone()
    }

    #[test]
    fn each_speaks_for_itself_only() {
        let layout = layout();
        let may = |command: &Command, by| may_be_asked(command, by, Some(&layout));
        for force in [false, true] {
            let incarnation = i(2);
            for command in [
                Command::Left { incarnation, force },
                Command::Leave(incarnation),
                Command::Ready(incarnation),
                Command::Renew(incarnation),
            ] {
                assert!(may(&command, Some(i(2))));
                assert!(!may(&command, Some(i(1))), "{command:?}");
                assert!(!may(&command, None), "{command:?}");
            }
        }
    }

    #[test]
    fn a_death_is_proven_by_who_can_know_of_it() {
        let layout = layout();
        let may = |proof, by, dead| {
            let command = Command::DeclareDead {
                incarnation: i(dead),
                proof,
            };
            may_be_asked(&command, Some(i(by)), Some(&layout))
        };
        assert!(may(Proof::Operator, 3, 1));
        assert!(may(Proof::BoundAddress, 4, 2) && !may(Proof::BoundAddress, 2, 4));
        assert!(!may(Proof::BoundAddress, 3, 2));
        assert!(may(Proof::DataDirectory, 4, 2) && !may(Proof::DataDirectory, 2, 4));
        assert!(may(Proof::RefusedHere, 1, 2) && !may(Proof::RefusedHere, 3, 2));
        assert!(!may(Proof::RefusedHere, 1, 1));
        assert!(!may(Proof::ClosedAndRefused, 1, 2));
    }
}
