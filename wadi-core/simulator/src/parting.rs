//! Faults have stopped, and a node leaves while somebody who died without proof may still come back: what
//! waits for that one must not go with the leaver.

use wadi_core::member::Incarnation;

use crate::host::Process;
use crate::world::{Happening, MILLI, SECOND, World};

/// After faults have stopped: who was away is back by then, and offers what it has.
pub(crate) const SOON: u64 = 1_500 * MILLI;

/// How long it may take, where nothing goes wrong.
const WITHIN: u64 = 4 * SECOND;

/// Whether a node leaves at the end of this run; by numbers of its own.
pub(crate) fn is_in(seed: u64) -> bool {
    fastrand::Rng::with_seed(seed.rotate_left(16) ^ 1).u32(0..4) == 0
}

impl World {
    /// Whoever has most copies that serve nobody is told to leave.
    pub(crate) fn part(&mut self) {
        let sealed = |host: &usize| {
            let participant = self.hosts[*host].participant();
            participant.map_or(0, wadi_core::protocol::Participant::sealed)
        };
        let most = (0..self.hosts.len()).max_by_key(sealed);
        let Some(host) = most.filter(|host| sealed(host) > 0) else {
            return;
        };
        let start = self.hosts[host].start;
        if let Process::Member {
            participant,
            leaving,
            ..
        } = &mut self.hosts[host].process
        {
            *leaving = true;
            let who = participant.me();
            let sealed = participant.sealed();
            self.note(|| format!("h{host} parts with {sealed} sealed copies"));
            self.after(WITHIN, Happening::Parted { host, start, who });
        }
    }

    /// It has had time enough.
    pub(crate) fn parted(&mut self, host: usize, who: Incarnation) {
        if self.hosts[host].incarnation() == Some(who) {
            let sealed = self.hosts[host].participant().map_or(0, |it| it.sealed());
            let held = self.hosts[host].map.sessions.len();
            self.fail(
                "leaves in good order",
                format!(
                    "h{host} cannot leave: {held} sessions and {sealed} sealed copies are left"
                ),
            );
        }
    }
}
