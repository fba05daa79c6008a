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
    /// Who managed it before, as long as that one is a member.
    pub hands_over: Option<Incarnation>,
}

/// What a process has of the bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Bucket {
    /// Nothing.
    Nothing,
    /// It waits for the former manager's directory.
    Pulls(LayoutVersion),
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
    },
    /// To the new manager: the bucket is its own.
    Directory {
        /// The new manager.
        to: Incarnation,
        /// Its epoch.
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
    pub fn see(&mut self, view: View, rules: &Rules) -> Option<Message> {
        let is_older = self.view.is_some_and(|known| known.version >= view.version)
            || view.version < self.gave_up;
        if is_older && rules.epoch {
            return None;
        }
        self.view = Some(view);
        if view.manager != self.me || self.bucket == Bucket::Owns(view.since) {
            // A former manager goes on until the new one pulls.
            return None;
        }
        match view.hands_over {
            Some(former) => {
                self.bucket = Bucket::Pulls(view.since);
                Some(Message::Pull {
                    to: former,
                    from: self.me,
                    epoch: view.since,
                })
            }
            None => {
                self.bucket = Bucket::Owns(view.since);
                None
            }
        }
    }

    /// Whether it would hand the bucket over now, asked under `epoch`.
    pub fn may_hand_over(&self, epoch: LayoutVersion, rules: &Rules) -> bool {
        let owns_older = matches!(self.bucket, Bucket::Owns(mine) if mine < epoch);
        // Sealing waits for requests that have passed their check.
        owns_older && (self.begun.is_none() || !rules.check_at_commit)
    }

    /// Hands the bucket over.
    pub fn hand_over(&mut self, epoch: LayoutVersion) {
        self.bucket = Bucket::Nothing;
        self.gave_up = epoch;
    }

    /// Whether it would take a directory sent under `epoch`.
    pub fn may_install(&self, epoch: LayoutVersion, rules: &Rules) -> bool {
        self.bucket == Bucket::Pulls(epoch) || !rules.epoch
    }

    /// Ends the request that has begun; under which epoch it took effect, if it did.
    pub fn commit(&mut self, now: Moment, rules: &Rules) -> Option<LayoutVersion> {
        let epoch = self.begun.take()?;
        let checked = self.lease.is_valid(now) && self.bucket == Bucket::Owns(epoch);
        (checked || !rules.check_at_commit).then_some(epoch)
    }
}
