//! What a node may ask the leader for, and of whom. That it is who it says it is, nobody proves here:
//! this is against mistakes, and the cluster's key against strangers.

use crate::authority::Command;
use crate::member::Incarnation;

/// Bytes of a name or an address, at most.
pub(super) const LONGEST_NAME: usize = 255;

/// Whether the one that asks, who has no number before it has joined, may ask for it; the others are
/// for somebody else, or the leader's own duties.
pub(super) fn may_be_asked(command: &Command, by: Option<Incarnation>) -> bool {
    match command {
        Command::Expire | Command::TakeOver | Command::Name(_) | Command::Settle => false,
        Command::Join { node, address, .. } => {
            node.as_str().len() <= LONGEST_NAME && address.len() <= LONGEST_NAME
        }
        // Each at its own word only.
        Command::Renew(who)
        | Command::Ready(who)
        | Command::Leave(who)
        | Command::Left {
            incarnation: who, ..
        } => by == Some(*who),
        // Whether it can have that proof, the register decides.
        Command::DeclareDead { by: prover, .. } => by == Some(*prover),
        Command::Propose { .. } | Command::Raise { .. } => by.is_some(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authority::Proof;
    fn i(number: u64) -> Incarnation {
        Incarnation::new(number)
    }

    #[test]
    fn each_speaks_for_itself_only() {
        let may = may_be_asked;
        for force in [false, true] {
            let incarnation = i(2);
            for command in [
                Command::Left { incarnation, force },
                Command::Leave(incarnation),
                Command::Ready(incarnation),
                Command::Renew(incarnation),
                Command::DeclareDead {
                    by: incarnation,
                    incarnation: i(3),
                    proof: Proof::Operator,
                },
            ] {
                assert!(may(&command, Some(i(2))));
                assert!(!may(&command, Some(i(1))), "{command:?}");
                assert!(!may(&command, None), "{command:?}");
            }
        }
    }
}
