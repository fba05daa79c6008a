//! When the first of each bucket runs out, as far as that is known: so that whoever looks for what is due, now and
//! then, does not look into every bucket. One number for each bucket, never one for each row.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use super::time::Stamp;

/// Lower bounds: nothing in a bucket runs out before.
#[derive(Debug, Default)]
pub(super) struct Earliest(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    /// How often something was written.
    version: u64,
    /// Of buckets that are not here nothing is known.
    buckets: BTreeMap<u16, Bound>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Bound {
    at: Option<Stamp>,
    /// When something was written into it last.
    version: u64,
}

impl Earliest {
    fn known(&self) -> std::sync::MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Rows were written that run out then. To be told after they are there, and before anybody is answered.
    pub(super) fn written(&self, rows: &[(u16, Stamp)]) {
        let mut known = self.known();
        known.version += 1;
        let version = known.version;
        for (bucket, ends) in rows {
            let bound = known.buckets.entry(*bucket).or_default();
            bound.version = version;
            bound.at = bound.at.map(|at| at.min(*ends));
        }
    }

    /// Nothing is known any more.
    pub(super) fn clear(&self) {
        let mut known = self.known();
        known.version += 1;
        let version = known.version;
        for bound in known.buckets.values_mut() {
            *bound = Bound { at: None, version };
        }
    }

    /// To be asked before looking, and given to [`Earliest::learn`] after it.
    pub(super) fn version(&self) -> u64 {
        self.known().version
    }

    /// The first of these buckets where something may have run out.
    pub(super) fn next(&self, from: u16, last: u16, now: Stamp) -> Option<u16> {
        let known = self.known();
        (from..=last).find(|bucket| {
            let bound = known.buckets.get(bucket).and_then(|bound| bound.at);
            bound.is_none_or(|at| at <= now)
        })
    }

    /// Whoever looked found that nothing in these buckets runs out before, but for what was written since.
    pub(super) fn learn(&self, buckets: impl Iterator<Item = u16>, at: Stamp, version: u64) {
        let mut known = self.known();
        for bucket in buckets {
            let bound = known.buckets.entry(bucket).or_default();
            if bound.version <= version {
                bound.at = Some(at);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_learnt_spares_looking_until_it_runs_out() {
        let earliest = Earliest::default();
        assert_eq!(earliest.next(0, 9, Stamp(5)), Some(0), "nothing is known");
        let version = earliest.version();
        earliest.learn(0..=9, Stamp(100), version);
        assert_eq!(earliest.next(0, 9, Stamp(99)), None);
        assert_eq!(earliest.next(3, 9, Stamp(100)), Some(3));
        earliest.written(&[(4, Stamp(50)), (7, Stamp(200))]);
        assert_eq!(earliest.next(0, 9, Stamp(49)), None);
        assert_eq!(earliest.next(0, 9, Stamp(50)), Some(4));
        assert_eq!(earliest.next(5, 9, Stamp(50)), None);
    }

    #[test]
    fn what_was_written_while_somebody_looked_is_not_overlooked() {
        let earliest = Earliest::default();
        let version = earliest.version();
        earliest.written(&[(4, Stamp(50))]);
        earliest.learn(0..=9, Stamp(u64::MAX), version);
        assert_eq!(earliest.next(0, 9, Stamp(50)), Some(4));
        let version = earliest.version();
        earliest.clear();
        earliest.learn(4..=4, Stamp(u64::MAX), version);
        assert_eq!(earliest.next(4, 9, Stamp(50)), Some(4));
    }
}
