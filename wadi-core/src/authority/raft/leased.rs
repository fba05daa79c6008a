//! What a node's part knows beside what is agreed: until when it may act, and so has missed nothing; who
//! would go on; where else to ask.

use std::collections::BTreeSet;

use super::message::KnownDeath;
use super::node::RaftAuthority;
use crate::authority::Electorate;
use crate::clock::Moment;
use crate::member::Incarnation;

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

    /// Who votes, or would be asked if all of those died, by any of its electorates.
    pub(super) fn asked(&self) -> BTreeSet<Incarnation> {
        let electorates = self.electorates().into_iter();
        electorates
            .flat_map(|electorate| electorate.voters.into_iter().chain(electorate.others))
            .collect()
    }

    /// The deaths that somebody had a proof of and that were agreed, by what this node knows.
    pub(super) fn agreed_deaths(&self) -> Vec<KnownDeath> {
        self.machine.agreed_deaths()
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
