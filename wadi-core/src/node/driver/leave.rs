//! Leaving: agreed, then everything is moved to the others, then gone. At its deadline it goes with
//! what is left.

use tokio::sync::oneshot;

use super::{Driver, Life};
use crate::authority::Command;
use crate::clock::Moment;
use crate::node::given::Asked;
use crate::node::listen::Told;
use crate::node::status::Left;

/// A leaving under way.
pub(super) struct Leaving {
    pub(super) until: Moment,
    /// Who waits for its end.
    replies: Vec<oneshot::Sender<Left>>,
}

impl Driver {
    pub(super) fn start_leaving(&mut self, until: Moment, reply: oneshot::Sender<Left>) {
        match &mut self.leaving {
            Some(leaving) => {
                leaving.until = leaving.until.min(until);
                leaving.replies.push(reply);
            }
            None => {
                self.leaving = Some(Leaving {
                    until,
                    replies: vec![reply],
                });
                self.look_at_standing();
            }
        }
    }

    /// The protocol has nothing left to move. It is asked again, and says so again, until the
    /// authority has agreed that this member is gone.
    pub(super) fn evacuated(&mut self) {
        if let (Some(me), true) = (self.me(), self.leaving.is_some()) {
            let command = Command::Left {
                incarnation: me,
                force: false,
            };
            self.ask(Asked::Left(me), command);
        }
    }

    /// The authority agreed that this member is gone.
    pub(super) fn has_left(&mut self) {
        self.go(true);
    }

    /// The time is up. The authority is told by a task that outlives the driver; should that fail, the
    /// lease runs out by itself.
    pub(super) fn leave_in_haste(&mut self) {
        if let Some(me) = self.me() {
            // Nothing is acknowledged any more once the others are told.
            self.gate.revoke();
            let authority = std::sync::Arc::clone(&self.surroundings.authority);
            let wait = self.settings.authority_wait;
            tokio::spawn(async move {
                let command = Command::Left {
                    incarnation: me,
                    force: true,
                };
                let left = tokio::time::timeout(wait, authority.command(command));
                drop(left.await);
            });
        }
        self.go(false);
    }

    /// How many sessions would be lost with this node.
    pub(super) fn left_behind(&self) -> usize {
        match &self.life {
            Life::Member(member) => self.sessions.map().len() + member.participant.sealed(),
            Life::Joining { returned, .. } => returned.len(),
            Life::Over => 0,
        }
    }

    fn go(&mut self, agreed: bool) {
        let left_behind = self.left_behind();
        let left = Left {
            in_good_order: agreed && left_behind == 0,
            left_behind,
        };
        self.end();
        self.status.send_modify(|status| {
            status.incarnation = None;
            status.left = Some(left);
        });
        self.tell(Told::Left { left_behind });
        if let Some(leaving) = self.leaving.take() {
            for reply in leaving.replies {
                // Who has given up meanwhile is not told.
                let _ = reply.send(left);
            }
        }
    }
}
