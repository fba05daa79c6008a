//! Under which id and tenure a session is held, also for whoever must not wait for an operation on it.
//!
//! Written only under the session's body lock, and read without: there are many sessions, so it is no
//! lock of its own.

use std::sync::atomic::Ordering::{Acquire, Release};
use std::sync::atomic::{AtomicU32, AtomicU64};

use super::SessionId;
use crate::bucket::LayoutVersion;
use crate::tenure::Tenure;

/// See the module.
pub(super) struct Named {
    /// The second half of the id's random bits, which nobody meets twice; zero while anything changes.
    half: AtomicU64,
    first: AtomicU64,
    issued: AtomicU32,
    epoch: AtomicU64,
    count: AtomicU64,
}

fn first(id: &SessionId) -> u64 {
    let mut first = [0; 8];
    first.copy_from_slice(&id.random()[..8]);
    u64::from_le_bytes(first)
}

impl Named {
    pub(super) fn new(id: &SessionId, tenure: Tenure) -> Self {
        Self {
            half: AtomicU64::new(id.half()),
            first: AtomicU64::new(first(id)),
            issued: AtomicU32::new(id.issued()),
            epoch: AtomicU64::new(tenure.epoch().as_u64()),
            count: AtomicU64::new(tenure.count()),
        }
    }

    /// Under the body lock.
    pub(super) fn set(&self, id: &SessionId, tenure: Tenure) {
        self.half.store(0, Release);
        self.first.store(first(id), Release);
        self.issued.store(id.issued(), Release);
        self.epoch.store(tenure.epoch().as_u64(), Release);
        self.count.store(tenure.count(), Release);
        self.half.store(id.half(), Release);
    }

    /// The id, for whoever has the body lock.
    #[inline]
    pub(super) fn id(&self) -> SessionId {
        self.with_half(self.half.load(Acquire))
    }

    /// The tenure, for whoever has the body lock.
    pub(super) fn tenure(&self) -> Tenure {
        let epoch = LayoutVersion::from_u64(self.epoch.load(Acquire));
        Tenure::new(epoch, self.count.load(Acquire))
    }

    /// The id, where it has this half before and after the look.
    #[inline]
    pub(super) fn id_by(&self, half: u64) -> Option<SessionId> {
        self.unchanged(half, || self.with_half(half))
    }

    /// The tenure, where it has this id before and after the look.
    pub(super) fn tenure_as(&self, id: &SessionId) -> Option<Tenure> {
        let named = self.unchanged(id.half(), || (self.with_half(id.half()), self.tenure()));
        named.and_then(|(named, tenure)| (named == *id).then_some(tenure))
    }

    #[inline]
    fn with_half(&self, half: u64) -> SessionId {
        let mut random = [0; 16];
        random[..8].copy_from_slice(&self.first.load(Acquire).to_le_bytes());
        random[8..].copy_from_slice(&half.to_le_bytes());
        SessionId::from_parts(random, self.issued.load(Acquire))
    }

    /// Whoever has seen a part of another name sees that the half went before.
    #[inline]
    fn unchanged<T>(&self, half: u64, look: impl FnOnce() -> T) -> Option<T> {
        let is_there = || self.half.load(Acquire) == half;
        let seen = is_there().then(look);
        seen.filter(|_| is_there())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_read_whole_or_not_at_all() {
        let id = |n: u8| SessionId::from_parts([n; 16], u32::from(n));
        let tenure = |n: u8| Tenure::new(LayoutVersion::from_u64(u64::from(n)), u64::from(n));
        let named = Named::new(&id(1), tenure(1));
        assert_eq!(named.id_by(id(1).half()), Some(id(1)));
        assert_eq!(named.id_by(id(2).half()), None);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for n in 2..=255 {
                    named.set(&id(n), tenure(n));
                }
            });
            while named.id_by(id(255).half()).is_none() {
                for n in 1..=255 {
                    if let Some(read) = named.id_by(id(n).half()) {
                        assert_eq!(read, id(n));
                    }
                    if let Some(read) = named.tenure_as(&id(n)) {
                        assert_eq!(read, tenure(n));
                    }
                }
            }
        });
        assert_eq!((named.id(), named.tenure()), (id(255), tenure(255)));
    }

    #[test]
    fn half_of_an_id_is_not_the_id() {
        let mut random = [7; 16];
        let id = SessionId::from_parts(random, 1);
        random[0] = 8;
        let other = SessionId::from_parts(random, 1);
        let named = Named::new(&id, Tenure::NONE);
        assert_eq!(named.tenure_as(&id), Some(Tenure::NONE));
        assert_eq!(named.tenure_as(&other), None);
    }
}
