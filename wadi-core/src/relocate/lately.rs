//! For which sessions something was done a moment ago, so that it is not done again.
//!
//! It forgets: at most twice its capacity is remembered, the latest of it.

use std::collections::HashMap;
use std::time::Duration;

use crate::clock::Moment;
use crate::session::SessionId;

/// What was done lately.
#[derive(Debug)]
pub struct Lately {
    within: Duration,
    capacity: usize,
    young: HashMap<SessionId, Moment>,
    old: HashMap<SessionId, Moment>,
}

impl Lately {
    /// Remembers for `within` at least the last `capacity` sessions, and at most twice as many.
    #[must_use]
    pub fn new(within: Duration, capacity: usize) -> Self {
        Self {
            within,
            capacity: capacity.max(1),
            young: HashMap::new(),
            old: HashMap::new(),
        }
    }

    /// Whether it may be done now for this session; then it counts as done.
    pub fn may(&mut self, id: SessionId, now: Moment) -> bool {
        let known = self.young.get(&id).or_else(|| self.old.get(&id));
        if known.is_some_and(|done| now.since(*done) < self.within) {
            return false;
        }
        if self.young.len() >= self.capacity && !self.young.contains_key(&id) {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(id, now);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u8) -> SessionId {
        SessionId::from_parts([number; 16], 0)
    }

    fn at(second: u64) -> Moment {
        Moment::ZERO + Duration::from_secs(second)
    }

    #[test]
    fn it_is_done_once_within_the_time_and_for_each_session() {
        let mut lately = Lately::new(Duration::from_secs(10), 8);
        assert!(lately.may(id(1), at(1)));
        assert!(!lately.may(id(1), at(10)));
        assert!(lately.may(id(2), at(10)));
        assert!(lately.may(id(1), at(11)), "what was refused counts nothing");
        assert!(!lately.may(id(1), at(12)));
    }

    #[test]
    fn it_forgets_the_oldest() {
        let mut lately = Lately::new(Duration::from_secs(10), 2);
        for number in 0..100 {
            assert!(lately.may(id(number), at(1)));
        }
        assert!(lately.young.len() + lately.old.len() <= 4);
        assert!(!lately.may(id(99), at(1)));
        assert!(lately.may(id(0), at(1)));
    }
}
