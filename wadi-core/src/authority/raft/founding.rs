//! Whether a starting node founds a cluster, joins one, or waits. Pure: answers in, decision out.
//!
//! What keeps two clusters from coming of one list is not this decision but what follows it: the
//! backers are the first voters, a founding is complete only when all that a majority of the list
//! has agreed to its first entry, and one start of a node takes part in one founding. Any two
//! majorities of a list share a node. So an answer that is out of date costs a further try.

use std::collections::{BTreeMap, BTreeSet};

/// The addresses that a node was started with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Founders {
    addresses: BTreeSet<String>,
    /// How many there are to be, where the addresses are only those that a name gave just now.
    expected: usize,
}

/// What a node at an address says about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Presence {
    /// It is in no cluster.
    Waiting {
        /// Whom it would found with, an address.
        backs: Option<String>,
    },
    /// It is in no cluster, and about to found the next generation of the one that it was in.
    Succeeding,
    /// It is a member of a cluster of this generation.
    Member {
        /// The cluster's generation.
        generation: u32,
    },
}

/// What a starting node does next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It founds, and these are the first voters, itself included.
    Found(BTreeSet<String>),
    /// It joins through the node at this address.
    Join(String),
    /// It asks again, and says meanwhile whom it backs.
    Wait {
        /// Whom it would found with; `None` where it may not take part.
        backs: Option<String>,
    },
}

impl Founders {
    /// A node with no list: it founds alone.
    #[must_use]
    pub fn alone() -> Self {
        Self::default()
    }

    /// Somebody else founds: a node with this list joins, or waits.
    pub(super) fn nobody() -> Self {
        Self::default().with_expected(1)
    }

    /// These addresses, each once, whatever their order.
    #[must_use]
    pub fn of(addresses: impl IntoIterator<Item = String>) -> Self {
        let addresses: BTreeSet<_> = addresses.into_iter().collect();
        let expected = addresses.len();
        Self {
            addresses,
            expected,
        }
    }

    /// For addresses that a name gave: how many nodes found together. A smaller number than that of
    /// the addresses counts for nothing.
    #[must_use]
    pub fn with_expected(mut self, expected: usize) -> Self {
        self.expected = self.expected.max(expected);
        self
    }

    /// How many of them are a majority.
    #[must_use]
    pub const fn majority(&self) -> usize {
        self.expected / 2 + 1
    }

    /// What the node at `me` does, given what those said who answered lately.
    #[must_use]
    pub fn decide(&self, me: &str, answers: &BTreeMap<String, Presence>) -> Decision {
        let member = answers
            .iter()
            .filter_map(|(address, presence)| match presence {
                Presence::Member { generation } => Some((*generation, address)),
                Presence::Waiting { .. } | Presence::Succeeding => None,
            });
        // Of several generations the highest; of its members any, so always the same.
        if let Some((_, address)) = member.max_by_key(|(generation, _)| *generation) {
            return Decision::Join(address.clone());
        }
        // Its cluster is joined in a moment.
        if answers
            .values()
            .any(|answer| *answer == Presence::Succeeding)
        {
            return Decision::Wait { backs: None };
        }
        if self.expected == 0 {
            return Decision::Found(BTreeSet::from([me.to_owned()]));
        }
        if !self.addresses.contains(me) {
            return Decision::Wait { backs: None };
        }
        let waiting = self
            .addresses
            .iter()
            .filter(|address| address.as_str() == me || answers.contains_key(address.as_str()));
        // Everybody who hears the same chooses the same; else they ask again.
        let candidate = waiting.min().map_or(me, String::as_str);
        if candidate != me {
            return Decision::Wait {
                backs: Some(candidate.to_owned()),
            };
        }
        let backs_me = |address: &&String| match answers.get(address.as_str()) {
            Some(Presence::Waiting { backs }) => backs.as_deref() == Some(me),
            _ => address.as_str() == me,
        };
        let backers: BTreeSet<_> = self.addresses.iter().filter(backs_me).cloned().collect();
        if backers.len() >= self.majority() {
            Decision::Found(backers)
        } else {
            Decision::Wait {
                backs: Some(me.to_owned()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn backing(address: &str) -> Presence {
        Presence::Waiting {
            backs: Some(address.to_owned()),
        }
    }

    fn answers<const N: usize>(said: [(&str, Presence); N]) -> BTreeMap<String, Presence> {
        said.map(|(address, presence)| (address.to_owned(), presence))
            .into()
    }

    fn of(addresses: &[&str]) -> Founders {
        Founders::of(addresses.iter().map(|address| (*address).to_owned()))
    }

    fn wait(backs: Option<&str>) -> Decision {
        Decision::Wait {
            backs: backs.map(str::to_owned),
        }
    }

    #[test]
    fn a_node_without_a_list_founds_alone() {
        let decision = Founders::alone().decide("a", &answers([]));
        assert_eq!(decision, Decision::Found(["a".to_owned()].into()));
    }

    #[test]
    fn a_node_with_a_list_founds_with_a_majority_that_backs_it() {
        let list = of(&["a", "b", "c"]);
        assert_eq!(list.decide("a", &answers([])), wait(Some("a")));
        let undecided = Presence::Waiting { backs: None };
        assert_eq!(
            list.decide("a", &answers([("b", undecided)])),
            wait(Some("a"))
        );
        let decision = list.decide("a", &answers([("c", backing("a"))]));
        assert_eq!(
            decision,
            Decision::Found(["a".to_owned(), "c".to_owned()].into())
        );
    }

    #[test]
    fn the_lowest_that_answers_is_backed() {
        let list = of(&["c", "b", "a"]);
        assert_eq!(
            list.decide("c", &answers([("b", backing("b"))])),
            wait(Some("b"))
        );
        let both = answers([
            ("b", backing("c")),
            ("a", Presence::Waiting { backs: None }),
        ]);
        assert_eq!(list.decide("c", &both), wait(Some("a")));
    }

    #[test]
    fn whoever_is_not_on_its_own_list_never_founds() {
        let list = of(&["a", "b"]);
        let all = answers([("a", backing("x")), ("b", backing("x"))]);
        assert_eq!(list.decide("x", &all), wait(None));
    }

    #[test]
    fn whoever_is_not_on_the_list_backs_nobody() {
        let list = of(&["a", "b", "c"]);
        let strangers = answers([("x", backing("a")), ("y", backing("a"))]);
        assert_eq!(list.decide("a", &strangers), wait(Some("a")));
    }

    #[test]
    fn a_cluster_is_joined_the_higher_generation_first() {
        let member = |generation| Presence::Member { generation };
        let list = of(&["a", "b", "c"]);
        let both = answers([("b", member(1)), ("c", member(0))]);
        assert_eq!(list.decide("a", &both), Decision::Join("b".to_owned()));
        let alone = Founders::alone().decide("a", &both);
        assert_eq!(alone, Decision::Join("b".to_owned()));
        // Also one that is not on the list.
        assert_eq!(list.decide("x", &both), Decision::Join("b".to_owned()));
    }

    #[test]
    fn who_is_about_to_found_the_next_generation_is_waited_for() {
        let list = of(&["a", "b", "c"]);
        let backed = ("b", backing("a"));
        let heir = ("c", Presence::Succeeding);
        let heard = answers([backed.clone(), heir.clone()]);
        assert_eq!(list.decide("a", &heard), wait(None));
        let member = ("d", Presence::Member { generation: 1 });
        let heard = answers([backed, heir, member]);
        assert_eq!(list.decide("a", &heard), Decision::Join("d".to_owned()));
    }

    #[test]
    fn with_a_name_the_expected_number_counts() {
        let list = of(&["a", "b"]).with_expected(5);
        assert_eq!(list.majority(), 3);
        assert_eq!(
            list.decide("a", &answers([("b", backing("a"))])),
            wait(Some("a"))
        );
    }

    proptest! {
        /// Each node backs one at a time and hears of any part of the others: of all that could
        /// found at one instant there is one at most.
        #[test]
        fn one_founds_at_most(
            backs in proptest::collection::vec(0usize..7, 1..8),
            heard in proptest::collection::vec(any::<u8>(), 8),
        ) {
            let name = |number: usize| number.to_string();
            let list = Founders::of((0..backs.len()).map(name));
            let mut founders = 0;
            for me in 0..backs.len() {
                // What it decides also says whom it backs itself.
                let answers = backs
                    .iter()
                    .enumerate()
                    .filter(|(other, _)| *other != me && heard[me] & (1 << other) != 0)
                    .map(|(other, backs)| (name(other), backing(&name(*backs))))
                    .collect();
                if let Decision::Found(with) = list.decide(&name(me), &answers) {
                    prop_assert!(with.len() > backs.len() / 2);
                    prop_assert!(with.contains(&name(me)));
                    founders += usize::from(backs[me] == me);
                }
            }
            prop_assert!(founders <= 1);
        }
    }
}
