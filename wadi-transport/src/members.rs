//! Who is a member, as whoever stands above said last.
//!
//! It decides nothing: it remembers what it is told, and knows that whoever joins later has the
//! higher number.

use std::collections::BTreeSet;

use wadi_core::member::Incarnation;

/// The members of one layout.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Members(BTreeSet<Incarnation>);

impl Members {
    /// Whether this incarnation is among them.
    #[must_use]
    pub fn has(&self, incarnation: Incarnation) -> bool {
        self.0.contains(&incarnation)
    }

    /// Whether it is among them, or joined after all of them: the layout that names it may still be
    /// on its way. Whoever was among them and is gone is neither.
    #[must_use]
    pub fn may_have(&self, incarnation: Incarnation) -> bool {
        self.has(incarnation) || self.0.last().is_none_or(|last| incarnation > *last)
    }
}

impl FromIterator<Incarnation> for Members {
    fn from_iter<I: IntoIterator<Item = Incarnation>>(members: I) -> Self {
        Self(members.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_gone_is_no_member_and_who_comes_may_be_one() {
        let members: Members = [2, 5].map(Incarnation::new).into_iter().collect();
        let may_be = [1, 2, 3, 5, 6].map(|number| members.may_have(Incarnation::new(number)));
        assert_eq!(may_be, [false, true, false, true, true]);
        assert!(!members.has(Incarnation::new(6)));
        assert!(Members::default().may_have(Incarnation::new(1)));
    }
}
