//! The coordinator's role on each simulated host: the product's own, on the host's clock, with its
//! proposals and their answers on the same bad network as everything else.

use std::time::Duration;

use wadi_core::authority::{ProposeRefused, Register};
use wadi_core::bucket::LayoutVersion;
use wadi_core::member::Incarnation;
use wadi_core::protocol::coordinator::{Coordinator, Input, Oldest, Output, Pace};

use crate::authority::Call;
use crate::host::Process;
use crate::world::{Happening, World};

/// Faster than the product's, as the simulated leases are shorter.
const PACE: Pace = Pace {
    moves_per_step: 2,
    between_steps: Duration::from_millis(250),
    retry: Duration::from_millis(40),
    retry_most: Duration::from_millis(400),
};

/// The role as seen by a member that joined just now.
pub(crate) fn coordinator_of(me: Incarnation, register: &Register) -> Coordinator {
    Coordinator::new(me, Oldest, register.terms(), PACE)
}

impl World {
    /// Gives an input to the coordinator on `host`, and does what it says.
    pub(crate) fn coordinate(&mut self, host: usize, input: Input) {
        let now = self.hosts[host].clock.read(self.now);
        let Process::Member {
            participant,
            coordinator,
            ..
        } = &mut self.hosts[host].process
        else {
            return;
        };
        let me = participant.me();
        for output in coordinator.handle(input, now) {
            match output {
                Output::Propose {
                    against,
                    most_moves,
                } => {
                    self.note(|| format!("h{host} proposes against {against:?}"));
                    self.call(host, Call::Propose(me, against, most_moves));
                }
                Output::WantLayout(_) => self.want_layout(host),
            }
        }
        self.schedule_coordinator(host);
    }

    /// The moment that the coordinator on `host` named may have come.
    pub(crate) fn coordinator_wakes(&mut self, host: usize) {
        self.hosts[host].coordinator_wakes_at = None;
        self.coordinate(host, Input::Wake);
    }

    /// The authority answered a proposal of `proposer`, which may be no more.
    pub(crate) fn proposal_answered(
        &mut self,
        host: usize,
        proposer: Incarnation,
        answer: Result<LayoutVersion, ProposeRefused>,
    ) {
        if self.hosts[host].incarnation() == Some(proposer) {
            self.coordinate(host, Input::Answer(answer));
        }
    }

    fn schedule_coordinator(&mut self, host: usize) {
        let machine = &self.hosts[host];
        let Process::Member { coordinator, .. } = &machine.process else {
            return;
        };
        let Some(moment) = coordinator.wake_at() else {
            return;
        };
        let at = machine.clock.when(moment).max(self.now);
        let start = machine.start;
        if machine.coordinator_wakes_at.is_none_or(|known| known > at) {
            self.hosts[host].coordinator_wakes_at = Some(at);
            let wait = at - self.now;
            self.after(wait, Happening::CoordinatorWakes { host, start });
        }
    }
}
