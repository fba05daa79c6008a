//! What a node saw of a member's process, and whether that proves its end.
//!
//! Rule 1 is kept here: a living process must never be declared dead on such a proof. So silence proves
//! nothing, however long, and a refusal only where nothing can stand between.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::member::{Incarnation, Member};
use crate::sabotage::{self, Rule};

/// Why a process is known to have ended, whatever its lease says. Never a timeout, never a
/// refusal by a name or virtual address: a proxy can refuse for a living process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Proof {
    /// A new incarnation holds the lock of the same data directory.
    DataDirectory,
    /// A new incarnation has bound the same address of its own host.
    BoundAddress,
    /// The kernel refused a connection to an address of the asker's own host.
    RefusedHere,
    /// Where configured: an authenticated connection to that very incarnation was closed, and
    /// reconnecting to the same literal address was refused.
    ClosedAndRefused,
    /// An operator said so.
    Operator,
}

impl Proof {
    /// Whether this member can have this proof of that one's death. A name is never an address, and what
    /// is proven by this host's kernel is proven of who listens in the same place only.
    #[must_use]
    pub fn fits(
        self,
        (by, prover): (Incarnation, &Member),
        (dead, member): (Incarnation, &Member),
    ) -> bool {
        let is_literal = member.address.parse::<SocketAddr>().is_ok();
        let is_here = member.place.is_some() && member.place == prover.place;
        match self {
            Self::Operator => true,
            // Whoever has taken the place of another is a later one.
            Self::DataDirectory => by > dead,
            Self::BoundAddress => {
                by > dead && is_literal && is_here && member.address == prover.address
            }
            Self::RefusedHere => by != dead && is_literal && is_here,
            Self::ClosedAndRefused => by != dead && is_literal,
        }
    }
}

/// How an attempt to connect to a member ended, and what is known of the way there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Evidence {
    /// The kernel at the address answered that nobody listens there. Not that nothing came, that the way
    /// there is broken, or that somebody answered who would not have the connection.
    pub is_refused: bool,
    /// The member advertised a literal address, and that one was dialled: a name may lead to another
    /// host by now, or to a proxy.
    pub is_literal: bool,
    /// An authenticated connection to that very incarnation, at that address, was open before, and has
    /// ended.
    pub was_connected: bool,
    /// The address is of this host, and the member listens at it in the same place as this node: no
    /// kernel but this one can have refused. It knows, unless an administrator has it refuse for a
    /// process that lives.
    pub is_here: bool,
    /// This node is configured to trust the kernels of other hosts, and the network between.
    pub trusts_refusals: bool,
}

impl Evidence {
    /// What it proves, if anything.
    #[must_use]
    pub fn proof(self) -> Option<Proof> {
        let is_refused = self.is_refused || sabotage::is_off(Rule::Proof);
        if !(is_refused && self.is_literal && self.was_connected) {
            return None;
        }
        if self.is_here {
            Some(Proof::RefusedHere)
        } else {
            self.trusts_refusals.then_some(Proof::ClosedAndRefused)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: Evidence = Evidence {
        is_refused: true,
        is_literal: true,
        was_connected: true,
        is_here: true,
        trusts_refusals: false,
    };

    #[test]
    fn a_refusal_by_this_host_is_a_proof() {
        assert_eq!(HERE.proof(), Some(Proof::RefusedHere));
    }

    #[test]
    fn elsewhere_a_refusal_counts_only_when_configured() {
        let elsewhere = Evidence {
            is_here: false,
            ..HERE
        };
        assert_eq!(elsewhere.proof(), None);
        let trusted = Evidence {
            trusts_refusals: true,
            ..elsewhere
        };
        assert_eq!(trusted.proof(), Some(Proof::ClosedAndRefused));
    }

    #[test]
    fn silence_a_name_and_who_was_never_connected_prove_nothing() {
        for trusts_refusals in [false, true] {
            for is_here in [false, true] {
                let all = Evidence {
                    is_here,
                    trusts_refusals,
                    ..HERE
                };
                let silent = Evidence {
                    is_refused: false,
                    ..all
                };
                let name = Evidence {
                    is_literal: false,
                    ..all
                };
                let stranger = Evidence {
                    was_connected: false,
                    ..all
                };
                for nothing in [silent, name, stranger] {
                    assert_eq!(nothing.proof(), None, "{nothing:?}");
                }
            }
        }
    }
}
