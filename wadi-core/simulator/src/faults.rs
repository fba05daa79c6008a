//! What goes wrong: lost, doubled and late messages; cut links; paused, crashed and leaving
//! machines; an authority that fails over.

use wadi_core::protocol::Timer;

use crate::coverage::{Fault, Phase};
use crate::host::Process;
use crate::world::{Happening, MILLI, World, name};

/// The authority's place in [`Cuts`].
pub(crate) const AUTHORITY: usize = usize::MAX;

/// The longest that a message is under way: two leases, for it dies with its sender's or its
/// receiver's.
pub(crate) const LONGEST_DELAY: u64 = 2_000 * MILLI;

/// How long a member takes for leaving at most: six leases, as in the product.
pub(crate) const LEAVE_WITHIN: u64 = 6_000 * MILLI;

/// Links that carry nothing, each for a while.
#[derive(Debug, Default)]
pub(crate) struct Cuts {
    cuts: Vec<(u64, usize, usize)>,
    last: u64,
}

impl Cuts {
    pub(crate) fn blocks(&self, from: usize, to: usize) -> bool {
        self.cuts
            .iter()
            .any(|(_, one, other)| (*one, *other) == (from, to))
    }

    fn cut(&mut self, links: impl IntoIterator<Item = (usize, usize)>) -> u64 {
        self.last += 1;
        let cut = self.last;
        self.cuts
            .extend(links.into_iter().map(|(from, to)| (cut, from, to)));
        cut
    }

    pub(crate) fn mend(&mut self, cut: u64) {
        self.cuts.retain(|(number, ..)| *number != cut);
    }

    fn mend_all(&mut self) {
        self.cuts.clear();
    }
}

/// How bad the network is in this run: chances in a thousand.
#[derive(Debug)]
pub(crate) struct Noise {
    lose: u32,
    double: u32,
    late: u32,
    /// Whether the second of two comes long after the first.
    pub(crate) echoes: bool,
}

impl Noise {
    pub(crate) fn random(rng: &mut fastrand::Rng) -> Self {
        let mut chance = |most: u32| {
            if rng.u32(0..3) == 0 {
                0
            } else {
                rng.u32(0..most)
            }
        };
        let (lose, double, late) = (chance(120), chance(250), chance(80));
        Self {
            lose,
            double,
            late,
            echoes: rng.bool(),
        }
    }

    pub(crate) fn loses(&self, rng: &mut fastrand::Rng) -> bool {
        rng.u32(0..1000) < self.lose
    }

    pub(crate) fn duplicates(&self, rng: &mut fastrand::Rng) -> bool {
        rng.u32(0..1000) < self.double
    }

    /// How long a message is under way, and whether that is unusually long.
    pub(crate) fn delay(&self, rng: &mut fastrand::Rng, faulty: bool) -> (u64, bool) {
        if faulty && rng.u32(0..1000) < self.late {
            (rng.u64(20 * MILLI..LONGEST_DELAY), true)
        } else {
            (rng.u64(MILLI / 5..8 * MILLI), false)
        }
    }
}

/// How patient this run is, and how often something goes wrong in it.
#[derive(Debug)]
pub(crate) struct Temper {
    /// How long a mover waits for a session's lock. When it is longer than a lease, nodes die and
    /// buckets change hands meanwhile.
    pub(crate) seal_limit: u64,
    /// How long a handler may hold a session.
    pub(crate) longest_handler: u64,
    /// After what time a move is resolved. In most runs never, so that nothing leans on it.
    pub(crate) resolve_after: u64,
    longest_calm: u64,
    /// With few sessions, each is moved back and forth the more often.
    pub(crate) most_sessions: usize,
    /// Of a hundred requests, so many end their session.
    pub(crate) ends: u32,
    /// By how many thousandths clocks may be fast or slow.
    pub(crate) skew: u64,
}

impl Temper {
    pub(crate) fn random(rng: &mut fastrand::Rng) -> Self {
        let patient = rng.u32(0..3) == 0;
        Self {
            seal_limit: if patient { 2_500 } else { 150 } * MILLI,
            longest_handler: if patient { 3_000 } else { 400 } * MILLI,
            resolve_after: if rng.u32(0..4) == 0 { 1_000 } else { 1_000_000 } * MILLI,
            longest_calm: [600, 600, 1_500][rng.usize(0..3)] * MILLI,
            most_sessions: [2, 5, 14][rng.usize(0..3)],
            ends: if rng.u32(0..3) == 0 { 15 } else { 3 },
            skew: if rng.bool() { 10 } else { 45 },
        }
    }
}

/// In some runs one phase of the protocol goes wrong again and again.
#[derive(Debug)]
pub(crate) struct Ambush {
    phase: Phase,
    /// What befalls one of its parties, or its messages: half of them are lost, come again long
    /// after, or come only long after.
    fault: Fault,
    /// Not before this.
    next: u64,
}

impl Ambush {
    pub(crate) fn random(rng: &mut fastrand::Rng) -> Option<Self> {
        let faults = [
            Fault::Loss,
            Fault::Duplicate,
            Fault::Duplicate,
            Fault::Delay,
            Fault::Crash,
            Fault::Pause,
            Fault::Leave,
        ];
        let ambush = Self {
            phase: Phase::ALL[rng.usize(0..Phase::ALL.len())],
            fault: faults[rng.usize(0..faults.len())],
            next: 1_500 * MILLI,
        };
        (rng.u32(0..4) > 0).then_some(ambush)
    }
}

impl World {
    /// A message of `phase` is being sent: if that is what this run has its eye on, something
    /// happens. What happens to the message itself is returned.
    pub(crate) fn ambush(&mut self, phase: Phase, host: usize, target: usize) -> Option<Fault> {
        let now = self.now;
        if !self.faulty() {
            return None;
        }
        let ambush = self.ambush.as_mut()?;
        if ambush.phase != phase || now < ambush.next || self.rng.bool() {
            return None;
        }
        let fault = ambush.fault;
        if matches!(fault, Fault::Loss | Fault::Duplicate | Fault::Delay) {
            return Some(fault);
        }
        ambush.next = now + self.rng.u64(200 * MILLI..2_000 * MILLI);
        let host = if self.rng.bool() { host } else { target };
        let wait = self.rng.u64(0..6 * MILLI);
        self.after(wait, Happening::Befall { host, fault });
        None
    }

    /// Something goes wrong.
    pub(crate) fn strike(&mut self) {
        if !self.faulty() {
            return;
        }
        let wait = self.rng.u64(60 * MILLI..self.temper.longest_calm);
        self.after(wait, Happening::Strike);
        let host = self.victim();
        let fault = match self.rng.u32(0..100) {
            0..=17 => Fault::OneWay,
            18..=35 => Fault::Partition,
            36..=55 => Fault::Pause,
            56..=74 => Fault::Crash,
            75..=89 => Fault::Leave,
            _ => Fault::Authority,
        };
        self.befall(host, fault);
    }

    /// `fault` strikes `host`.
    pub(crate) fn befall(&mut self, host: usize, fault: Fault) {
        if !self.faulty() {
            return;
        }
        self.note(|| format!("FAULT {fault:?} at h{host}"));
        let phases: Vec<_> = match fault {
            Fault::Authority => (0..self.hosts.len())
                .flat_map(|host| self.phases(host))
                .collect(),
            _ => self.phases(host),
        };
        for phase in phases {
            self.coverage.count(fault, phase);
        }
        match fault {
            Fault::OneWay => {
                let other = self.somebody();
                let links = if self.rng.bool() {
                    [(host, other)]
                } else {
                    [(other, host)]
                };
                self.cut_for_a_while(links);
                self.hang_up(host);
            }
            Fault::Partition => {
                let everyone: Vec<_> = (0..self.hosts.len()).chain([AUTHORITY]).collect();
                let side: Vec<_> = everyone
                    .iter()
                    .copied()
                    .filter(|one| *one == host || self.rng.u32(0..3) == 0)
                    .collect();
                let links: Vec<_> = side
                    .iter()
                    .flat_map(|one| {
                        everyone
                            .iter()
                            .filter(|other| !side.contains(other))
                            .flat_map(move |other| [(*one, *other), (*other, *one)])
                    })
                    .collect();
                self.cut_for_a_while(links);
                self.hang_up(host);
            }
            Fault::Pause => {
                let most = if self.rng.bool() { 700 } else { 3_500 };
                let wait = self.rng.u64(50..most) * MILLI;
                self.hosts[host].paused_until = Some(self.now + wait);
                self.hang_up(host);
            }
            // Now and then a process loses a session and not its life.
            Fault::Crash if self.rng.u32(0..6) == 0 => self.forget_a_session(host),
            Fault::Crash => self.crash(host),
            Fault::Leave => {
                if let Process::Member {
                    leaving,
                    participant,
                    ..
                } = &mut self.hosts[host].process
                    && !std::mem::replace(leaving, true)
                {
                    let who = participant.me();
                    self.go_within(host, who);
                }
            }
            Fault::Authority => self.authority_fails_over(),
            Fault::Loss | Fault::Duplicate | Fault::Delay | Fault::Generation => {}
        }
    }

    /// The process on `host` is killed, and another one started there soon.
    pub(crate) fn crash(&mut self, host: usize) {
        if let Some(me) = self.hosts[host].incarnation() {
            self.oracle.died(me, self.now);
        }
        self.hosts[host].paused_until = None;
        self.hang_up(host);
        self.stop(host);
        let wait = self.rng.u64(50 * MILLI..2_500 * MILLI);
        self.after(wait, Happening::Start { host, pause_of: 0 });
    }

    /// A node that runs on loses a session of a bucket that it neither manages nor managed last. What
    /// matters is that the loss is told as one.
    fn forget_a_session(&mut self, host: usize) {
        let Some(layout) = self.hosts[host]
            .participant()
            .and_then(|participant| participant.layout().cloned())
        else {
            return;
        };
        let me = self.hosts[host].incarnation();
        let buckets = layout.buckets();
        let sessions = &self.hosts[host].map.sessions;
        let mut away = sessions.iter().filter(|(id, resident)| {
            let idle = resident.readers == 0 && resident.seal_until.is_none();
            let managers = [&layout, self.register.layout()].map(|layout| {
                let placement = layout.placement(id.bucket(buckets));
                [Some(placement.manager), placement.previous]
            });
            resident.confirmed && idle && managers.iter().flatten().all(|manager| *manager != me)
        });
        let Some(id) = away.next().map(|(id, _)| *id) else {
            return;
        };
        self.note(|| format!("h{host} forgets {}", name(&id)));
        self.hosts[host].map.sessions.remove(&id);
        self.touched.insert(id);
        self.oracle.forgotten(&id);
    }

    fn cut_for_a_while(&mut self, links: impl IntoIterator<Item = (usize, usize)>) {
        let cut = self.cuts.cut(links);
        let most = if self.rng.bool() { 500 } else { 3_000 };
        let wait = self.rng.u64(50..most) * MILLI;
        self.after(wait, Happening::Mend { cut });
    }

    fn somebody(&mut self) -> usize {
        match self.rng.usize(0..=self.hosts.len()) {
            one if one == self.hosts.len() => AUTHORITY,
            one => one,
        }
    }

    /// Whom a fault strikes: as often as not one of those in a phase that few are ever in.
    fn victim(&mut self) -> usize {
        let busy: Vec<_> = (0..self.hosts.len())
            .filter(|host| {
                self.phases(*host).iter().any(|phase| {
                    !matches!(phase, Phase::Finding | Phase::Releasing | Phase::Dropping)
                })
            })
            .collect();
        if busy.is_empty() || self.rng.bool() {
            self.rng.usize(0..self.hosts.len())
        } else {
            busy[self.rng.usize(0..busy.len())]
        }
    }

    /// What the process on `host` is in the middle of.
    pub(crate) fn phases(&self, host: usize) -> Vec<Phase> {
        let mut phases: Vec<_> = self.hosts[host]
            .participant()
            .into_iter()
            .flat_map(|participant| {
                participant
                    .running_timers()
                    .filter(|timer| !matches!(timer, Timer::Forget))
            })
            .filter_map(Phase::of_timer)
            .collect();
        phases.sort_unstable();
        phases.dedup();
        phases
    }

    /// Faults stop: links carry again, the paused go on, the crashed start.
    pub(crate) fn heal(&mut self) {
        self.note(|| "HEALED".into());
        self.cuts.mend_all();
        for host in 0..self.hosts.len() {
            self.hosts[host].paused_until = None;
            if matches!(self.hosts[host].process, Process::Down) {
                self.start(host, 0);
            }
        }
    }
}
