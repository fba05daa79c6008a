//! Leaving: agreed, then everything is moved to the others, then gone, when it may go. At its deadline
//! it goes with what is left.

use std::time::Duration;

use tokio::sync::oneshot;

use super::{Driver, Life};
use crate::authority::Command;
use crate::clock::Moment;
use crate::member::{Member, Standing};
use crate::node::given::Asked;
use crate::node::listen::Told;
use crate::node::status::{Evacuation, Left};

/// A leaving under way.
pub(super) struct Leaving {
    /// When requests that still use sessions of this node lose them.
    pub(super) revoke_at: Moment,
    /// When it goes, with what is left; not before it may go.
    pub(super) until: Moment,
    /// Whether it goes when everything is moved; until then it goes on as a member that has nothing.
    may_go: bool,
    /// How many sessions were here when it began.
    began_with: usize,
    /// Who waits until everything is moved.
    moved: Vec<oneshot::Sender<bool>>,
    /// Who waits for its end.
    gone: Vec<oneshot::Sender<Left>>,
}

impl Driver {
    pub(super) fn evacuate(&mut self, revoke_at: Moment, reply: oneshot::Sender<bool>) {
        let leaving = self.leaving_by(revoke_at);
        leaving.moved.push(reply);
        self.look_at_standing();
        self.report_evacuation();
    }

    pub(super) fn start_leaving(&mut self, until: Moment, reply: oneshot::Sender<Left>) {
        let now = self.now();
        let leaving = self.leaving_by(now + until.since(now) * 9 / 10);
        leaving.until = leaving.until.min(until);
        leaving.may_go = true;
        leaving.gone.push(reply);
        self.look_at_standing();
        self.report_evacuation();
    }

    fn leaving_by(&mut self, revoke_at: Moment) -> &mut Leaving {
        let began_with = self.left_behind();
        if let Some(under) = &self.under {
            under.reach.make_haste();
        }
        let leaving = self.leaving.get_or_insert_with(|| Leaving {
            revoke_at,
            until: Moment::from_nanos(u64::MAX),
            may_go: false,
            began_with,
            moved: Vec::new(),
            gone: Vec::new(),
        });
        leaving.revoke_at = leaving.revoke_at.min(revoke_at);
        leaving
    }

    /// The protocol has nothing left to move. It is asked again, and says so again, until the
    /// authority has agreed that this member is gone.
    pub(super) fn evacuated(&mut self) {
        self.report_evacuation();
        let Some(leaving) = &mut self.leaving else {
            return;
        };
        for reply in leaving.moved.drain(..) {
            // Who has given up meanwhile is not told.
            let _ = reply.send(true);
        }
        let may_go = leaving.may_go;
        if let (Some(member), true) = (self.member(), may_go) {
            member.has_asked_to_go = true;
            let me = member.me;
            let command = Command::Left {
                incarnation: me,
                force: false,
            };
            self.ask(Asked::Left(me), command);
        }
    }

    /// Where nobody else is a member, waiting moves nothing, but where there is a store below all nodes. Where
    /// all others are leaving it may: who comes in their place takes what is here.
    pub(super) fn look_for_takers(&mut self) {
        let (Some(me), Some(layout)) = (self.me(), &self.layout) else {
            return;
        };
        let others = || layout.members.iter().filter(|(who, _)| **who != me);
        let is_alone = self.under.is_none() && others().next().is_none();
        let stays = |member: &Member| member.standing != Standing::Leaving;
        let has_takers = others().any(|(_, member)| stays(member));
        let is_late = self.is_late_by(self.time_to_put()) && !has_takers;
        let Some(leaving) = &mut self.leaving else {
            return;
        };
        if is_alone || is_late {
            for reply in leaving.moved.drain(..) {
                let _ = reply.send(false);
            }
        }
        if is_alone && leaving.may_go {
            self.leave_in_haste();
        }
    }

    /// Whether requests have had their time: what they still use is moved from under them.
    pub(super) fn revokes(&self) -> bool {
        self.is_late_by(Duration::ZERO)
    }

    /// What was in use until requests had had their time is put into the store only then.
    fn time_to_put(&self) -> Duration {
        let has_store = self.under.is_some();
        if has_store {
            self.settings.store_wait
        } else {
            Duration::ZERO
        }
    }

    /// Whether requests have had their time, and so much more.
    fn is_late_by(&self, time: Duration) -> bool {
        let leaving = self.leaving.as_ref();
        leaving.is_some_and(|leaving| leaving.revoke_at + time <= self.now())
    }

    /// Lets everybody see how far it is.
    pub(super) fn report_evacuation(&self) {
        let left = self.left_behind();
        let evacuation = self.leaving.as_ref().map(|leaving| Evacuation {
            began_with: leaving.began_with.max(left),
            left,
        });
        self.status.send_if_modified(|status| {
            let changed = status.evacuation != evacuation;
            status.evacuation = evacuation;
            changed
        });
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
        let sealed = match &self.life {
            Life::Member(member) => member.participant.sealed(),
            Life::Joining { former, .. } => former.as_ref().map_or(0, |former| former.sealed()),
            Life::Over => 0,
        };
        let drained = self.drained.len() + self.returned.len();
        self.sessions.map().len() + drained + sealed
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
            for reply in leaving.gone {
                let _ = reply.send(left);
            }
        }
    }
}
