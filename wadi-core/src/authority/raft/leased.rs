//! What a node's part knows beside what is agreed: until when it may act, and so has missed nothing; who
//! would go on; where else to ask.

use super::node::RaftAuthority;
use crate::authority::Electorate;
use crate::clock::Moment;

impl RaftAuthority {
    /// From now on it also asks there, instead of where it was told before.
    pub(super) fn hint(&self, addresses: Vec<String>) {
        *self.hints.lock() = addresses;
    }

    /// Until when this incarnation may act, by what it was granted so far.
    pub(super) fn leased_until(&self) -> Moment {
        *self.leased_until.lock()
    }

    /// Whether it may act now, and so is a member, whatever has reached it.
    pub(super) fn is_leased(&self) -> bool {
        self.clock.now() < self.leased_until()
    }

    /// Every electorate that may hold, by what this node knows, also by what is not agreed yet.
    pub(super) fn electorates(&self) -> Vec<Electorate> {
        let (agreed, applied) = self.machine.electorates();
        if agreed.is_empty() {
            return agreed;
        }
        let named = self.log.named_after(applied);
        // What was agreed in between has perhaps left the log.
        let (agreed_since, _) = self.machine.electorates();
        let mut all: Vec<_> = agreed;
        for electorate in named.into_iter().chain(agreed_since) {
            if !all.contains(&electorate) {
                all.push(electorate);
            }
        }
        all
    }
}
