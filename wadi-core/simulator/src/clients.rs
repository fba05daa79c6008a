//! Clients: they create sessions, append to them, read them and end them, through whichever node
//! they happen to reach; and the part of a node that serves them.

use std::collections::VecDeque;

use wadi_core::member::Incarnation;
use wadi_core::message::Want;
use wadi_core::protocol::Input;
use wadi_core::sabotage::{self, Rule};
use wadi_core::session::SessionId;
use wadi_core::tenure::{Revision, Tenure};

use crate::host::{Process, Resident};
use crate::invariants;
use crate::world::{Happening, MILLI, World, name};

pub(crate) type RequestId = u64;

/// What a client wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wish {
    Create,
    Append(u32),
    Read,
    End,
}

/// One request on its way.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) wish: Wish,
    pub(crate) id: SessionId,
    pub(crate) host: usize,
    start: u64,
    want: Want,
    proxied: bool,
    looks: u32,
    /// The tenure of the copy on which the handler runs.
    tenure: Option<Tenure>,
    /// What the handler saw.
    seen: Vec<u32>,
}

impl World {
    pub(crate) fn client_acts(&mut self) {
        if self.now < self.faults_until {
            let wait = self.rng.u64(2 * MILLI..16 * MILLI);
            self.after(wait, Happening::ClientActs);
        } else {
            return;
        }
        self.ages();
        let alive = self.oracle.alive();
        let wish = match self.rng.u32(0..100) {
            _ if alive.is_empty() => Wish::Create,
            0..=11 if alive.len() < self.temper.most_sessions => Wish::Create,
            _ if self.rng.u32(0..100) < self.temper.ends => Wish::End,
            0..=70 => {
                self.next_token += 1;
                Wish::Append(self.next_token)
            }
            _ => Wish::Read,
        };
        let id = match wish {
            Wish::Create => SessionId::from_parts([0; 16], 0),
            // Now and then somebody comes back with a session that was ended.
            Wish::Read if self.rng.u32(0..8) == 0 => {
                let ended: Vec<_> = self.oracle.ended_for_good().collect();
                match ended.len() {
                    0 => alive[self.rng.usize(0..alive.len())],
                    n => ended[self.rng.usize(0..n)],
                }
            }
            _ => alive[self.rng.usize(0..alive.len())],
        };
        let host = self.rng.usize(0..self.hosts.len());
        self.request(wish, id, host);
    }

    pub(crate) fn request(&mut self, wish: Wish, id: SessionId, host: usize) -> RequestId {
        self.next_request += 1;
        let want = if self.rng.u32(0..4) == 0 {
            Want::Locate
        } else {
            Want::Move
        };
        let request = Request {
            wish,
            id,
            host,
            start: 0,
            want,
            proxied: false,
            looks: 0,
            tenure: None,
            seen: Vec::new(),
        };
        self.requests.insert(self.next_request, request);
        self.request_reaches(self.next_request, host);
        self.next_request
    }

    pub(crate) fn request_reaches(&mut self, number: RequestId, host: usize) {
        let start = self.hosts[host].start;
        let Some(request) = self.requests.get_mut(&number) else {
            return;
        };
        request.host = host;
        request.start = start;
        let (wish, id) = (request.wish, request.id);
        let may_act = self.hosts[host].may_act(self.now);
        if !may_act && !sabotage::is_off(Rule::LeaseGate) {
            self.unavailable(number);
            return;
        }
        match wish {
            Wish::Create => self.create(number, host),
            _ => self.look(number, host, id),
        }
    }

    /// Looks for the session in the node's map, and beyond.
    fn look(&mut self, number: RequestId, host: usize, id: SessionId) {
        let Some(request) = self.requests.get_mut(&number) else {
            return;
        };
        request.looks += 1;
        if request.looks > 8 {
            self.unavailable(number);
            return;
        }
        let wish = request.wish;
        let want = request.want;
        match self.hosts[host].map.sessions.get_mut(&id) {
            Some(resident) if resident.seal_until.is_some() => {
                self.wait(host, id, number);
            }
            Some(resident) if wish == Wish::End => {
                // An end is a commit under the exclusive lock, and only of a held session.
                if resident.readers > 0 || !resident.confirmed {
                    self.unavailable(number);
                    return;
                }
                self.end(number, host, id);
            }
            Some(resident) => {
                resident.readers += 1;
                let tenure = resident.tenure;
                if let Some(request) = self.requests.get_mut(&number) {
                    request.tenure = Some(tenure);
                }
                let long = self.faulty() && self.rng.u32(0..20) == 0;
                let most = if long {
                    self.temper.longest_handler
                } else {
                    12 * MILLI
                };
                let wait = self.rng.u64(0..most);
                self.after(wait, Happening::HandlerEnds { request: number });
            }
            None => {
                self.wait(host, id, number);
                self.give(host, Input::Find { id, want });
            }
        }
    }

    fn wait(&mut self, host: usize, id: SessionId, number: RequestId) {
        self.hosts[host]
            .waiting
            .entry(id)
            .or_default()
            .insert(number);
    }

    /// Everyone who waited for a session looks again.
    pub(crate) fn look_again(&mut self, host: usize, id: SessionId) {
        for number in self.hosts[host].waiting.remove(&id).unwrap_or_default() {
            self.after(
                0,
                Happening::RequestReaches {
                    request: number,
                    host,
                },
            );
        }
    }

    /// The handler's time is over: its effect is committed, if the lease still holds.
    pub(crate) fn handler_ends(&mut self, number: RequestId) {
        let Some(request) = self.requests.get(&number) else {
            return;
        };
        let (host, id, tenure, wish) = (request.host, request.id, request.tenure, request.wish);
        if self.hosts[host].start != request.start {
            self.unavailable(number);
            return;
        }
        let may_act = self.hosts[host].may_act(self.now) || sabotage::is_off(Rule::CheckAtCommit);
        let machine = &mut self.hosts[host];
        let Some(resident) = machine
            .map
            .sessions
            .get_mut(&id)
            .filter(|resident| Some(resident.tenure) == tenure)
        else {
            self.unavailable(number);
            return;
        };
        resident.readers = resident.readers.saturating_sub(1);
        if may_act && let Wish::Append(token) = wish {
            resident.tokens.push(token);
            resident.revision = resident.revision.next();
        }
        let seen = resident.tokens.clone();
        let may_answer = resident.confirmed || sabotage::is_off(Rule::HeadWaits);
        let free = resident.readers == 0 && resident.seal_until.is_some();
        if may_act && !may_answer {
            resident.held_back.push(number);
        }
        if let Some(request) = self.requests.get_mut(&number) {
            request.seen = seen;
        }
        if !may_act {
            self.unavailable(number);
        } else if may_answer {
            self.answer_with_effect(number);
        }
        if free {
            let mut inputs = VecDeque::new();
            self.take_sealed(host, id, &mut inputs);
            for input in inputs {
                self.give(host, input);
            }
        }
    }

    /// The answer leaves: what the handler saw and did stands.
    pub(crate) fn answer_with_effect(&mut self, number: RequestId) {
        let Some(request) = self.requests.remove(&number) else {
            return;
        };
        self.acknowledged += 1;
        invariants::inside_the_lease::check(self, request.host);
        if let Err(what) = self.oracle.answered(&request.id, &request.seen) {
            self.fail(
                "acknowledged writes",
                format!("{what} (asked at h{})", request.host),
            );
        }
        if let Wish::Append(token) = request.wish {
            self.note(|| {
                format!(
                    "h{} acknowledges append {token} to {}",
                    request.host,
                    name(&request.id)
                )
            });
            self.oracle.append_acknowledged(&request.id, token);
            self.bereave(request.host, &request.id);
        }
    }

    pub(crate) fn unavailable(&mut self, number: RequestId) {
        if self.requests.remove(&number).is_some() {
            self.unavailable += 1;
        }
    }

    pub(crate) fn absent(&mut self, number: RequestId, lost: bool) {
        let Some(request) = self.requests.remove(&number) else {
            return;
        };
        if let Err(what) = self.oracle.absent(&request.id, lost, self.now) {
            self.fail("never falsely absent", what);
        }
    }

    /// The request goes to its session; a proxied one is not proxied again.
    pub(crate) fn forward(&mut self, host: usize, id: SessionId, holder: Incarnation) {
        for number in self.hosts[host].waiting.remove(&id).unwrap_or_default() {
            let target = self.where_is.get(&holder).copied();
            let Some(request) = self.requests.get_mut(&number) else {
                continue;
            };
            match target {
                Some(target) if !request.proxied && !self.cuts.blocks(host, target) => {
                    request.proxied = true;
                    let wait = self.rng.u64(MILLI / 5..5 * MILLI);
                    self.after(
                        wait,
                        Happening::RequestReaches {
                            request: number,
                            host: target,
                        },
                    );
                }
                _ => self.unavailable(number),
            }
        }
    }

    fn new_id(&mut self) -> SessionId {
        let random: [u8; 16] = std::array::from_fn(|_| self.rng.u8(..));
        SessionId::from_parts(random, 1)
    }

    fn create(&mut self, number: RequestId, host: usize) {
        let Process::Member { leaving, ready, .. } = self.hosts[host].process else {
            self.unavailable(number);
            return;
        };
        if leaving || !ready {
            self.unavailable(number);
            return;
        }
        let buckets = self.register.layout().buckets();
        for _ in 0..64 {
            let id = self.new_id();
            let Some(&epoch) = self.hosts[host].open.get(&id.bucket(buckets)) else {
                continue;
            };
            self.put_new(number, host, id, Tenure::new(epoch, 0));
            return;
        }
        let id = self.new_id();
        self.registering.insert(id, number);
        self.give(host, Input::Register(id));
    }

    pub(crate) fn registered(&mut self, host: usize, id: SessionId, tenure: Tenure) {
        if let Some(number) = self.registering.remove(&id) {
            self.put_new(number, host, id, tenure);
        }
    }

    fn put_new(&mut self, number: RequestId, host: usize, id: SessionId, tenure: Tenure) {
        let resident = Resident::new(tenure, Revision::ZERO, Vec::new(), true);
        let me = self.hosts[host]
            .incarnation()
            .expect("only a member creates");
        self.hosts[host].map.sessions.insert(id, resident);
        self.touched.insert(id);
        self.oracle.created(id, me);
        invariants::inside_the_lease::check(self, host);
        self.requests.remove(&number);
        self.acknowledged += 1;
        self.note(|| format!("h{host} creates {} {tenure:?}", name(&id)));
    }

    fn end(&mut self, number: RequestId, host: usize, id: SessionId) {
        let Some(resident) = self.hosts[host].map.sessions.remove(&id) else {
            return;
        };
        self.oracle.end_asked(&id);
        self.ending.insert(id, number);
        self.note(|| format!("h{host} ends {}", name(&id)));
        let tenure = resident.tenure;
        self.look_again(host, id);
        self.give(host, Input::End { id, tenure });
    }

    pub(crate) fn ended(&mut self, id: SessionId) {
        if let Some(number) = self.ending.remove(&id) {
            self.requests.remove(&number);
            self.acknowledged += 1;
            self.oracle.end_acknowledged(&id);
            self.note(|| format!("end of {} acknowledged", name(&id)));
        }
    }

    /// The process on `host` is no more: whoever waited there gets no answer.
    pub(crate) fn drop_requests(&mut self, host: usize) {
        let here: Vec<_> = self
            .requests
            .iter()
            .filter(|(_, request)| request.host == host)
            .map(|(number, _)| *number)
            .collect();
        for number in here {
            self.ending.retain(|_, waiting| *waiting != number);
            self.registering.retain(|_, waiting| *waiting != number);
            self.unavailable(number);
        }
        self.hosts[host].waiting.clear();
    }
}
