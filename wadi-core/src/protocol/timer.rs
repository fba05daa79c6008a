//! What the protocol waits for. Every wait has a timer, and every timer an outcome.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{BuildHasherDefault, Hash, Hasher};
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
    /// Ask a leaving member again for an older copy that waits.
    Entrust(SessionId),
    /// Push the evacuation on.
    Evacuate,
    /// Forget what need not be remembered any longer.
    Forget,
}

impl Timer {
    const fn kind(self) -> u8 {
        match self {
            Self::Ask(_) => 0,
            Self::Register(_) => 1,
            Self::Release(_) => 2,
            Self::Arrived(_) => 3,
            Self::Drop(_) => 4,
            Self::End(_) => 5,
            Self::Mark(_) => 6,
            Self::Offer(_) => 7,
            Self::Pull(_) => 8,
            Self::HandOver(_) => 9,
            Self::Inquire(_) => 10,
            Self::Missing(_) => 11,
            Self::Evacuate => 12,
            Self::Forget => 13,
            Self::Entrust(_) => 14,
        }
    }

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
            | Self::Missing(id)
            | Self::Entrust(id) => Some(id.bucket(buckets)),
            Self::Pull(bucket) | Self::HandOver(bucket) | Self::Inquire(Scope::Bucket(bucket)) => {
                Some(bucket)
            }
            Self::Evacuate | Self::Forget => None,
        }
    }
}

/// The running timers; each at most once. Those of one kind and one bucket stand together: they are
/// started, stopped and due together, too, where a message speaks of many sessions.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Timers {
    buckets: BucketCount,
    groups: BTreeMap<Group, Running>,
    /// When the first of each group is due.
    due: BTreeSet<(Moment, Group)>,
}

/// A kind of timer, and the bucket that it concerns.
type Group = (u8, Option<BucketId>);

/// The timers of one group; never none.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Running {
    first_at: Moment,
    /// When each is due, and how long it waits. Nothing goes by the order in which they lie here.
    timers: HashMap<Timer, (Moment, Duration), BuildHasherDefault<Spread>>,
}

impl Hash for Running {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let ordered: BTreeMap<_, _> = self.timers.iter().collect();
        ordered.hash(state);
    }
}

/// Spreads what is random already: the ids that nodes mint for sessions. Always the same way.
#[derive(Clone, Copy, Default)]
struct Spread(u64);

impl Spread {
    const fn add(&mut self, word: u64) {
        const ODD: u64 = 0x9E37_79B9_7F4A_7C15;
        self.0 = (self.0.rotate_left(5) ^ word).wrapping_mul(ODD);
    }
}

impl Hasher for Spread {
    fn write(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<8>();
        for word in words {
            self.add(u64::from_le_bytes(*word));
        }
        for byte in rest {
            self.add(u64::from(*byte));
        }
    }

    fn write_u32(&mut self, number: u32) {
        self.add(u64::from(number));
    }

    fn write_u64(&mut self, number: u64) {
        self.add(number);
    }

    fn write_usize(&mut self, number: usize) {
        self.add(number as u64);
    }

    fn write_isize(&mut self, number: isize) {
        self.add(number as u64);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

impl Running {
    /// When the first of them is due.
    fn first(&self) -> Option<Moment> {
        self.timers.values().map(|(at, _)| *at).min()
    }
}

/// At most so many go off in one step.
const AT_ONCE: usize = 256;

impl Default for Timers {
    fn default() -> Self {
        Self {
            buckets: BucketCount::DEFAULT,
            groups: BTreeMap::new(),
            due: BTreeSet::new(),
        }
    }
}

impl Timers {
    /// There are so many buckets; before this is said, no timer that concerns one of them may run.
    pub(super) fn set_buckets(&mut self, buckets: BucketCount) {
        debug_assert!(
            buckets == self.buckets || self.groups.keys().all(|(_, bucket)| bucket.is_none()),
            "how many buckets there are never changes"
        );
        self.buckets = buckets;
    }

    fn group(&self, timer: Timer) -> Group {
        (timer.kind(), timer.bucket(self.buckets))
    }

    /// Starts `timer`, or starts it anew, to go off once after `wait`.
    pub(super) fn start(&mut self, timer: Timer, now: Moment, wait: Duration) {
        let at = now + wait;
        let group = self.group(timer);
        match self.groups.entry(group) {
            Entry::Vacant(none) => {
                let mut timers = HashMap::default();
                timers.insert(timer, (at, wait));
                none.insert(Running {
                    first_at: at,
                    timers,
                });
                self.due.insert((at, group));
            }
            Entry::Occupied(mut some) => {
                let running = some.get_mut();
                let former = running.timers.insert(timer, (at, wait));
                let was_first = former.is_some_and(|(was_at, _)| was_at == running.first_at);
                let first_at = if was_first && at > running.first_at {
                    // It may have been the only one that was due then.
                    running.first().unwrap_or(at)
                } else {
                    running.first_at.min(at)
                };
                if first_at != running.first_at {
                    self.due.remove(&(running.first_at, group));
                    self.due.insert((first_at, group));
                    running.first_at = first_at;
                }
            }
        }
    }

    /// Starts `timer` unless it runs.
    pub(super) fn ensure(&mut self, timer: Timer, now: Moment, wait: Duration) {
        if !self.is_running(timer) {
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
        let running = self.groups.get(&self.group(timer));
        running.is_some_and(|running| running.timers.contains_key(&timer))
    }

    /// The next timer to go off.
    pub(super) fn next(&self) -> Option<(Moment, Timer)> {
        let (at, group) = self.due.first()?;
        let timers = self.groups.get(group)?.timers.iter();
        let due = timers.filter(|(_, (due, _))| due == at);
        let first = due.map(|(timer, _)| *timer).min();
        first.map(|timer| (*at, timer))
    }

    /// Takes `timer` off, whether it is due or not; how long it had waited.
    fn take(&mut self, timer: Timer) -> Option<Duration> {
        let group = self.group(timer);
        let Entry::Occupied(mut entry) = self.groups.entry(group) else {
            return None;
        };
        let running = entry.get_mut();
        let (at, wait) = running.timers.remove(&timer)?;
        if at > running.first_at {
            return Some(wait);
        }
        // Mostly the next one is due at the same moment.
        let same = running.timers.values().any(|(other, _)| *other == at);
        if !same {
            self.due.remove(&(at, group));
            match running.first() {
                Some(first_at) => {
                    running.first_at = first_at;
                    self.due.insert((first_at, group));
                }
                None => {
                    entry.remove();
                }
            }
        }
        Some(wait)
    }

    /// Takes `timer` off, if it runs, whether it is due or not, and with it those of its kind and bucket
    /// that are due at `now`; and how long each had waited.
    pub(super) fn take_due(&mut self, timer: Timer, now: Moment) -> Vec<(Timer, Duration)> {
        let group = self.group(timer);
        let Some(wait) = self.take(timer) else {
            return Vec::new();
        };
        let mut taken = Vec::new();
        if let Some(running) = self.groups.get(&group).filter(|it| it.first_at <= now) {
            let due = running.timers.iter().filter(|(_, (at, _))| *at <= now);
            taken.extend(due.map(|(timer, (_, wait))| (*timer, *wait)));
            if taken.len() >= AT_ONCE {
                taken.select_nth_unstable(AT_ONCE - 1);
                taken.truncate(AT_ONCE - 1);
            }
        }
        for (due, _) in &taken {
            self.take(*due);
        }
        taken.push((timer, wait));
        // In their order, in which what is said of them goes together.
        taken.sort_unstable();
        taken
    }

    pub(super) fn running(&self) -> impl Iterator<Item = Timer> {
        let groups = self.groups.values();
        groups.flat_map(|running| running.timers.keys().copied())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u8) -> SessionId {
        SessionId::from_parts([number; 16], 1)
    }

    const MILLI: Duration = Duration::from_millis(1);

    fn timers() -> Timers {
        let mut timers = Timers::default();
        timers.set_buckets(BucketCount::new(1).unwrap());
        timers
    }

    #[test]
    fn each_goes_off_at_its_own_time() {
        let mut timers = timers();
        let now = Moment::from_nanos(1);
        timers.start(Timer::Drop(id(2)), now, 2 * MILLI);
        timers.start(Timer::Drop(id(3)), now, MILLI);
        timers.start(Timer::Drop(id(1)), now, 3 * MILLI);
        timers.start(Timer::Release(id(1)), now, 4 * MILLI);
        let mut order = Vec::new();
        while let Some((at, timer)) = timers.next() {
            order.push((at.since(now), timer));
            assert_eq!(timers.take_due(timer, at).len(), 1);
        }
        let expected = [
            (MILLI, Timer::Drop(id(3))),
            (2 * MILLI, Timer::Drop(id(2))),
            (3 * MILLI, Timer::Drop(id(1))),
            (4 * MILLI, Timer::Release(id(1))),
        ];
        assert_eq!(order, expected);
        assert_eq!(timers, self::timers());
    }

    #[test]
    fn those_of_one_kind_and_bucket_that_are_due_go_off_together() {
        let mut timers = timers();
        let now = Moment::from_nanos(1);
        for number in 1..=5 {
            timers.start(Timer::Drop(id(number)), now, u32::from(number) * MILLI);
        }
        timers.start(Timer::Release(id(1)), now, MILLI);
        let due = timers.take_due(Timer::Drop(id(2)), now + 3 * MILLI);
        let due: Vec<_> = due.into_iter().map(|(timer, _)| timer).collect();
        assert_eq!(due, [1, 2, 3].map(|number| Timer::Drop(id(number))));
        assert!(timers.stop(Timer::Release(id(1))));
        assert!(timers.stop(Timer::Drop(id(4))));
        assert_eq!(timers.next(), Some((now + 5 * MILLI, Timer::Drop(id(5)))));
        // One that is not due takes none with it.
        assert_eq!(timers.take_due(Timer::Drop(id(5)), now).len(), 1);
        assert_eq!(timers.take_due(Timer::Drop(id(5)), now).len(), 0);
        assert_eq!(timers, self::timers());
    }

    #[test]
    fn so_many_at_most_go_off_at_once() {
        let mut timers = timers();
        let now = Moment::from_nanos(1);
        let id = |number| SessionId::from_parts([1; 16], number);
        let all = 2 * AT_ONCE as u32 + 1;
        (0..all).for_each(|number| timers.start(Timer::Missing(id(number)), now, MILLI));
        let mut seen = 0;
        while let Some((at, timer)) = timers.next() {
            let due = timers.take_due(timer, at).len();
            assert!(due <= AT_ONCE);
            seen += due;
        }
        assert_eq!(seen, all as usize);
    }
}
