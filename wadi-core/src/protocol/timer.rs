//! What the protocol waits for. Every wait has a timer, and every timer an outcome.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::bucket::{BucketCount, BucketId};
use crate::clock::Moment;
use crate::message::Scope;
use crate::session::SessionId;

/// Something that is done, or asked again, when its time comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Timer {
    /// Ask a session's manager again where it is, or give up.
    Ask(SessionId),
    /// Ask again to be registered as a new session's holder, or give up.
    Register(SessionId),
    /// Ask the holder again to release a session.
    Release(SessionId),
    /// Tell the manager again that a session arrived.
    Arrived(SessionId),
    /// Tell older copies again to go.
    Drop(SessionId),
    /// Tell the manager again that a session ended.
    End(SessionId),
    /// Tell deputy and older copies again to keep a marker.
    Mark(SessionId),
    /// Offer a returned copy again.
    Offer(SessionId),
    /// Ask again for a bucket's directory.
    Pull(BucketId),
    /// Send a bucket's directory again to its new manager.
    HandOver(BucketId),
    /// Ask everybody again who has not reported.
    Inquire(Scope),
    /// A session that died with its holder counts as lost from now on.
    Missing(SessionId),
    /// Push the evacuation on.
    Evacuate,
    /// Forget what need not be remembered any longer.
    Forget,
}

impl Timer {
    /// The one bucket that it concerns; `None` where it may concern all of them.
    pub(super) fn bucket(self, buckets: BucketCount) -> Option<BucketId> {
        match self {
            Self::Ask(id)
            | Self::Register(id)
            | Self::Release(id)
            | Self::Arrived(id)
            | Self::Drop(id)
            | Self::End(id)
            | Self::Mark(id)
            | Self::Offer(id)
            | Self::Inquire(Scope::Session(id, _))
            | Self::Missing(id) => Some(id.bucket(buckets)),
            Self::Pull(bucket) | Self::HandOver(bucket) | Self::Inquire(Scope::Bucket(bucket)) => {
                Some(bucket)
            }
            Self::Evacuate | Self::Forget => None,
        }
    }
}

/// The running timers; each at most once.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Timers {
    due: BTreeSet<(Moment, Timer)>,
    running: BTreeMap<Timer, (Moment, Duration)>,
}

impl Timers {
    /// Starts `timer`, or starts it anew, to go off once after `wait`.
    pub(super) fn start(&mut self, timer: Timer, now: Moment, wait: Duration) {
        self.stop(timer);
        let at = now + wait;
        self.due.insert((at, timer));
        self.running.insert(timer, (at, wait));
    }

    /// Starts `timer` unless it runs.
    pub(super) fn ensure(&mut self, timer: Timer, now: Moment, wait: Duration) {
        if !self.running.contains_key(&timer) {
            self.start(timer, now, wait);
        }
    }

    /// After `timer` went off: starts it again with twice its last wait, at most `most`.
    pub(super) fn again(&mut self, timer: Timer, now: Moment, last: Duration, most: Duration) {
        self.start(timer, now, (last * 2).min(most));
    }

    /// Whether it ran.
    pub(super) fn stop(&mut self, timer: Timer) -> bool {
        self.take(timer).is_some()
    }

    pub(super) fn is_running(&self, timer: Timer) -> bool {
        self.running.contains_key(&timer)
    }

    /// The next timer to go off.
    pub(super) fn next(&self) -> Option<(Moment, Timer)> {
        self.due.first().copied()
    }

    /// Takes `timer` off, whether it is due or not; how long it had waited.
    pub(super) fn take(&mut self, timer: Timer) -> Option<Duration> {
        let (at, wait) = self.running.remove(&timer)?;
        self.due.remove(&(at, timer));
        Some(wait)
    }

    pub(super) fn running(&self) -> impl Iterator<Item = Timer> {
        self.running.keys().copied()
    }
}
