//! What is due, and how long nothing is. One sleep on the node's clock serves all of it.

use std::time::Duration;

use super::{Driver, Life, ROUND};
use crate::clock::Moment;
use crate::protocol::Input;
use crate::protocol::coordinator;

/// The runtime's timers may stand still while the machine sleeps, and the node's clock does not: it
/// is looked at again after at most this long.
const LONGEST_NAP: Duration = Duration::from_secs(1);

impl Driver {
    /// How long nothing is due.
    pub(super) fn nap(&self) -> Duration {
        if !self.drained.is_empty() || !self.departures.is_empty() {
            return Duration::ZERO;
        }
        let leaving = self.leaving.as_ref().map(|leaving| leaving.until);
        let own = match &self.life {
            Life::Joining { again_at, .. } => *again_at,
            Life::Member(member) => [
                member.participant.next_timer().map(|(at, _)| at),
                member.coordinator.wake_at(),
                member.look_at,
                member.declare_at,
            ]
            .into_iter()
            .flatten()
            .min(),
            Life::Over => None,
        };
        let next = own.into_iter().chain(leaving).min();
        next.map_or(LONGEST_NAP, |at| at.since(self.now()).min(LONGEST_NAP))
    }

    pub(super) fn do_what_is_due(&mut self) {
        let now = self.now();
        self.bury_departed(ROUND);
        let is_due = |at: Option<Moment>| at.is_some_and(|at| at <= now);
        if is_due(self.leaving.as_ref().map(|leaving| leaving.until)) {
            self.leave_in_haste();
        }
        if self.leaving.is_some() {
            self.report_evacuation();
        }
        match &self.life {
            Life::Joining { again_at, .. } if is_due(*again_at) => self.ask_to_join(),
            Life::Joining { .. } | Life::Over => {}
            Life::Member(member) => {
                let looks = is_due(member.look_at);
                let declares = is_due(member.declare_at);
                let coordinates = is_due(member.coordinator.wake_at());
                if looks {
                    self.look_at_standing();
                }
                if declares {
                    self.declare_deaths();
                }
                if coordinates {
                    self.coordinate(coordinator::Input::Wake);
                }
                self.wake_participant(now);
            }
        }
    }

    /// Of the protocol's timers that were due at `now` so many as one round may take; what is left is
    /// due in the next.
    fn wake_participant(&mut self, now: Moment) {
        for _ in 0..ROUND {
            let Some(member) = self.member() else { return };
            match member.participant.next_timer() {
                Some((at, timer)) if at <= now => self.give(Input::Timer(timer)),
                _ => return,
            }
        }
    }
}
