//! Deaths that this node has a proof of: the authority is asked to declare them until the layout shows it.
//!
//! A process that has ended stays so, so a proof is good for as long as its incarnation is a member.

use tokio::sync::oneshot;

use super::{Driver, Life};
use crate::authority::Command;
use crate::member::{Incarnation, Standing};
use crate::node::given::Asked;
use crate::node::listen::Told;
use crate::node::status::NotDeclaredDead;
use crate::proof::Proof;

/// A death that is to be declared.
pub(super) struct Proven {
    proof: Proof,
    /// The authority is being asked.
    is_asked: bool,
}

impl Driver {
    /// The network has this proof that a member's process has ended. `me` is who was told.
    pub(super) fn died(&mut self, me: Incarnation, who: Incarnation, proof: Proof) {
        if self.me() == Some(me) {
            self.note_death(who, proof);
        }
    }

    /// An operator says that a member has ended. With `force` also one that seems to be there.
    pub(super) fn declare_dead(
        &mut self,
        who: Incarnation,
        force: bool,
        reply: oneshot::Sender<Result<(), NotDeclaredDead>>,
    ) {
        let is_connected = self.surroundings.transport.is_connected(who);
        let result = match self.me() {
            None => Err(NotDeclaredDead::NotReady),
            Some(me) if me == who => Err(NotDeclaredDead::Myself),
            Some(_) if !self.is_member(who) => Err(NotDeclaredDead::NoMember),
            Some(_) if is_connected && !force => Err(NotDeclaredDead::Connected),
            Some(_) => {
                self.note_death(who, Proof::Operator);
                Ok(())
            }
        };
        // Who has given up meanwhile is not told.
        let _ = reply.send(result);
    }

    fn is_member(&self, who: Incarnation) -> bool {
        let layout = self.layout.as_ref();
        layout.is_some_and(|layout| layout.is_member(who))
    }

    fn note_death(&mut self, who: Incarnation, proof: Proof) {
        let layout = self.layout.as_ref();
        let known = layout.and_then(|layout| layout.members.get(&who));
        let was_leaving = known.is_some_and(|known| known.standing == Standing::Leaving);
        let is_other = self.me() != Some(who) && self.is_member(who);
        let Some(member) = self.member().filter(|_| is_other) else {
            return;
        };
        if member.proven.contains_key(&who) {
            return;
        }
        let proven = Proven {
            proof,
            is_asked: false,
        };
        member.proven.insert(who, proven);
        self.tell(Told::Proven {
            who,
            proof,
            was_leaving,
        });
        self.declare_deaths();
    }

    /// A new layout: whoever listened where this process does has ended, for nobody else can have bound
    /// the address. Not an earlier incarnation of this very process: that one offers what it had.
    pub(super) fn look_for_deaths(&mut self) {
        let (Some(me), Some(first), Some(layout)) = (self.me(), self.first, &self.layout) else {
            return;
        };
        let former: Vec<_> = match layout.members.get(&me) {
            Some(own) if own.place.is_some() => layout
                .members
                .range(..first)
                .filter(|(_, former)| former.place == own.place && former.address == own.address)
                .map(|(who, _)| *who)
                .collect(),
            _ => Vec::new(),
        };
        for who in former {
            self.note_death(who, Proof::BoundAddress);
        }
        self.declare_deaths();
    }

    /// Asks for whatever the layout does not show yet, and is not being asked.
    pub(super) fn declare_deaths(&mut self) {
        let again = self.now() + self.settings.protocol.retry_most;
        let layout = self.layout.clone();
        let Life::Member(member) = &mut self.life else {
            return;
        };
        let by = member.me;
        member
            .proven
            .retain(|who, _| layout.as_ref().is_some_and(|layout| layout.is_member(*who)));
        member.declare_at = (!member.proven.is_empty()).then_some(again);
        let commands: Vec<_> = member
            .proven
            .iter_mut()
            .filter_map(|(who, proven)| {
                let was_asked = std::mem::replace(&mut proven.is_asked, true);
                (!was_asked).then_some((*who, proven.proof))
            })
            .collect();
        for (incarnation, proof) in commands {
            let command = Command::DeclareDead {
                by,
                incarnation,
                proof,
            };
            self.ask(Asked::Declare(by, incarnation), command);
        }
    }

    /// The authority answered, or did not; it is asked again later where the layout does not show it.
    pub(super) fn death_answered(&mut self, who: Incarnation) {
        if let Some(member) = self.member()
            && let Some(proven) = member.proven.get_mut(&who)
        {
            proven.is_asked = false;
        }
    }
}
