//! What the register says of who goes on if most voters die, and of generations that meet.
//!
//! It keeps what it is told, in order; when a change may be made, whoever leads decides.

use std::collections::BTreeSet;

use super::Register;
use crate::authority::Electorate;
use crate::bucket::LayoutVersion;
use crate::member::Incarnation;

impl Register {
    /// How many electorates are known at once, at most.
    pub const MOST_ELECTORATES: usize = 8;

    /// This electorate is about to hold, and until then those before it do as well. Whoever changes who
    /// votes names it first, waits until everybody who is in one of them knows of it or is no member any
    /// more, changes the voters, and then has it [settle](Register::settle). So nobody who may act ever
    /// takes an electorate for the only one that has been left behind.
    pub fn name(&mut self, electorate: Electorate) {
        if self.electorates.last() != Some(&electorate)
            && self.electorates.len() < Self::MOST_ELECTORATES
        {
            self.electorates.push(electorate);
        }
    }

    /// Only the electorate that was named last holds from now on.
    pub fn settle(&mut self) {
        let last = self.electorates.len().saturating_sub(1);
        self.electorates.drain(..last);
    }

    /// Who founds the next generation if most voters die; each of them is to be kept to.
    #[must_use]
    pub fn electorates(&self) -> &[Electorate] {
        &self.electorates
    }

    /// Every member votes: those who found together.
    pub(crate) fn all_vote(&mut self) {
        self.electorates = vec![Electorate {
            voters: self.layout.members.keys().copied().collect(),
            others: BTreeSet::new(),
        }];
    }

    /// Where the generation is not above this one, it is the next from now on; the members stay, and so
    /// do the managers. For a cluster that has met another one of the same generation: only a higher one
    /// can be joined by those who know a layout of theirs. The answer is the generation that holds.
    ///
    /// What they bring may have higher tenures than whatever was allotted here. So each bucket begins anew
    /// in this generation: its manager asks everybody, as after somebody's death, and allots higher ones.
    pub fn raise(&mut self, above: u32) -> u32 {
        if self.generation() <= above && above < LayoutVersion::LAST_GENERATION {
            let before_first = LayoutVersion::founding(above + 1);
            let nobody = Incarnation::new(before_first.as_u64());
            let first = before_first.next();
            self.layout.version = before_first;
            self.last = nobody;
            for placement in &mut self.layout.placements {
                placement.since = first;
                placement.previous = Some(nobody);
            }
            self.layout.unproven = first;
            self.bump();
        }
        self.generation()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authority::Charter;
    use crate::clock::Moment;
    use crate::member::{Founding, NodeName};

    fn founded() -> Register {
        let node = |name: &str| (NodeName::new(name), name.to_owned());
        let (name, address) = node("n1");
        let charter = Charter::default();
        let founding = Founding::new(7);
        let (mut register, _) = Register::found(charter, founding, 3, name, address, Moment::ZERO);
        let (name, address) = node("n2");
        register.join(name, address, Moment::ZERO);
        register
    }

    #[test]
    fn what_is_named_is_kept_to_beside_what_holds_until_it_settles() {
        let mut register = founded();
        let [first] = register.electorates() else {
            panic!("who founds votes: {:?}", register.electorates());
        };
        let first = first.clone();
        assert_eq!(first.voters.len(), 1);
        let of = |who: u64| Electorate {
            voters: BTreeSet::from([Incarnation::new(who)]),
            others: BTreeSet::new(),
        };
        register.name(of(9));
        register.name(of(9));
        assert_eq!(register.electorates(), [first, of(9)]);
        register.settle();
        register.settle();
        assert_eq!(register.electorates(), [of(9)]);
        for who in 10..100 {
            register.name(of(who));
        }
        assert_eq!(register.electorates().len(), Register::MOST_ELECTORATES);
        assert_eq!(register.check(), Ok(()));
    }

    #[test]
    fn a_register_that_is_raised_goes_on_with_its_members() {
        let mut register = founded();
        let before = register.clone();
        assert_eq!(register.raise(2), 3, "it is above that");
        assert_eq!(register, before);
        assert_eq!(register.raise(3), 4);
        assert_eq!(register.raise(3), 4);
        assert_eq!(register.check(), Ok(()));
        assert_eq!(register.layout().members, before.layout().members);
        assert!(register.layout().version > before.layout().version);
        let placements = before.layout().placements.iter();
        for (raised, before) in register.layout().placements.iter().zip(placements) {
            assert_eq!(raised.manager, before.manager);
            assert_eq!(raised.since, register.layout().version);
            let previous = raised.previous.expect("somebody else");
            assert!(!register.layout().is_member(previous));
        }
        let member = *before
            .layout()
            .members
            .keys()
            .next()
            .expect("there are two");
        assert!(register.renew(member, Moment::ZERO).is_ok());
        let joined = register.join(NodeName::new("n3"), "n3".to_owned(), Moment::ZERO);
        let youngest = before.layout().members.keys().max();
        assert!(youngest.is_some_and(|youngest| *youngest < joined.incarnation));
        assert_eq!(register.check(), Ok(()));
    }
}
