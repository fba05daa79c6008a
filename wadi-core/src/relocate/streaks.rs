//! By which way a session's requests came last, for the sessions of which some came by others.
//!
//! It forgets: at most twice its capacity is remembered, the latest of it.

use std::collections::HashMap;

use crate::clock::Moment;
use crate::member::Incarnation;
use crate::session::SessionId;

/// Requests in a row by way of one other node.
#[derive(Clone, Copy, Debug)]
struct Row {
    via: Incarnation,
    length: u32,
    /// When the session was last used, as far as these requests know: whoever used it later came by
    /// another way.
    used: Moment,
}

/// When a request's session was last used, before it and with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Use {
    /// Before the request.
    pub before: Moment,
    /// With it.
    pub with: Moment,
}

/// The rows of requests that one holder knows.
#[derive(Debug)]
pub struct Streaks {
    capacity: usize,
    young: HashMap<SessionId, Row>,
    old: HashMap<SessionId, Row>,
}

impl Streaks {
    /// Remembers at least the last `capacity` sessions, and at most twice as many.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self {
            capacity: capacity.max(1),
            young: HashMap::new(),
            old: HashMap::new(),
        }
    }

    /// A request of this session came by way of `via`; how many came so in a row, this one included.
    pub fn came(&mut self, id: SessionId, via: Incarnation, used: Use) -> u32 {
        let known = self.young.get(&id).or_else(|| self.old.get(&id)).copied();
        // Overlapping requests see the session used by each other, which breaks no row.
        let goes_on = known.filter(|row| row.via == via && used.before <= row.used);
        let row = Row {
            via,
            length: goes_on.map_or(1, |row| row.length.saturating_add(1)),
            used: goes_on.map_or(used.with, |row| row.used.max(used.with)),
        };
        if self.young.len() >= self.capacity && !self.young.contains_key(&id) {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(id, row);
        row.length
    }

    /// The session is not here any more.
    pub fn forget(&mut self, id: &SessionId) {
        self.young.remove(id);
        self.old.remove(id);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const N2: Incarnation = Incarnation::new(2);
    const N3: Incarnation = Incarnation::new(3);

    fn id(number: u8) -> SessionId {
        SessionId::from_parts([number; 16], 0)
    }

    fn at(second: u64) -> Moment {
        Moment::ZERO + Duration::from_secs(second)
    }

    fn used(before: u64, with: u64) -> Use {
        Use {
            before: at(before),
            with: at(with),
        }
    }

    #[test]
    fn requests_by_one_way_are_a_row_and_any_other_ends_it() {
        let mut streaks = Streaks::new(8);
        assert_eq!(streaks.came(id(1), N2, used(0, 1)), 1);
        assert_eq!(streaks.came(id(1), N2, used(1, 2)), 2);
        assert_eq!(streaks.came(id(2), N2, used(0, 1)), 1);
        assert_eq!(streaks.came(id(1), N3, used(2, 3)), 1);
        assert_eq!(streaks.came(id(1), N2, used(3, 4)), 1);
        // A request that came to the holder itself is told of by nobody, and used the session.
        assert_eq!(streaks.came(id(1), N2, used(5, 6)), 1);
        assert_eq!(streaks.came(id(1), N2, used(6, 7)), 2);
        // Two that overlap.
        assert_eq!(streaks.came(id(1), N2, used(7, 9)), 3);
        assert_eq!(streaks.came(id(1), N2, used(7, 8)), 4);
        assert_eq!(streaks.came(id(1), N2, used(9, 10)), 5);
        streaks.forget(&id(1));
        assert_eq!(streaks.came(id(1), N2, used(10, 11)), 1);
    }

    #[test]
    fn it_forgets_the_oldest() {
        let mut streaks = Streaks::new(2);
        for number in 0..100 {
            streaks.came(id(number), N2, used(0, 1));
        }
        assert!(streaks.young.len() + streaks.old.len() <= 4);
        assert_eq!(streaks.came(id(99), N2, used(1, 2)), 2);
        assert_eq!(streaks.came(id(0), N2, used(1, 2)), 1);
    }
}
