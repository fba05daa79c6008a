//! A leaving member moves everything it holds to the buckets' managers.
//!
//! The layout has already given its buckets to others. It asks each manager to take each session;
//! that is an ordinary migration, so what is true of migrations is true of leaving.

use std::collections::BTreeSet;

use super::timer::Timer;
use super::turn::Turn;
use crate::message::{Body, Want};
use crate::session::SessionId;

/// An evacuation under way.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Evacuation {
    under_way: BTreeSet<SessionId>,
}

impl Evacuation {
    /// Keeps as many sessions under way as the settings allow. With `again`, those under way are
    /// asked for once more.
    pub(super) fn push(&mut self, turn: &mut Turn<'_>, again: bool) {
        let holdings = turn.holdings;
        self.under_way.retain(|id| holdings.get(id).is_some());
        if again {
            for id in self.under_way.clone() {
                Self::ask(turn, id);
            }
        }
        let room = turn
            .settings
            .evacuate_at_once
            .saturating_sub(self.under_way.len());
        if room == 0 {
            return;
        }
        for id in holdings.some(room, &|id| self.under_way.contains(id)) {
            self.under_way.insert(id);
            Self::ask(turn, id);
        }
    }

    fn ask(turn: &mut Turn<'_>, id: SessionId) {
        let manager = turn.manager(&id);
        if manager != turn.me {
            let want = Want::Move;
            turn.send(
                manager,
                Body::Find {
                    id,
                    to: manager,
                    want,
                },
            );
        }
        turn.timers
            .ensure(Timer::Evacuate, turn.now, turn.settings.retry);
    }
}
