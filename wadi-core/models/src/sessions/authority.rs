//! The authority of the session model: the product's register, and every layout that it agreed,
//! for watchers that see them as late as they like.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use wadi_core::authority::{Charter, Proof, Register};
use wadi_core::bucket::{BucketCount, Layout};
use wadi_core::clock::Moment;
use wadi_core::member::{Founding, Incarnation, NodeName, Standing};

/// A change that was agreed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Change {
    Joined(usize),
    Dead(Incarnation),
    Expired(Incarnation),
    Leaving(Incarnation),
    Left(Incarnation),
    Reassigned,
}

/// See the module. What was agreed, in order, says everything; the rest follows from it.
#[derive(Clone, Debug)]
pub(super) struct Authority {
    log: Vec<Change>,
    register: Register,
    layouts: Vec<Arc<Layout>>,
}

impl PartialEq for Authority {
    fn eq(&self, other: &Self) -> bool {
        self.log == other.log
    }
}

impl Eq for Authority {}

impl Hash for Authority {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.log.hash(state);
    }
}

impl Authority {
    /// A cluster of one bucket, and its founder.
    pub(super) fn found() -> (Self, Incarnation) {
        let charter = Charter {
            buckets: BucketCount::new(1).expect("one bucket"),
            deputies: 1,
            ..Charter::default()
        };
        let (register, founder) = Register::found(
            charter,
            Founding::IN_PROCESS,
            0,
            NodeName::new("n0"),
            "n0".into(),
            Moment::ZERO,
        );
        let layouts = vec![Arc::new(register.layout().clone())];
        let authority = Self {
            log: Vec::new(),
            register,
            layouts,
        };
        (authority, founder.incarnation)
    }

    pub(super) fn layout(&self) -> &Arc<Layout> {
        self.layouts.last().expect("the founding one is there")
    }

    /// Every layout newer than `known`, oldest first.
    pub(super) fn newer<'a>(
        &'a self,
        known: Option<&'a Arc<Layout>>,
    ) -> impl Iterator<Item = &'a Arc<Layout>> {
        self.layouts
            .iter()
            .filter(move |layout| known.is_none_or(|known| layout.version > known.version))
    }

    pub(super) fn is_member(&self, who: Incarnation) -> bool {
        self.layout().is_member(who)
    }

    pub(super) fn standing(&self, who: Incarnation) -> Option<Standing> {
        self.layout()
            .members
            .get(&who)
            .map(|member| member.standing)
    }

    fn agree(&mut self, change: Change) {
        self.log.push(change);
        if self.register.layout().version != self.layout().version {
            self.layouts.push(Arc::new(self.register.layout().clone()));
        }
    }

    /// Takes node `at` in and lets it be ready in one; nobody has to see the version between.
    pub(super) fn join(&mut self, at: usize) -> Incarnation {
        let name = format!("n{at}");
        let joined = self
            .register
            .join(NodeName::new(name.clone()), name, Moment::ZERO);
        self.register
            .ready(joined.incarnation)
            .expect("it has just joined");
        self.agree(Change::Joined(at));
        joined.incarnation
    }

    /// Declares dead who crashed, by a proof.
    pub(super) fn declare_dead(&mut self, who: Incarnation) {
        if self.register.declare_dead(who, Proof::Operator).is_ok() {
            self.agree(Change::Dead(who));
        }
    }

    /// Declares dead whose lease is known to have run out, and nobody else.
    pub(super) fn expire(&mut self, who: Incarnation) {
        let over = Moment::ZERO + self.register.charter().lease;
        let others: Vec<_> = self.layout().members.keys().copied().collect();
        for other in others.into_iter().filter(|other| *other != who) {
            self.register.renew(other, over).expect("it is a member");
        }
        let expired = self.register.expire(over);
        // Time stands still here.
        self.register.take_over(Moment::ZERO);
        if !expired.is_empty() {
            self.agree(Change::Expired(who));
        }
    }

    pub(super) fn leave(&mut self, who: Incarnation) {
        if self.register.leave(who).is_ok() {
            self.agree(Change::Leaving(who));
        }
    }

    /// Lets a leaving member go that manages nothing; whether it went.
    pub(super) fn left(&mut self, who: Incarnation) -> bool {
        let went = self.register.left(who, false).is_ok();
        if went {
            self.agree(Change::Left(who));
        }
        went
    }

    pub(super) fn has_orphans(&self) -> bool {
        self.layout().has_orphans()
    }

    /// The coordinator has the bucket re-assigned.
    pub(super) fn reassign(&mut self) {
        let version = self.layout().version;
        self.register
            .propose(version, None)
            .expect("it was made against the newest version");
        self.agree(Change::Reassigned);
    }
}
