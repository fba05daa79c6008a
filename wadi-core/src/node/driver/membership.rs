//! Becoming a member, staying one, and coming back as somebody new.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::authority::SHORTEST_PAUSE;
use super::lease::Keeper;
use super::{Driver, Life, Membership, ROUND};
use crate::authority::{Answer, Command, Joined, Lease};
use crate::bucket::AssignmentTerms;
use crate::clock::Moment;
use crate::member::Standing;
use crate::node::authority::Unreachable;
use crate::node::given::Asked;
use crate::node::lanes::Letterbox;
use crate::node::listen::Told;
use crate::protocol::coordinator::{self, Coordinator, Oldest};
use crate::protocol::{Input, Participant, ReturnedCopy};

impl Driver {
    pub(super) fn ask_to_join(&mut self) {
        if let Life::Joining { again_at, .. } = &mut self.life {
            *again_at = None;
            let command = Command::Join {
                node: self.settings.name.clone(),
                address: self.address.clone(),
                place: self.surroundings.place,
            };
            let sent_at = self.now();
            self.ask(Asked::Join { sent_at }, command);
        }
    }

    pub(super) fn join_answered(&mut self, sent_at: Moment, answer: Result<Answer, Unreachable>) {
        let now = self.now();
        let wait = self.settings.authority_wait;
        let Life::Joining { again_at, .. } = &mut self.life else {
            // Joined already: that incarnation is nobody's, and dies when its lease runs out.
            return;
        };
        match answer {
            Ok(Answer::Joined(joined)) => self.joined(sent_at, joined),
            // Who was waited for in vain has been given its time; who refused at once is left alone for so
            // long. So a join is never two waits late because nobody led when it was first asked for.
            _ => *again_at = Some((sent_at + wait).max(now + SHORTEST_PAUSE)),
        }
    }

    fn joined(&mut self, sent_at: Moment, joined: Joined) {
        let now = self.now();
        let me = joined.incarnation;
        let lease = if joined.lease == Duration::MAX {
            Lease::endless()
        } else {
            Lease::joined(sent_at, joined.lease, now)
        };
        let Life::Joining { former, .. } = &mut self.life else {
            return;
        };
        let participant = match former.take() {
            Some(former) => former.come_back(me, std::mem::take(&mut self.returned)),
            None => Participant::new(me, Arc::clone(&self.settings.protocol)),
        };
        let terms = AssignmentTerms::default().with_deputies(self.settings.charter.deputies);
        self.leases.begin(me, lease);
        self.first.get_or_insert(me);
        let keeper = Keeper {
            leases: Arc::clone(&self.leases),
            me,
            authority: Arc::clone(&self.surroundings.authority),
            clock: Arc::clone(&self.clock),
            back: self.back.clone(),
            wait: self.settings.charter.lease,
        };
        let keeper = self.tasks.spawn(keeper.run());
        self.life = Life::Member(Box::new(Membership {
            me,
            participant,
            coordinator: Coordinator::new(me, Oldest, terms, self.settings.pace.clone()),
            may_act_until: Moment::ZERO,
            keeper,
            look_at: None,
            proven: BTreeMap::new(),
            declare_at: None,
            has_asked_to_go: false,
        }));
        let inbox = Letterbox {
            me,
            queue: self.entrance.clone(),
        };
        let transport = &self.surroundings.transport;
        transport.listen(me, joined.founding, Arc::new(inbox));
        self.tell(Told::Joined(me));
        self.pass_lease_on();
        self.take_part();
    }

    /// Both parts of this node that go by layouts, and the transport, learn of the latest.
    pub(super) fn take_part(&mut self) {
        if let Some(layout) = self.layout.clone()
            && matches!(self.life, Life::Member(_))
            && self.drained.is_empty()
        {
            self.surroundings.transport.members(&layout);
            self.give(Input::Layout(Arc::clone(&layout)));
            self.coordinate(coordinator::Input::Layout(layout));
            self.look_at_standing();
            self.look_for_deaths();
        }
        self.look_for_takers();
        self.publish();
    }

    /// Asks for whatever the layout does not show yet: to be ready, or to leave.
    pub(super) fn look_at_standing(&mut self) {
        let again = self.now() + self.settings.protocol.retry_most;
        let leaves = self.leaving.is_some();
        let standing = self.standing();
        let Some(member) = self.member() else {
            return;
        };
        let me = member.me;
        member.look_at = match standing {
            // The layout that names it is on its way.
            None => None,
            Some(Standing::Ready) if !leaves => None,
            Some(_) => Some(again),
        };
        match standing {
            Some(Standing::Joining) if !leaves => self.ask(Asked::Ready(me), Command::Ready(me)),
            Some(Standing::Joining | Standing::Ready) if leaves => {
                self.ask(Asked::Leave(me), Command::Leave(me));
            }
            Some(Standing::Leaving) => {
                self.give(Input::Evacuate);
                self.look_for_takers();
            }
            _ => {}
        }
    }

    fn standing(&self) -> Option<Standing> {
        let (me, layout) = (self.me()?, self.layout.as_ref()?);
        layout.members.get(&me).map(|member| member.standing)
    }

    /// The protocol learns until when this incarnation may act; the gate knows already.
    pub(super) fn pass_lease_on(&mut self) {
        let until = self.leases.until();
        if let (Some(until), Some(member)) = (until, self.member())
            && member.may_act_until < until
        {
            member.may_act_until = until;
            self.give(Input::Lease(until));
        }
    }

    /// The authority does not know this incarnation any more: it owns nothing, and comes back as
    /// somebody new, with what it still has. Where it is leaving and has nothing, it has left.
    pub(super) fn fence(&mut self) {
        if self.leaving.is_some() && self.left_behind() == 0 {
            self.has_left();
            return;
        }
        // First nobody may act, then nothing new comes, then everything is taken.
        self.leases.end();
        self.open.close_all();
        self.bury_departed(usize::MAX);
        let fenced = std::mem::replace(&mut self.life, Life::Over);
        let Life::Member(fenced) = fenced else {
            self.life = fenced;
            return;
        };
        fenced.keeper.abort();
        self.drained.append(&mut self.sessions.drain());
        self.waiting.give_up();
        self.tell(Told::Fenced {
            former: fenced.me,
            offers: self.drained.len() + fenced.participant.sealed(),
        });
        self.life = Life::Joining {
            former: Some(Box::new(fenced.participant)),
            again_at: None,
        };
        self.publish();
        self.ask_to_join();
    }

    /// Encodes some of what was in the map when this node was fenced; it joins meanwhile, and takes
    /// part when all is.
    pub(super) fn encode_drained(&mut self) {
        if self.drained.is_empty() {
            return;
        }
        let now = self.now();
        let from = self.drained.len().saturating_sub(ROUND);
        for drained in self.drained.split_off(from) {
            let held = drained.served;
            let Some((id, tenure, revision, state)) = drained.encode(now) else {
                continue;
            };
            let copy = ReturnedCopy {
                id,
                tenure,
                revision,
                held,
                away_since: None,
                state,
            };
            if matches!(self.life, Life::Member(_)) {
                self.step(Input::Returned(copy));
            } else {
                self.returned.push(copy);
            }
        }
        if self.drained.is_empty() {
            self.take_part();
        }
    }

    /// The node is gone for good.
    pub(super) fn end(&mut self) {
        self.gate.revoke();
        self.open.close_all();
        self.waiting.give_up();
        self.life = Life::Over;
    }
}
