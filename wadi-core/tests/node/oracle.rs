//! What clients were told, and so may rely on: acknowledged appends stay, nothing is there twice, what
//! ended stays away, and what did not end is never called absent.

use std::collections::{BTreeMap, BTreeSet};

use parking_lot::Mutex;
use wadi_core::session::SessionId;

use crate::world::Refused;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Alive,
    /// Its end was asked for, or its id renewed, and nobody knows whether that has happened.
    Unknown,
    Ended,
}

#[derive(Clone, Debug)]
struct Known {
    state: State,
    acknowledged: BTreeSet<u32>,
}

/// Every client's memory together.
#[derive(Debug, Default)]
pub(crate) struct Oracle(Mutex<BTreeMap<SessionId, Known>>);

/// What was known when a request began.
#[derive(Debug)]
pub(crate) struct Before(Known);

impl Oracle {
    pub(crate) fn created(&self, id: SessionId, acknowledged: BTreeSet<u32>) {
        let state = State::Alive;
        let known = Known {
            state,
            acknowledged,
        };
        assert!(self.0.lock().insert(id, known).is_none());
    }

    /// The sessions that are alive, and some that are not.
    pub(crate) fn ids(&self) -> Vec<SessionId> {
        let sessions = self.0.lock();
        let (alive, others): (Vec<_>, Vec<_>) = sessions
            .iter()
            .partition(|(_, known)| known.state == State::Alive);
        let ids = alive.into_iter().chain(others.into_iter().take(12));
        ids.map(|(id, _)| *id).collect()
    }

    pub(crate) fn before(&self, id: &SessionId) -> Before {
        Before(self.0.lock()[id].clone())
    }

    /// The handler saw this list.
    pub(crate) fn saw(&self, before: &Before, list: &[u32]) {
        assert_ne!(before.0.state, State::Ended, "an ended session came back");
        let seen: BTreeSet<_> = list.iter().copied().collect();
        assert_eq!(seen.len(), list.len(), "an append happened twice");
        let lost: Vec<_> = before.0.acknowledged.difference(&seen).collect();
        assert!(lost.is_empty(), "acknowledged and lost: {lost:?}");
    }

    pub(crate) fn appended(&self, id: &SessionId, token: u32) {
        if let Some(known) = self.0.lock().get_mut(id) {
            known.acknowledged.insert(token);
        }
    }

    pub(crate) fn end_asked(&self, id: &SessionId) {
        let mut sessions = self.0.lock();
        let known = sessions.get_mut(id).expect("it was created");
        if known.state == State::Alive {
            known.state = State::Unknown;
        }
    }

    pub(crate) fn ended(&self, id: &SessionId) {
        self.0.lock().get_mut(id).expect("it was created").state = State::Ended;
    }

    /// A request got no session.
    pub(crate) fn refused(&self, id: &SessionId, refused: Refused) {
        if let Refused::Absent { lost } = refused {
            let state = self.0.lock()[id].state;
            assert_ne!(state, State::Alive, "falsely absent (lost: {lost})");
        }
    }

    pub(crate) fn alive(&self) -> usize {
        let sessions = self.0.lock();
        let alive = sessions
            .values()
            .filter(|known| known.state == State::Alive);
        alive.count()
    }

    pub(crate) fn is_alive(&self, id: &SessionId) -> bool {
        self.0.lock()[id].state == State::Alive
    }
}
