//! The authority dies with most of those who agree, and whoever is left founds the next generation.
//!
//! How the heirs come to agree on that is the real authority's affair. Of its timing this keeps what counts
//! here: nothing is agreed or granted in between, the next generation begins when every lease of the last
//! one is over and at no certain time after, and its founder is somebody of the last one, where such a one
//! is left.

use wadi_core::authority::Register;
use wadi_core::member::{Founding, NodeName};

use crate::ONCE_FAILED;
use crate::coverage::Fault;
use crate::host::{Process, SkewedClock};
use crate::proofs;
use crate::world::{Happening, LEASE, MILLI, SECOND, World};

/// Whether the authority of this run may die, and whether it is dead.
#[derive(Debug)]
pub(crate) struct Generations {
    rng: fastrand::Rng,
    is_dead: bool,
}

impl Generations {
    /// Draws from numbers of its own, so a run of one generation is as if there were no others anywhere.
    pub(crate) fn random(seed: u64) -> Option<Self> {
        // Those failed in worlds of one generation, and are kept as they were.
        if ONCE_FAILED.contains(&seed) {
            return None;
        }
        let mut rng = fastrand::Rng::with_seed(seed.rotate_left(17));
        let is_dead = false;
        (rng.u32(0..3) == 0).then_some(Self { rng, is_dead })
    }
}

impl World {
    /// Nothing is agreed now.
    pub(crate) fn has_no_authority(&self) -> bool {
        let generations = self.generations.as_ref();
        generations.is_some_and(|generations| generations.is_dead)
    }

    /// Some time from now the authority dies, in a run where it may.
    pub(crate) fn doom_the_authority(&mut self) {
        if let Some(generations) = &mut self.generations {
            let wait = generations.rng.u64(2 * SECOND..9 * SECOND);
            self.after(wait, Happening::AuthorityDies);
        }
    }

    /// Most members are killed at once, and the authority with them.
    pub(crate) fn authority_dies(&mut self) {
        if !self.faulty() {
            return;
        }
        for host in 0..self.hosts.len() {
            for phase in self.phases(host) {
                self.coverage.count(Fault::Generation, phase);
            }
        }
        self.note(|| "the authority dies".into());
        let mut members: Vec<usize> = (0..self.hosts.len())
            .filter(|host| self.hosts[*host].incarnation().is_some())
            .collect();
        let Some(generations) = &mut self.generations else {
            return;
        };
        generations.is_dead = true;
        generations.rng.shuffle(&mut members);
        let most = members.len().saturating_sub(1);
        let killed = generations
            .rng
            .usize(most.min(members.len() / 2 + 1)..=most);
        // By the slowest clock a lease is over then.
        let lease = LEASE.as_nanos() as u64;
        let wait = lease + lease / 10 + generations.rng.u64(0..SECOND);
        for host in members.into_iter().take(killed) {
            self.crash(host);
        }
        self.after(wait, Happening::NextGeneration);
    }

    /// Somebody founds the next generation; all others come to it as they are refused by the last one.
    pub(crate) fn next_generation(&mut self) {
        let is_awake = |host: &usize| {
            let paused = self.hosts[*host].paused_until;
            paused.is_none_or(|until| until <= self.now)
        };
        let is_heir = |host: &usize| matches!(self.hosts[*host].process, Process::Member { .. });
        let is_up = |host: &usize| matches!(self.hosts[*host].process, Process::Joining { .. });
        let awake: Vec<usize> = (0..self.hosts.len()).filter(is_awake).collect();
        let heirs: Vec<usize> = awake.iter().copied().filter(is_heir).collect();
        let others: Vec<usize> = awake.into_iter().filter(is_up).collect();
        let skew = self.temper.skew;
        let Some(generations) = &mut self.generations else {
            return;
        };
        let founder = generations.rng.choice(heirs);
        let Some(host) = founder.or_else(|| generations.rng.choice(others)) else {
            self.after(100 * MILLI, Happening::NextGeneration);
            return;
        };
        generations.is_dead = false;
        self.authority_clock = SkewedClock::random(&mut generations.rng, skew);
        // What they hold they still have, and bring.
        for other in 0..self.hosts.len() {
            if let Some(who) = self.hosts[other].incarnation() {
                self.oracle.declared_dead(who, self.now);
            }
        }
        let before = self.register.layout().version;
        let (register, founded) = Register::found(
            *self.register.charter(),
            Founding::IN_PROCESS,
            before.generation() + 1,
            NodeName::new(format!("h{host}")),
            proofs::address(host),
            self.authority_clock.read(self.now),
        );
        self.register = register;
        self.note(|| format!("h{host} founds the next generation"));
        self.where_is.insert(founded.incarnation, host);
        if self.hosts[host].incarnation().is_some() {
            self.fall(host);
        }
        let layout = std::sync::Arc::new(self.register.layout().clone());
        self.joined(host, founded.incarnation, founded.lease, layout);
        self.layout_changed(before);
        self.doom_the_authority();
    }
}
