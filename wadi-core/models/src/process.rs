//! One node of the lease model: what it believes, owns, and has begun.
//!
//! A process that is not scheduled is paused; its clock goes on. It has no access to the truth.

use wadi_core::authority::{Lease, RenewalNumber};
use wadi_core::bucket::LayoutVersion;
use wadi_core::clock::Moment;
use wadi_core::member::Incarnation;

use crate::leases::Rules;

/// What a layout says about the one bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct View {
    /// The layout's version.
    pub version: LayoutVersion,
    /// Who manages the bucket.
    pub manager: Incarnation,
    /// Since which version.
    pub since: LayoutVersion,
    /// Whom the manager must have asked before it owns the bucket.
    pub ask: Ask,
}

/// Who must have given the bucket up before its manager owns it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Ask {
    /// The former manager, which is a member.
    Former(Incarnation),
    /// Every other member: the former manager is gone, and may never have had the bucket, because
    /// one before it has not handed it over.
    Everyone(Members),
}

/// A small set of incarnations.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Members(u16);

impl Members {
    /// The set without `incarnation`.
    #[must_use]
    pub fn without(self, incarnation: Incarnation) -> Self {
        Self(self.0 & !(1 << incarnation.get()))
    }

    /// Who is in the set.
    pub fn iter(self) -> impl Iterator<Item = Incarnation> {
        (0..16)
            .filter(move |number| self.0 >> number & 1 == 1)
            .map(Incarnation::new)
    }
}

impl FromIterator<Incarnation> for Members {
    fn from_iter<I: IntoIterator<Item = Incarnation>>(members: I) -> Self {
        let add = |set: u16, member: Incarnation| set | 1 << member.get();
        Self(members.into_iter().fold(0, add))
    }
}

impl std::fmt::Debug for Members {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

/// What a process has of the bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Bucket {
    /// Nothing.
    Nothing,
    /// It waits under this epoch until these have given the bucket up.
    Pulls(LayoutVersion, Members),
    /// It answers for the bucket, as long as its lease is valid.
    Owns(LayoutVersion),
}

/// A message between nodes, or between a node and the authority.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Message {
    /// To the authority.
    Renew(Incarnation, RenewalNumber),
    /// From the authority: a renewal counts.
    Granted(Incarnation, RenewalNumber),
    /// From the authority: this incarnation is no member any more.
    Refused(Incarnation),
    /// To a former manager: the bucket is another's since this version.
    Pull {
        /// The former manager.
        to: Incarnation,
        /// The new one.
        from: Incarnation,
        /// The new one's epoch.
        epoch: LayoutVersion,
        /// Everybody is asked, so who has nothing to give says that.
        everyone: bool,
    },
    /// To the new manager: what this one had of the bucket, which is nothing from now on.
    Directory {
        /// The new manager.
        to: Incarnation,
        /// Who gave the bucket up.
        from: Incarnation,
        /// The new manager's epoch.
        epoch: LayoutVersion,
    },
}

/// A running process.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Process {
    /// Who it is.
    pub me: Incarnation,
    /// Its right to act.
    pub lease: Lease,
    /// The newest layout that it has seen.
    pub view: Option<View>,
    /// It has handed the bucket over under this epoch: layouts below it are of the past.
    pub gave_up: LayoutVersion,
    /// What it has of the bucket.
    pub bucket: Bucket,
    /// A request that passed its first check, under this epoch, and has not committed.
    pub begun: Option<LayoutVersion>,
    /// Renewals it has sent.
    pub renewals: u8,
    /// When it sent the last one.
    pub renewed_at: Option<Moment>,
}

impl Process {
    /// A process that has just joined and owns nothing.
    pub fn new(me: Incarnation, lease: Lease) -> Self {
        Self {
            me,
            lease,
            view: None,
            gave_up: LayoutVersion::ZERO,
            bucket: Bucket::Nothing,
            begun: None,
            renewals: 0,
            renewed_at: None,
        }
    }

    /// Whether it answers for the bucket at this moment of its clock.
    pub fn acts(&self, now: Moment) -> bool {
        matches!(self.bucket, Bucket::Owns(_)) && self.lease.is_valid(now)
    }

    /// Takes notice of a layout; what it sends.
    pub fn see(&mut self, view: View, rules: &Rules) -> Vec<Message> {
        let is_older = self.view.is_some_and(|known| known.version >= view.version);
        let is_past = view.version < self.gave_up;
        if (is_older && rules.layouts) || (is_past && rules.given_up) {
            return Vec::new();
        }
        self.view = Some(view);
        if view.manager != self.me || self.bucket == Bucket::Owns(view.since) {
            // A former manager goes on until the new one pulls.
            return Vec::new();
        }
        let (asked, everyone) = match view.ask {
            Ask::Former(former) => ([former].into_iter().collect(), false),
            Ask::Everyone(members) if rules.ask_everyone => (members.without(self.me), true),
            Ask::Everyone(_) => (Members::default(), true),
        };
        self.wait_for(view.since, asked);
        let pull = |to| Message::Pull {
            to,
            from: self.me,
            epoch: view.since,
            everyone,
        };
        asked.iter().map(pull).collect()
    }

    fn wait_for(&mut self, epoch: LayoutVersion, asked: Members) {
        self.bucket = if asked == Members::default() {
            Bucket::Owns(epoch)
        } else {
            Bucket::Pulls(epoch, asked)
        };
    }

    /// Gives up what it has of the bucket, asked under `epoch`, unless it has to wait; whether it
    /// did.
    pub fn give_up(&mut self, epoch: LayoutVersion, everyone: bool, rules: &Rules) -> bool {
        let may = match self.bucket {
            Bucket::Nothing => everyone,
            // Nothing to hand over yet; but where everybody is asked, the one before it is, too.
            Bucket::Pulls(mine, _) => everyone && mine < epoch,
            // Sealing waits for requests that have passed their check.
            Bucket::Owns(mine) => mine < epoch && (self.begun.is_none() || !rules.check_at_commit),
        };
        if may {
            self.bucket = Bucket::Nothing;
            self.gave_up = self.gave_up.max(epoch);
        }
        may
    }

    /// Takes another's word that it has given the bucket up.
    pub fn take(&mut self, from: Incarnation, epoch: LayoutVersion, rules: &Rules) {
        match self.bucket {
            Bucket::Pulls(mine, asked) if mine == epoch => {
                self.wait_for(epoch, asked.without(from))
            }
            _ if !rules.directories => self.bucket = Bucket::Owns(epoch),
            _ => {}
        }
    }

    /// Ends the request that has begun; under which epoch it took effect, if it did.
    pub fn commit(&mut self, now: Moment, rules: &Rules) -> Option<LayoutVersion> {
        let epoch = self.begun.take()?;
        let checked = self.lease.is_valid(now) && self.bucket == Bucket::Owns(epoch);
        (checked || !rules.check_at_commit).then_some(epoch)
    }
}
