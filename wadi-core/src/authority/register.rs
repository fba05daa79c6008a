//! The authority as a state machine: members with their leases, the layout, tombstones.
//!
//! Commands go in with the authority's `now`, answers come out; the same commands in the same
//! order give the same register on every machine. It never learns of a session, and it decides
//! nothing that its caller has not asked for: also nobody dies before [`Register::expire`].
//!
//! The moments in it are readings of one clock: that of whoever led last. A new leader's first
//! command is therefore [`Register::take_over`], which overwrites every one of them.

mod electing;

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::electorate::Electorate;
use super::tombstone::{Death, Tombstone};
use crate::bucket::{AssignmentTerms, BucketCount, Layout, LayoutVersion};
use crate::clock::Moment;
use crate::member::{Founding, Incarnation, Member, NodeName, Place, Standing};
use crate::proof::Proof;
use crate::sabotage::{self, Rule};

/// What a cluster is founded with and never changes while it lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Charter {
    /// The number of buckets.
    pub buckets: BucketCount,
    /// How many deputies each bucket has, if there are that many other eligible members.
    pub deputies: u8,
    /// How long a lease lasts, by the authority's clock, from the receipt of the renewal.
    pub lease: Duration,
}

impl Default for Charter {
    /// 4096 buckets, one deputy each, leases of four seconds.
    fn default() -> Self {
        Self {
            buckets: BucketCount::DEFAULT,
            deputies: 1,
            lease: Duration::from_secs(4),
        }
    }
}

/// One linearizable register of one generation.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Register {
    charter: Charter,
    founding: Founding,
    layout: Layout,
    /// The last incarnation given; every one up to it in this generation was given once.
    last: Incarnation,
    /// Member → when its last renewal was received. Its keys are the layout's members.
    renewed: BTreeMap<Incarnation, Moment>,
    /// The latest [`Register::TOMBSTONES_KEPT`] former members.
    tombstones: BTreeMap<Incarnation, Tombstone>,
    /// Who founds the next generation if most voters die: the one that holds, and then those that are
    /// about to follow it. All of them are to be kept to.
    #[serde(default)]
    electorates: Vec<Electorate>,
}

/// A change that is agreed before it is applied.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Command {
    /// See [`Register::join`].
    Join {
        /// The node's name.
        node: NodeName,
        /// Where other nodes reach it.
        address: String,
        /// Where it listens at exactly that address, if it knows.
        #[serde(default)]
        place: Option<Place>,
    },
    /// See [`Register::renew`].
    Renew(Incarnation),
    /// See [`Register::ready`].
    Ready(Incarnation),
    /// See [`Register::leave`].
    Leave(Incarnation),
    /// See [`Register::left`].
    Left {
        /// Who left.
        incarnation: Incarnation,
        /// Also when it still manages buckets.
        force: bool,
    },
    /// See [`Register::prove_dead`].
    DeclareDead {
        /// Who has the proof.
        by: Incarnation,
        /// Who is dead.
        incarnation: Incarnation,
        /// How that is known.
        proof: Proof,
    },
    /// See [`Register::expire`].
    Expire,
    /// See [`Register::propose`].
    Propose {
        /// The version that the proposer saw.
        against: LayoutVersion,
        /// At most so many moves for balance alone; `None`: no limit.
        most_moves: Option<u16>,
    },
    /// See [`Register::take_over`].
    TakeOver,
    /// See [`Register::name`].
    Name(Electorate),
    /// See [`Register::settle`].
    Settle,
    /// See [`Register::raise`].
    Raise {
        /// The generation that it is to be above.
        above: u32,
    },
}

/// The answer to a [`Command`].
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Answer {
    /// To [`Command::Join`].
    Joined(Joined),
    /// To [`Command::Renew`]: the length of the lease.
    Renewed(Result<Duration, NotAMember>),
    /// To [`Command::Ready`] and [`Command::Leave`].
    Recorded(Result<(), NotAMember>),
    /// To [`Command::DeclareDead`].
    Declared(Result<(), NotDeclared>),
    /// To [`Command::Left`].
    Left(Result<(), LeftRefused>),
    /// To [`Command::Expire`]: who was declared dead.
    Expired(Vec<Incarnation>),
    /// To [`Command::Propose`]: the version that holds now.
    Proposed(Result<LayoutVersion, ProposeRefused>),
    /// To [`Command::TakeOver`].
    TookOver,
    /// To [`Command::Name`] and [`Command::Settle`].
    Named,
    /// To [`Command::Raise`]: the generation that it is of now.
    Raised(u32),
}

/// A new member's place in the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Joined {
    /// Given to nobody before, in this founding.
    pub incarnation: Incarnation,
    /// Which cluster it is of: another one of the same generation gives the same numbers.
    pub founding: Founding,
    /// The length of its first lease, which the node counts from when it sent the join.
    pub lease: Duration,
}

/// Why a member's command did nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, thiserror::Error)]
pub enum NotAMember {
    /// It was a member and is none any more. Nothing changed; what it owned is somebody else's.
    #[error(
        "incarnation {0:?} was declared dead or has left; join again as a new one and offer what is held"
    )]
    Tombstoned(Incarnation),
    /// This generation never gave this incarnation. Nothing changed.
    #[error("incarnation {0:?} was not given by this generation of the authority; join again")]
    Unknown(Incarnation),
}

/// Why nobody was declared dead. Nothing changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, thiserror::Error)]
pub enum NotDeclared {
    /// It is no member, or none any more: there is nothing to declare.
    #[error(transparent)]
    NotAMember(#[from] NotAMember),
    /// Who says so is no member.
    #[error("incarnation {0:?}, which says so, is no member")]
    ByNobody(Incarnation),
    /// This member cannot have this proof of that one's death.
    #[error("incarnation {by:?} cannot have this proof ({proof:?}) of that death")]
    NoProof {
        /// Who says so.
        by: Incarnation,
        /// What it says.
        proof: Proof,
    },
}

/// Why a member that wants to be gone is still a member. Nothing changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, thiserror::Error)]
pub enum LeftRefused {
    /// It is no member.
    #[error(transparent)]
    NotAMember(#[from] NotAMember),
    /// It has not declared that it is leaving.
    #[error("incarnation {0:?} is not leaving; say leave first, or force it")]
    NotLeaving(Incarnation),
    /// It still manages buckets.
    #[error("it still manages {0} buckets; wait for their re-assignment, or force it")]
    StillManages(usize),
}

/// Why a proposal did nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, thiserror::Error)]
pub enum ProposeRefused {
    /// The layout has changed meanwhile. Nothing changed; look at the new one and decide again.
    #[error("the layout is at version {0:?} already; propose against that one")]
    Conflict(LayoutVersion),
}

impl Register {
    /// Of how many former members it is remembered how they ended.
    pub const TOMBSTONES_KEPT: usize = 1024;

    /// More changes, or incarnations, than a generation ever comes to: thousands of years at one a second.
    const MOST_CHANGES: u64 = 1 << 38;

    /// A new generation, with `node` as its one member, which is ready and manages every bucket.
    ///
    /// Incarnations of different generations are different: their upper bits are the generation.
    /// Those of different foundings of one generation may be the same.
    #[must_use]
    pub fn found(
        charter: Charter,
        founding: Founding,
        generation: u32,
        node: NodeName,
        address: String,
        now: Moment,
    ) -> (Self, Joined) {
        let before_first = Incarnation::new(LayoutVersion::founding(generation).as_u64());
        let founder = Incarnation::new(before_first.get() + 1);
        let member = Member {
            node,
            address,
            place: None,
            standing: Standing::Ready,
        };
        let mut register = Self {
            charter,
            founding,
            layout: Layout::found(charter.buckets, generation, founder, member),
            last: founder,
            renewed: BTreeMap::from([(founder, now)]),
            tombstones: BTreeMap::new(),
            electorates: Vec::new(),
        };
        register.all_vote();
        let joined = Joined {
            incarnation: founder,
            founding,
            lease: charter.lease,
        };
        (register, joined)
    }

    /// Carries out one agreed command.
    pub fn apply(&mut self, command: Command, now: Moment) -> Answer {
        match command {
            Command::Join {
                node,
                address,
                place,
            } => Answer::Joined(self.join_in(place, node, address, now)),
            Command::Renew(incarnation) => Answer::Renewed(self.renew(incarnation, now)),
            Command::Ready(incarnation) => Answer::Recorded(self.ready(incarnation)),
            Command::Leave(incarnation) => Answer::Recorded(self.leave(incarnation)),
            Command::Left { incarnation, force } => Answer::Left(self.left(incarnation, force)),
            Command::DeclareDead {
                by,
                incarnation,
                proof,
            } => Answer::Declared(self.prove_dead(by, incarnation, proof)),
            Command::Expire => Answer::Expired(self.expire(now)),
            Command::Propose {
                against,
                most_moves,
            } => Answer::Proposed(self.propose(against, most_moves)),
            Command::TakeOver => {
                self.take_over(now);
                Answer::TookOver
            }
            Command::Name(electorate) => {
                self.name(electorate);
                Answer::Named
            }
            Command::Settle => {
                self.settle();
                Answer::Named
            }
            Command::Raise { above } => Answer::Raised(self.raise(above)),
        }
    }

    /// Takes in a new member, which is given no buckets before it is [`Register::ready`].
    ///
    /// Each call gives another incarnation: one whose answer got lost dies when its lease runs
    /// out. A member of the same name or address stays as it is; that it is dead needs a proof.
    pub fn join(&mut self, node: NodeName, address: String, now: Moment) -> Joined {
        self.join_in(None, node, address, now)
    }

    /// The same for a node that says in which place it listens at its address.
    pub fn join_in(
        &mut self,
        place: Option<Place>,
        node: NodeName,
        address: String,
        now: Moment,
    ) -> Joined {
        let incarnation = if sabotage::is_off(Rule::Incarnation) {
            self.former(&node, &address).unwrap_or_else(|| self.issue())
        } else {
            self.issue()
        };
        let member = Member {
            node,
            address,
            place,
            standing: Standing::Joining,
        };
        self.layout.members.entry(incarnation).or_insert(member);
        self.renewed.insert(incarnation, now);
        self.tombstones.remove(&incarnation);
        self.bump();
        Joined {
            incarnation,
            founding: self.founding,
            lease: self.charter.lease,
        }
    }

    /// Records a renewal received at `now`; the answer is the length of the lease.
    ///
    /// The answer may leave only once this command is agreed: a leader that has been replaced
    /// and does not know it must not lengthen anything.
    ///
    /// # Errors
    ///
    /// [`NotAMember`]: the lease is not renewed and never will be.
    pub fn renew(&mut self, incarnation: Incarnation, now: Moment) -> Result<Duration, NotAMember> {
        self.member(incarnation)?;
        let received = self.renewed.entry(incarnation).or_insert(now);
        *received = now.max(*received);
        Ok(self.charter.lease)
    }

    /// Records that a member may be given buckets. Nothing changes when it is ready already, or
    /// leaving.
    ///
    /// # Errors
    ///
    /// [`NotAMember`]: nothing changed.
    pub fn ready(&mut self, incarnation: Incarnation) -> Result<(), NotAMember> {
        let member = self.member(incarnation)?;
        if member.standing == Standing::Joining {
            member.standing = Standing::Ready;
            self.bump();
        }
        Ok(())
    }

    /// Records that a member is leaving: the next re-assignment takes its buckets away, and until
    /// it has handed them over it goes on answering for them. Saying it twice changes nothing.
    ///
    /// # Errors
    ///
    /// [`NotAMember`]: nothing changed.
    pub fn leave(&mut self, incarnation: Incarnation) -> Result<(), NotAMember> {
        let member = self.member(incarnation)?;
        if member.standing != Standing::Leaving {
            member.standing = Standing::Leaving;
            self.bump();
        }
        Ok(())
    }

    /// Removes a leaving member that manages nothing any more, or that says it holds nothing where
    /// every other member is leaving, too: nobody could be given its buckets, and what they remember of
    /// sessions that ended goes with the whole cluster. With `force` any member, at its own word: it
    /// has stopped acting.
    ///
    /// # Errors
    ///
    /// [`LeftRefused`]: nothing changed.
    pub fn left(&mut self, incarnation: Incarnation, force: bool) -> Result<(), LeftRefused> {
        let standing = self.member(incarnation)?.standing;
        let manages = self.layout.managed_by(incarnation);
        if !force && standing != Standing::Leaving {
            return Err(LeftRefused::NotLeaving(incarnation));
        }
        if !force && manages > 0 && !self.layout.everybody_leaves() {
            return Err(LeftRefused::StillManages(manages));
        }
        let in_good_order = standing == Standing::Leaving && (manages == 0 || !force);
        self.bury(
            incarnation,
            if in_good_order {
                Death::Left
            } else {
                Death::LeftInHaste
            },
            None,
        );
        self.bump();
        Ok(())
    }

    /// The member `by` has this proof that the process of another one has ended: that one is removed,
    /// whatever its lease says, if `by` can have the proof.
    ///
    /// # Errors
    ///
    /// [`NotDeclared`]: nothing changed.
    pub fn prove_dead(
        &mut self,
        by: Incarnation,
        incarnation: Incarnation,
        proof: Proof,
    ) -> Result<(), NotDeclared> {
        let dead = self.member(incarnation)?.clone();
        let members = &self.layout.members;
        let prover = members.get(&by).ok_or(NotDeclared::ByNobody(by))?;
        if !proof.fits((by, prover), (incarnation, &dead)) {
            return Err(NotDeclared::NoProof { by, proof });
        }
        self.bury(incarnation, Death::Proven(proof), Some(by));
        self.bump();
        Ok(())
    }

    /// Removes a member that is proven not to run, whatever its lease says. That it is, the caller knows
    /// for certain; what a member says goes through [`Register::prove_dead`].
    ///
    /// # Errors
    ///
    /// [`NotAMember`]: nothing changed.
    pub fn declare_dead(
        &mut self,
        incarnation: Incarnation,
        proof: Proof,
    ) -> Result<(), NotAMember> {
        self.member(incarnation)?;
        self.bury(incarnation, Death::Proven(proof), None);
        self.bump();
        Ok(())
    }

    /// Declares dead exactly those whose lease ran out, and says who; one change for all of them.
    pub fn expire(&mut self, now: Moment) -> Vec<Incarnation> {
        let overdue = self.overdue(now);
        for incarnation in &overdue {
            self.bury(*incarnation, Death::LeaseRanOut, None);
        }
        if !overdue.is_empty() {
            self.bump();
        }
        overdue
    }

    /// Whom [`Register::expire`] would declare dead at `now`, in join order.
    #[must_use]
    pub fn overdue(&self, now: Moment) -> Vec<Incarnation> {
        let is_over = |received: &Moment| now >= *received + self.patience();
        self.renewed
            .iter()
            .filter(|(_, received)| is_over(received))
            .map(|(incarnation, _)| *incarnation)
            .collect()
    }

    /// When the next lease runs out, if nothing is renewed before; a good moment to call
    /// [`Register::expire`].
    #[must_use]
    pub fn next_expiry(&self) -> Option<Moment> {
        self.renewed
            .values()
            .min()
            .map(|received| *received + self.patience())
    }

    fn patience(&self) -> Duration {
        if sabotage::is_off(Rule::Wait) {
            self.charter.lease / 2
        } else {
            self.charter.lease
        }
    }

    /// Re-assigns the buckets, if `against` is still the layout's version, and says which version
    /// holds now: the same one when there was nothing to change.
    ///
    /// # Errors
    ///
    /// [`ProposeRefused::Conflict`]: nothing changed.
    pub fn propose(
        &mut self,
        against: LayoutVersion,
        most_moves: Option<u16>,
    ) -> Result<LayoutVersion, ProposeRefused> {
        if against != self.layout.version {
            return Err(ProposeRefused::Conflict(self.layout.version));
        }
        let terms = self.terms().with_most_moves(most_moves);
        if let Some(next) = self.layout.reassigned(&terms) {
            self.layout = next;
        }
        Ok(self.layout.version)
    }

    /// The first command of a new leader: nobody is declared dead without proof before one whole
    /// lease from `now`, by this leader's clock, whatever the leader before had promised.
    pub fn take_over(&mut self, now: Moment) {
        if sabotage::is_off(Rule::Grace) {
            return;
        }
        for received in self.renewed.values_mut() {
            *received = now;
        }
    }

    /// What the cluster was founded with.
    #[must_use]
    pub const fn charter(&self) -> &Charter {
        &self.charter
    }

    /// The layout that holds now, members included.
    #[must_use]
    pub const fn layout(&self) -> &Layout {
        &self.layout
    }

    /// The generation; grows by one where most voters died together.
    #[must_use]
    pub const fn generation(&self) -> u32 {
        self.layout.version.generation()
    }

    /// What a re-assignment here has to keep to, without a limit on moves.
    #[must_use]
    pub fn terms(&self) -> AssignmentTerms {
        AssignmentTerms::default().with_deputies(self.charter.deputies)
    }

    /// How a former member ended; `None` for members, for those of other generations, and for
    /// those of whom only the number is remembered.
    #[must_use]
    pub fn tombstone(&self, incarnation: Incarnation) -> Option<&Tombstone> {
        self.tombstones.get(&incarnation)
    }

    /// The former members of whom it is remembered how they ended, in join order.
    pub fn tombstones(&self) -> impl Iterator<Item = (Incarnation, &Tombstone)> {
        self.tombstones
            .iter()
            .map(|(incarnation, tombstone)| (*incarnation, tombstone))
    }

    /// What is wrong with this register, if anything.
    ///
    /// # Errors
    ///
    /// The first [`RegisterFault`](super::RegisterFault) found.
    pub fn check(&self) -> Result<(), RegisterFault> {
        self.layout.check()?;
        if !self.renewed.keys().eq(self.layout.members.keys()) {
            return Err(RegisterFault::MembersWithoutLease);
        }
        if self
            .layout
            .members
            .keys()
            .any(|member| self.tombstones.contains_key(member))
        {
            return Err(RegisterFault::LivingDead);
        }
        let given = self.layout.members.keys().chain(self.tombstones.keys());
        if given.max().is_some_and(|youngest| *youngest > self.last) {
            return Err(RegisterFault::NeverGiven);
        }
        if self.tombstones.len() > Self::TOMBSTONES_KEPT {
            return Err(RegisterFault::TooManyTombstones);
        }
        if self.electorates.len() > Self::MOST_ELECTORATES {
            return Err(RegisterFault::TooManyElectorates);
        }
        // A register whose numbers were near their end would soon give one twice.
        let is_counted = |number: LayoutVersion| {
            number.generation() == self.generation() && number.number() <= Self::MOST_CHANGES
        };
        let last = LayoutVersion::from_u64(self.last.get());
        if !is_counted(self.layout.version) || !is_counted(last) {
            return Err(RegisterFault::NotCounted);
        }
        Ok(())
    }

    fn member(&mut self, incarnation: Incarnation) -> Result<&mut Member, NotAMember> {
        let first = LayoutVersion::founding(self.generation()).as_u64() + 1;
        let was_given = incarnation.get() >= first && incarnation <= self.last;
        let refused = if was_given {
            NotAMember::Tombstoned(incarnation)
        } else {
            NotAMember::Unknown(incarnation)
        };
        self.layout.members.get_mut(&incarnation).ok_or(refused)
    }

    /// A founder says in which place it listens at its address, before anybody knows of it.
    pub(crate) fn locate(&mut self, founder: Incarnation, place: Option<Place>) {
        if let Some(member) = self.layout.members.get_mut(&founder) {
            member.place = place;
        }
    }

    /// Several found: nobody of them knows whether others are left of a cluster before, who may come back
    /// with what they held.
    #[cfg(feature = "raft")]
    pub(crate) fn may_follow_another(&mut self) {
        self.layout.unproven = self.layout.version;
    }

    fn issue(&mut self) -> Incarnation {
        self.last = Incarnation::new(self.last.get() + 1);
        self.last
    }

    /// The incarnation that a node of this name and address had; only for leaving rule 5 out.
    fn former(&self, node: &NodeName, address: &str) -> Option<Incarnation> {
        let same = |member: &Member| member.node == *node && member.address == address;
        let members = self.layout.members.iter();
        let dead = self
            .tombstones
            .iter()
            .map(|(number, tombstone)| (number, &tombstone.member));
        members
            .chain(dead)
            .filter(|(_, member)| same(member))
            .map(|(number, _)| *number)
            .max()
    }

    /// The layout that tells of it comes with the next [`Register::bump`].
    fn bury(&mut self, incarnation: Incarnation, death: Death, proven_by: Option<Incarnation>) {
        self.renewed.remove(&incarnation);
        if let Some(member) = self.layout.members.remove(&incarnation) {
            let version = self.layout.version.next();
            if !death.is_certain() {
                self.layout.unproven = version;
            }
            self.tombstones.insert(
                incarnation,
                Tombstone {
                    member,
                    death,
                    proven_by,
                    version,
                },
            );
        }
        while self.tombstones.len() > Self::TOMBSTONES_KEPT {
            let oldest = self.tombstones.iter();
            let oldest = oldest.min_by_key(|(who, tombstone)| (tombstone.version, **who));
            let Some(oldest) = oldest.map(|(who, _)| *who) else {
                break;
            };
            self.tombstones.remove(&oldest);
        }
    }

    fn bump(&mut self) {
        self.layout.version = self.layout.version.next();
        debug_assert_eq!(self.check(), Ok(()));
    }
}

/// An invariant of a [`Register`] that does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RegisterFault {
    /// Its layout is wrong.
    #[error(transparent)]
    Layout(#[from] crate::bucket::LayoutFault),
    /// Leases and members differ.
    #[error("the members are not exactly those with a recorded lease")]
    MembersWithoutLease,
    /// A member has a tombstone.
    #[error("a member has a tombstone")]
    LivingDead,
    /// A member's number was never given.
    #[error("a member or a tombstone has a number that was never given")]
    NeverGiven,
    /// More tombstones than are kept.
    #[error("more tombstones than are kept")]
    TooManyTombstones,
    /// More electorates than there can be at once.
    #[error("more electorates than there can be at once")]
    TooManyElectorates,
    /// Its version or its last incarnation is of another generation, or too high to have been counted.
    #[error("its version or its last incarnation cannot have been counted")]
    NotCounted,
}

#[cfg(test)]
#[path = "register_tests.rs"]
mod tests;
