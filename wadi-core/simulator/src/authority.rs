//! The authority as the nodes see it: one linearizable register at the far end of a bad network,
//! and watchers that are told of layouts arbitrarily late.
//!
//! The register is the product's own.

use std::sync::Arc;
use std::time::Duration;

use wadi_core::authority::{NotAMember, Proof, ProposeRefused, RenewalNumber};
use wadi_core::bucket::{Layout, LayoutVersion};
use wadi_core::clock::Moment;
use wadi_core::member::{Incarnation, NodeName, Standing};
use wadi_core::protocol::{Input, Participant, coordinator};

use crate::coordinate::coordinator_of;
use crate::faults::{AUTHORITY, LEAVE_WITHIN};
use crate::host::{Process, SkewedClock};
use crate::proofs;
use crate::world::{Happening, MILLI, World};

/// What a node asks of the authority.
#[derive(Clone, Debug)]
pub(crate) enum Call {
    Join,
    Renew(Incarnation, RenewalNumber),
    Ready(Incarnation),
    Leave(Incarnation),
    Left {
        incarnation: Incarnation,
        force: bool,
    },
    Propose(Incarnation, LayoutVersion, Option<u16>),
    Dead {
        by: Incarnation,
        who: Incarnation,
        proof: Proof,
    },
    Layout,
}

/// What the authority answers.
#[derive(Clone, Debug)]
pub(crate) enum Reply {
    Joined {
        incarnation: Incarnation,
        lease: Duration,
        layout: Arc<Layout>,
    },
    Renewed {
        incarnation: Incarnation,
        number: RenewalNumber,
        answer: Result<Duration, NotAMember>,
    },
    Gone(Incarnation),
    Proposed(Incarnation, Result<LayoutVersion, ProposeRefused>),
}

impl World {
    /// Sends a call to the authority, if the network lets it through.
    pub(crate) fn call(&mut self, host: usize, call: Call) {
        if self.faulty() && (self.cuts.blocks(host, AUTHORITY) || self.noise.loses(&mut self.rng)) {
            return;
        }
        let start = self.hosts[host].start;
        let (wait, _) = self
            .noise
            .delay(&mut self.rng, self.now < self.faults_until);
        self.after(wait, Happening::AuthorityHears { host, start, call });
    }

    fn reply(&mut self, host: usize, start: u64, reply: Reply) {
        if self.faulty() && (self.cuts.blocks(AUTHORITY, host) || self.noise.loses(&mut self.rng)) {
            return;
        }
        let (wait, _) = self
            .noise
            .delay(&mut self.rng, self.now < self.faults_until);
        self.after(wait, Happening::HostHears { host, start, reply });
    }

    pub(crate) fn authority_hears(&mut self, host: usize, start: u64, call: Call) {
        if self.has_no_authority() {
            return;
        }
        let now = self.authority_clock.read(self.now);
        let before = self.register.layout().version;
        match call {
            Call::Join => {
                let name = format!("h{host}");
                let address = proofs::address(host);
                let name = NodeName::new(name);
                let place = Some(proofs::HERE);
                let joined = self.register.join_in(place, name, address, now);
                self.where_is.insert(joined.incarnation, host);
                let layout = Arc::new(self.register.layout().clone());
                self.reply(
                    host,
                    start,
                    Reply::Joined {
                        incarnation: joined.incarnation,
                        lease: joined.lease,
                        layout,
                    },
                );
            }
            Call::Renew(incarnation, number) => {
                let answer = self.register.renew(incarnation, now);
                self.reply(
                    host,
                    start,
                    Reply::Renewed {
                        incarnation,
                        number,
                        answer,
                    },
                );
                if self.rng.u32(0..4) == 0 {
                    self.tell_layout(host, start);
                }
            }
            Call::Ready(incarnation) => drop(self.register.ready(incarnation)),
            Call::Leave(incarnation) => drop(self.register.leave(incarnation)),
            Call::Left { incarnation, force } => {
                if self.register.left(incarnation, force).is_ok() {
                    self.reply(host, start, Reply::Gone(incarnation));
                }
            }
            Call::Propose(proposer, against, most_moves) => {
                let answer = self.register.propose(against, most_moves);
                self.reply(host, start, Reply::Proposed(proposer, answer));
            }
            Call::Dead { by, who, proof } => self.hear_of_death(by, who, proof),
            Call::Layout => self.tell_layout(host, start),
        }
        self.layout_changed(before);
    }

    fn tell_layout(&mut self, host: usize, start: u64) {
        if self.faulty() && self.cuts.blocks(AUTHORITY, host) {
            return;
        }
        let layout = Arc::new(self.register.layout().clone());
        let (wait, _) = self
            .noise
            .delay(&mut self.rng, self.now < self.faults_until);
        self.after(
            wait,
            Happening::LayoutReaches {
                host,
                start,
                layout,
            },
        );
    }

    /// Tells every watcher, each in its own time.
    pub(crate) fn layout_changed(&mut self, before: LayoutVersion) {
        if self.register.layout().version == before {
            return;
        }
        if let Err(fault) = self.register.check() {
            self.fail("the register", format!("{fault}"));
        }
        let layout = Arc::new(self.register.layout().clone());
        self.oracle.managers_changed(|id| {
            let placement = layout.placement(id.bucket(layout.buckets()));
            placement.since > before
        });
        self.note(|| {
            let managers: Vec<_> = layout
                .placements
                .iter()
                .map(|placement| format!("{:?}@{:?}", placement.manager, placement.since))
                .collect();
            let members: Vec<_> = layout
                .members
                .iter()
                .map(|(who, member)| format!("{who:?}={}:{:?}", member.node, member.standing))
                .collect();
            format!(
                "LAYOUT {:?} members {members:?} managers {managers:?}",
                layout.version
            )
        });
        for host in 0..self.hosts.len() {
            let slow = self.faulty() && self.rng.u32(0..6) == 0;
            let most = if slow { 2_000 * MILLI } else { 30 * MILLI };
            let wait = self.rng.u64(0..most);
            let start = self.hosts[host].start;
            let layout = Arc::clone(&layout);
            self.after(
                wait,
                Happening::LayoutReaches {
                    host,
                    start,
                    layout,
                },
            );
        }
    }

    pub(crate) fn want_layout(&mut self, host: usize) {
        self.call(host, Call::Layout);
    }

    pub(crate) fn authority_tick(&mut self) {
        let now = self.authority_clock.read(self.now);
        let before = self.register.layout().version;
        let dead = if self.has_no_authority() {
            Vec::new()
        } else {
            self.register.expire(now)
        };
        for dead in dead {
            self.note(|| format!("authority declares {dead:?} dead"));
            self.oracle.declared_dead(dead, self.now);
            self.look_for_lost_markers();
        }
        self.layout_changed(before);
        self.after(20 * MILLI, Happening::AuthorityTick);
    }

    /// Another machine leads the authority from now on, with another clock.
    pub(crate) fn authority_fails_over(&mut self) {
        if self.has_no_authority() {
            return;
        }
        self.authority_clock = SkewedClock::random(&mut self.rng, self.temper.skew);
        let now = self.authority_clock.read(self.now);
        self.register.take_over(now);
        self.note(|| "authority fails over".into());
    }

    pub(crate) fn layout_reaches(&mut self, host: usize, layout: Arc<Layout>) {
        if self.faulty() && self.cuts.blocks(AUTHORITY, host) {
            return;
        }
        self.tell_of_layout(host, layout);
    }

    /// Both parts of a node that watch layouts learn of one. Who is of an earlier generation watches that
    /// one's.
    fn tell_of_layout(&mut self, host: usize, layout: Arc<Layout>) {
        let known = self.hosts[host].participant().and_then(Participant::layout);
        if known.is_some_and(|known| known.version.generation() < layout.version.generation()) {
            return;
        }
        self.let_echoes_come(host, &layout);
        self.give(host, Input::Layout(Arc::clone(&layout)));
        self.coordinate(host, coordinator::Input::Layout(layout));
    }

    /// What a node does now and then whatever else happens: joins, renews, gets ready, leaves.
    pub(crate) fn host_tick(&mut self, host: usize) {
        let start = self.hosts[host].start;
        let wait = self.rng.u64(40 * MILLI..80 * MILLI);
        self.after(wait, Happening::HostTick { host, start });
        let now = self.hosts[host].clock.read(self.now);
        match &mut self.hosts[host].process {
            Process::Down => {}
            Process::Joining { sent_at, .. } => {
                *sent_at = now;
                self.call(host, Call::Join);
            }
            Process::Member {
                participant,
                lease,
                leaving,
                ..
            } => {
                let me = participant.me();
                if lease.renewal_due().is_some_and(|due| due <= now) {
                    let number = lease.renew(now);
                    self.call(host, Call::Renew(me, number));
                    return;
                }
                let leaving = *leaving;
                let Some(layout) = participant.layout().cloned() else {
                    self.call(host, Call::Layout);
                    return;
                };
                match layout.members.get(&me).map(|member| member.standing) {
                    Some(Standing::Joining) if !leaving => self.call(host, Call::Ready(me)),
                    Some(Standing::Joining | Standing::Ready) if leaving => {
                        self.call(host, Call::Leave(me));
                    }
                    Some(Standing::Leaving) => self.give(host, Input::Evacuate),
                    _ => {
                        if let Process::Member { ready, .. } = &mut self.hosts[host].process {
                            *ready = true;
                        }
                    }
                }
            }
        }
    }

    pub(crate) fn host_hears(&mut self, host: usize, reply: Reply) {
        let now = self.hosts[host].clock.read(self.now);
        match reply {
            Reply::Joined {
                incarnation,
                lease,
                layout,
            } => self.joined(host, incarnation, lease, layout),
            Reply::Renewed {
                incarnation,
                number,
                answer,
            } => {
                let Process::Member {
                    participant, lease, ..
                } = &mut self.hosts[host].process
                else {
                    return;
                };
                if participant.me() != incarnation {
                    return;
                }
                match answer {
                    Ok(length) => {
                        lease.granted(number, length, now);
                        self.pass_lease_on(host);
                    }
                    Err(_) => self.fence(host),
                }
            }
            Reply::Proposed(proposer, answer) => self.proposal_answered(host, proposer, answer),
            Reply::Gone(incarnation) => {
                if self.hosts[host].incarnation() == Some(incarnation) {
                    self.note(|| format!("h{host} has left"));
                    self.stop(host);
                    let wait = self.rng.u64(100 * MILLI..1_500 * MILLI);
                    let pause_of = 0;
                    self.after(wait, Happening::Start { host, pause_of });
                }
            }
        }
    }

    fn pass_lease_on(&mut self, host: usize) {
        if let Process::Member { lease, .. } = &self.hosts[host].process
            && let Some(until) = lease.until()
        {
            self.give(host, Input::Lease(until));
        }
    }

    pub(crate) fn joined(
        &mut self,
        host: usize,
        incarnation: Incarnation,
        length: Duration,
        layout: Arc<Layout>,
    ) {
        let now = self.hosts[host].clock.read(self.now);
        let settings = self.settings();
        let coordinator = coordinator_of(incarnation, &self.register);
        let process = &mut self.hosts[host].process;
        let Process::Joining {
            former,
            returned,
            sent_at,
        } = process
        else {
            return;
        };
        // Counted from the latest sending: an answer to an earlier one is older than it says, so
        // the lease must be counted from the earliest that it may answer.
        let sent_at = earliest(*sent_at, length);
        let is_first = former.is_none();
        let participant = match former.take() {
            Some(former) => {
                self.oracle.came_back(former.me(), incarnation);
                former.come_back(incarnation, std::mem::take(returned))
            }
            None => Participant::new(incarnation, settings),
        };
        *process = Process::Member {
            participant: Box::new(participant),
            lease: wadi_core::authority::Lease::joined(sent_at, length, now),
            coordinator,
            ready: false,
            leaving: false,
        };
        self.note(|| format!("h{host} joins as {incarnation:?}"));
        self.hosts[host].wake_at = None;
        self.hosts[host].coordinator_wakes_at = None;
        self.pass_lease_on(host);
        self.tell_of_layout(host, layout);
        if is_first {
            self.prove_former_dead(host, incarnation);
        }
    }

    /// The authority does not know this incarnation any more: it owns nothing, and comes back as
    /// somebody new with what it still has.
    fn fence(&mut self, host: usize) {
        self.fall(host);
        self.call(host, Call::Join);
    }

    /// The process on `host` is no member any more, and keeps what it has.
    pub(crate) fn fall(&mut self, host: usize) {
        let machine = &mut self.hosts[host];
        let Process::Member { participant, .. } =
            std::mem::replace(&mut machine.process, Process::Down)
        else {
            return;
        };
        let former_me = participant.me();
        let returned = machine.map.drain();
        machine.open.clear();
        let sent_at = machine.clock.read(self.now);
        machine.process = Process::Joining {
            former: Some(participant),
            returned,
            sent_at,
        };
        self.note(|| format!("h{host} is fenced as {former_me:?}"));
        self.oracle.died(former_me, self.now);
        self.drop_requests(host);
    }

    pub(crate) fn start(&mut self, host: usize, _pause_of: u64) {
        if !matches!(self.hosts[host].process, Process::Down) {
            return;
        }
        let machine = &mut self.hosts[host];
        machine.start += 1;
        machine.wake_at = None;
        machine.coordinator_wakes_at = None;
        let start = machine.start;
        machine.process = Process::Joining {
            former: None,
            returned: Vec::new(),
            sent_at: machine.clock.read(self.now),
        };
        self.note(|| format!("h{host} starts"));
        self.call(host, Call::Join);
        self.after(60 * MILLI, Happening::HostTick { host, start });
    }

    /// The process on `host` is gone, and its memory with it.
    pub(crate) fn stop(&mut self, host: usize) {
        self.drop_requests(host);
        let machine = &mut self.hosts[host];
        machine.start += 1;
        machine.process = Process::Down;
        machine.map.sessions.clear();
        machine.open.clear();
        machine.wake_at = None;
        machine.coordinator_wakes_at = None;
        self.look_for_lost_markers();
    }

    /// A marker that no member keeps any more protects nothing.
    pub(crate) fn look_for_lost_markers(&mut self) {
        let ended: Vec<_> = self.oracle.ended_for_good().collect();
        for id in ended {
            let kept = self
                .hosts
                .iter()
                .filter_map(crate::host::Host::participant)
                .filter(|participant| self.register.layout().is_member(participant.me()))
                .any(|participant| participant.keeps_marker(&id));
            if !kept {
                self.oracle.markers_gone(&id);
            }
        }
    }

    pub(crate) fn evacuated(&mut self, host: usize) {
        if let Some(incarnation) = self.hosts[host].incarnation() {
            self.note(|| format!("h{host} is evacuated"));
            let force = false;
            self.call(host, Call::Left { incarnation, force });
        }
    }

    /// `who` is leaving from now on, and has so long for it.
    pub(crate) fn go_within(&mut self, host: usize, who: Incarnation) {
        let start = self.hosts[host].start;
        self.after(LEAVE_WITHIN, Happening::LeaveInHaste { host, start, who });
    }

    /// The time that `who` had for leaving is up: it goes with what it still has, where nobody is ready to
    /// take that. Elsewhere it is left to try on: one that does not get away there is to be noticed.
    pub(crate) fn leave_in_haste(&mut self, host: usize, who: Incarnation) {
        let is_leaving = matches!(
            self.hosts[host].process,
            Process::Member { leaving: true, .. }
        );
        if self.hosts[host].incarnation() != Some(who) || !is_leaving {
            return;
        }
        let mut members = self.register.layout().members.values();
        if members.any(|member| member.standing == Standing::Ready) {
            self.go_within(host, who);
            return;
        }
        self.note(|| format!("h{host} leaves in haste"));
        self.oracle.died(who, self.now);
        self.stop(host);
        let left = Call::Left {
            incarnation: who,
            force: true,
        };
        self.call(host, left);
        let wait = self.rng.u64(100 * MILLI..1_500 * MILLI);
        self.after(wait, Happening::Start { host, pause_of: 0 });
    }
}

/// The earliest moment that the answer to a join may count from. The simulated node asks again
/// before it is answered, so any of its sendings may be the one: it takes the lease as expired and
/// renews at once.
fn earliest(sent_at: Moment, length: Duration) -> Moment {
    Moment::from_nanos(
        sent_at
            .as_nanos()
            .saturating_sub(u64::try_from(length.as_nanos()).unwrap_or(u64::MAX)),
    )
}
