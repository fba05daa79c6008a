//! Becoming a member, staying one, and coming back as somebody new.

use std::sync::Arc;
use std::time::Duration;

use super::{Driver, Life, Membership};
use crate::authority::{Answer, Command, Joined, Lease, RenewalNumber};
use crate::bucket::AssignmentTerms;
use crate::clock::Moment;
use crate::member::Standing;
use crate::node::authority::Unreachable;
use crate::node::given::{Asked, Letterbox};
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
            _ => *again_at = Some(now + wait),
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
        let Life::Joining {
            former, returned, ..
        } = &mut self.life
        else {
            return;
        };
        let participant = match former.take() {
            Some(former) => former.come_back(me, std::mem::take(returned)),
            None => Participant::new(me, Arc::clone(&self.settings.protocol)),
        };
        let terms = AssignmentTerms::default().with_deputies(self.settings.charter.deputies);
        self.life = Life::Member(Box::new(Membership {
            me,
            participant,
            coordinator: Coordinator::new(me, Oldest, terms, self.settings.pace.clone()),
            lease,
            look_at: None,
            has_asked_to_go: false,
        }));
        let inbox = Letterbox {
            me,
            queue: self.back.clone(),
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
        {
            self.surroundings.transport.members(&layout);
            self.give(Input::Layout(Arc::clone(&layout)));
            self.coordinate(coordinator::Input::Layout(layout));
            self.look_at_standing();
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

    pub(super) fn renew(&mut self) {
        let now = self.now();
        let Some(member) = self.member() else {
            return;
        };
        let (me, number) = (member.me, member.lease.renew(now));
        self.ask(Asked::Renew(me, number), Command::Renew(me));
    }

    pub(super) fn renewed(&mut self, number: RenewalNumber, length: Duration) {
        let now = self.now();
        if let Some(member) = self.member() {
            member.lease.granted(number, length, now);
            self.pass_lease_on();
        }
    }

    /// The requests' gate and the protocol learn until when this incarnation may act.
    fn pass_lease_on(&mut self) {
        const ALWAYS: Moment = Moment::from_nanos(u64::MAX);
        let Some(member) = self.member() else {
            return;
        };
        let until = member.lease.until().unwrap_or(ALWAYS);
        self.gate.extend(until);
        self.give(Input::Lease(until));
    }

    /// The authority does not know this incarnation any more: it owns nothing, and comes back as
    /// somebody new, with what it still has. Where it is leaving and has nothing, it has left.
    pub(super) fn fence(&mut self) {
        if self.leaving.is_some() && self.left_behind() == 0 {
            self.has_left();
            return;
        }
        // First nobody may act, then nothing new comes, then everything is taken.
        self.gate.close();
        self.open.close_all();
        self.bury_departed();
        let fenced = std::mem::replace(&mut self.life, Life::Over);
        let Life::Member(fenced) = fenced else {
            self.life = fenced;
            return;
        };
        let drained = self.sessions.drain(self.now());
        let returned: Vec<_> = drained
            .into_iter()
            .map(|(id, tenure, revision, state)| ReturnedCopy {
                id,
                tenure,
                revision,
                state,
            })
            .collect();
        self.waiting.give_up();
        self.tell(Told::Fenced {
            former: fenced.me,
            offers: returned.len() + fenced.participant.sealed(),
        });
        self.life = Life::Joining {
            former: Some(Box::new(fenced.participant)),
            returned,
            again_at: None,
        };
        self.publish();
        self.ask_to_join();
    }

    /// The node is gone for good.
    pub(super) fn end(&mut self) {
        self.gate.revoke();
        self.open.close_all();
        self.waiting.give_up();
        self.life = Life::Over;
    }
}
