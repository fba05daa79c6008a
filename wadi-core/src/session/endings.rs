//! A bounded memory of sessions that ended, so that their clients can be told why.
//!
//! It is a courtesy: forgetting an ending makes it look like a loss, and never brings one back.

use std::collections::{HashMap, VecDeque};
use std::fmt;

use parking_lot::Mutex;

use super::SessionId;

/// Why a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Nobody asked for it for its idle time, or its absolute time was over.
    Expired,
    /// Somebody destroyed it, or its id was renewed.
    Destroyed,
}

/// The last endings.
pub(super) struct Endings {
    limit: usize,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    reasons: HashMap<SessionId, Ending>,
    order: VecDeque<SessionId>,
}

impl Endings {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            limit,
            known: Mutex::default(),
        }
    }

    pub(super) fn remember(&self, id: SessionId, ending: Ending) {
        if self.limit == 0 {
            return;
        }
        let mut known = self.known.lock();
        if known.reasons.insert(id, ending).is_none() {
            known.order.push_back(id);
        }
        while known.order.len() > self.limit {
            if let Some(oldest) = known.order.pop_front() {
                known.reasons.remove(&oldest);
            }
        }
    }

    pub(super) fn of(&self, id: &SessionId) -> Option<Ending> {
        self.known.lock().reasons.get(id).copied()
    }
}

impl fmt::Debug for Endings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Endings({})", self.known.lock().order.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_is_forgotten_first() {
        let id = |n| SessionId::from_parts([n; 16], 1);
        let endings = Endings::new(2);
        for n in 1..=3 {
            endings.remember(id(n), Ending::Expired);
        }
        assert_eq!(endings.of(&id(1)), None);
        assert_eq!(endings.of(&id(2)), Some(Ending::Expired));
        endings.remember(id(3), Ending::Destroyed);
        assert_eq!(endings.of(&id(3)), Some(Ending::Destroyed));
    }
}
