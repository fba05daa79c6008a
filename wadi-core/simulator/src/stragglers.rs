//! A message that comes when nobody is left who knows better: the network keeps it back while its
//! bucket's manager dies, and until whoever first wrote to its session since has died too.
//!
//! An adversary that sees what is sent, answered and agreed, keeps messages back and kills processes. It
//! knows no rule, says nothing that no node said, and keeps nothing longer than a message may be under way.

use wadi_core::bucket::BucketId;
use wadi_core::member::Incarnation;
use wadi_core::message::{Body, Message};
use wadi_core::session::SessionId;

use crate::coverage::{Fault, Phase};
use crate::faults::LONGEST_DELAY;
use crate::host::Instant;
use crate::world::{Happening, MILLI, World, name};

/// Whether this run has stragglers, and the one that is under way.
#[derive(Debug)]
pub(crate) struct Stragglers {
    rng: fastrand::Rng,
    kept: Option<Straggler>,
    number: u64,
    /// Not before this.
    next: Instant,
}

#[derive(Debug)]
struct Straggler {
    sent_at: Instant,
    host: usize,
    start: u64,
    from: Incarnation,
    to: Incarnation,
    id: SessionId,
    phase: Phase,
    bucket: BucketId,
    message: Message,
}

impl Straggler {
    fn is_same(&self, from: Incarnation, to: Incarnation, phase: Phase, message: &Message) -> bool {
        let is_about = |body: &Body| body.session() == Some(&self.id);
        (self.from, self.to, self.message.epoch, self.phase) == (from, to, message.epoch, phase)
            && message.bodies().any(is_about)
    }
}

impl Stragglers {
    /// Draws from numbers of its own, so a run without stragglers is as if there were none anywhere.
    pub(crate) fn random(seed: u64) -> Option<Self> {
        let mut rng = fastrand::Rng::with_seed(!seed);
        (rng.u32(0..3) == 0).then_some(Self {
            rng,
            kept: None,
            number: 0,
            next: 1_500 * MILLI,
        })
    }
}

impl World {
    /// Whether the network keeps this message back: one that it chooses, and each repetition of it
    /// meanwhile.
    pub(crate) fn straggles(
        &mut self,
        host: usize,
        from: Incarnation,
        to: Incarnation,
        message: &Message,
    ) -> bool {
        let now = self.now;
        let faulty = self.faulty();
        let (Some(stragglers), true) = (&mut self.stragglers, faulty) else {
            return false;
        };
        let (Some(&id), Some(phase)) = (
            message.body.session(),
            Phase::of_message(&message.body, false),
        ) else {
            return false;
        };
        if let Some(kept) = &stragglers.kept {
            return kept.is_same(from, to, phase, message);
        }
        let layout = self.register.layout();
        let bucket = id.bucket(layout.buckets());
        let manager = layout.placement(bucket).manager;
        // What a manager says or is told dies with it; what two others say to each other does not.
        let outlives = manager != from && manager != to;
        let one_of = if outlives { 2 } else { 48 };
        if now < stragglers.next || stragglers.rng.u32(0..one_of) > 0 {
            return false;
        }
        stragglers.number += 1;
        let number = stragglers.number;
        stragglers.kept = Some(Straggler {
            sent_at: now,
            host,
            start: self.hosts[host].start,
            from,
            to,
            id,
            phase,
            bucket,
            message: message.clone(),
        });
        let wait = stragglers.rng.u64(LONGEST_DELAY / 2..LONGEST_DELAY);
        self.note(|| format!("STRAGGLER to h{host} about {}", name(&id)));
        self.after(wait, Happening::Straggle { number });
        if outlives && let Some(&host) = self.where_is.get(&manager) {
            let fault = Fault::Crash;
            self.after(0, Happening::Befall { host, fault });
        }
        true
    }

    /// `host` acknowledged a write to a session. Where a message about it is kept back, and its receiver
    /// knows of a later manager, both who serves and who manages it die, and then the message comes.
    pub(crate) fn bereave(&mut self, host: usize, id: &SessionId) {
        let now = self.now;
        let Some(stragglers) = &mut self.stragglers else {
            return;
        };
        let Some(kept) = &stragglers.kept else { return };
        if kept.id != *id || kept.host == host {
            return;
        }
        let is_late = self.hosts[kept.host]
            .participant()
            .and_then(|participant| participant.layout())
            .is_some_and(|layout| layout.placement(kept.bucket).since > kept.message.epoch);
        if !is_late {
            return;
        }
        let left = LONGEST_DELAY.saturating_sub(now - kept.sent_at);
        let wait = stragglers.rng.u64(0..400 * MILLI).min(left);
        let number = stragglers.number;
        let receiver = kept.host;
        let manager = self.register.layout().placement(kept.bucket).manager;
        let manager = self.where_is.get(&manager).copied();
        self.after(wait, Happening::Straggle { number });
        let manager = manager.filter(|manager| *manager != host && *manager != receiver);
        for host in std::iter::once(host).chain(manager) {
            let fault = Fault::Crash;
            self.after(0, Happening::Befall { host, fault });
        }
    }

    /// The message that was kept back comes.
    pub(crate) fn straggle(&mut self, number: u64) {
        let now = self.now;
        let Some(stragglers) = &mut self.stragglers else {
            return;
        };
        if stragglers.number != number {
            return;
        }
        let Some(kept) = stragglers.kept.take() else {
            return;
        };
        stragglers.next = now + stragglers.rng.u64(200 * MILLI..2_000 * MILLI);
        self.coverage.count(Fault::Delay, kept.phase);
        self.note(|| format!("STRAGGLER comes to h{} about {}", kept.host, name(&kept.id)));
        self.after(
            0,
            Happening::Deliver {
                host: kept.host,
                start: kept.start,
                from: kept.from,
                to: kept.to,
                message: kept.message,
            },
        );
    }
}
