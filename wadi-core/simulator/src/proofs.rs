//! What nodes see of each other's processes: connections that end, and what comes of dialling again.
//!
//! Whether that proves a death is the product's own judgement. So a process that is paused, or cut off, is
//! dialled again too, and must not be taken for a dead one.

use wadi_core::member::{Incarnation, Place};
use wadi_core::proof::{Evidence, Proof};

use crate::authority::Call;
use crate::host::Process;
use crate::world::{Happening, MILLI, World};

/// All simulated processes run in one place.
pub(crate) const HERE: Place = Place::new(1);

/// The address at which the process on `host` listens.
pub(crate) fn address(host: usize) -> String {
    format!("127.0.0.1:{}", 7_000 + host)
}

/// Whether nodes of this run dial again when a connection ends.
#[derive(Debug)]
pub(crate) struct Proofs {
    rng: fastrand::Rng,
}

impl Proofs {
    /// Draws from numbers of its own, so a run without proofs is as if there were none anywhere.
    pub(crate) fn random(seed: u64) -> Option<Self> {
        let mut rng = fastrand::Rng::with_seed(seed.rotate_left(32));
        rng.bool().then_some(Self { rng })
    }
}

impl World {
    /// The connections of others to the process on `host` end, or seem to: each dials again in its own
    /// time, or some of them do.
    pub(crate) fn hang_up(&mut self, host: usize) {
        let Some(who) = self.hosts[host].incarnation() else {
            return;
        };
        let Some(proofs) = &mut self.proofs else {
            return;
        };
        let others = (0..self.hosts.len()).filter(|other| *other != host);
        let dials: Vec<_> = others
            .filter_map(|by| {
                let (dials, soon) = (proofs.rng.u32(0..3) > 0, proofs.rng.u32(0..3) > 0);
                let most = if soon { 20 } else { 1_500 };
                dials.then(|| (by, proofs.rng.u64(0..most * MILLI)))
            })
            .collect();
        for (by, wait) in dials {
            let start = self.hosts[by].start;
            self.after(
                wait,
                Happening::DialAgain {
                    host: by,
                    start,
                    to: host,
                    who,
                },
            );
        }
    }

    /// `host` dials the address at which `who` listened.
    pub(crate) fn dial_again(&mut self, host: usize, to: usize, who: Incarnation) {
        let Some(by) = self.hosts[host].incarnation() else {
            return;
        };
        let is_there = self.hosts[to].incarnation() == Some(who);
        let is_silent = self.cuts.blocks(host, to)
            || self.cuts.blocks(to, host)
            || self.hosts[to].paused_until.is_some_and(|at| at > self.now);
        if is_there && !is_silent {
            return;
        }
        let evidence = Evidence {
            // Whoever has been started there since answers, and does not refuse.
            is_refused: !is_silent && matches!(self.hosts[to].process, Process::Down),
            is_literal: true,
            was_connected: true,
            is_here: true,
            trusts_refusals: false,
        };
        if let Some(proof) = evidence.proof() {
            self.call(host, Call::Dead { by, who, proof });
        }
    }

    /// The process on `host`, which joined just now for the first time as `me`, listens where these did.
    pub(crate) fn prove_former_dead(&mut self, host: usize, me: Incarnation) {
        if self.proofs.is_none() {
            return;
        }
        let members = self.register.layout().members.keys();
        let former: Vec<_> = members
            .copied()
            .filter(|who| *who < me && self.where_is.get(who) == Some(&host))
            .collect();
        for who in former {
            let proof = Proof::BoundAddress;
            self.call(host, Call::Dead { by: me, who, proof });
        }
    }

    /// The authority hears of a proof.
    pub(crate) fn hear_of_death(&mut self, by: Incarnation, who: Incarnation, proof: Proof) {
        if self.register.prove_dead(by, who, proof).is_ok() {
            self.note(|| format!("{by:?} proves {who:?} dead: {proof:?}"));
            self.oracle.proven_dead(who, self.now);
            self.look_for_lost_markers();
        }
    }
}
