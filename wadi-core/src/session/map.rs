//! A node's map of the sessions that it holds, one small shard per bucket.
//!
//! The shards are the per-bucket index, and sessions of different buckets never contend. A shard's
//! lock is held for one look-up or change, and across no await.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use hashbrown::HashTable;
use parking_lot::RwLock;

use super::SessionId;
use super::held::Held;
use crate::bucket::{BucketCount, BucketId};

/// Id → session, by bucket.
pub struct SessionMap {
    shards: Box<[RwLock<HashTable<Entry>>]>,
    buckets: BucketCount,
    len: AtomicUsize,
}

/// There are many sessions, and mostly twice as many places for them, so no id stands here twice: the
/// session knows its own, and the half of it tells it from others in its bucket.
struct Entry {
    half: u64,
    held: Arc<Held>,
}

impl Entry {
    /// The session and its id; no id when it is being renewed, and goes from under this one. Not under
    /// the bucket's lock. One that is to come under this id is waited for: who walks a bucket that was
    /// just closed sees everything that came into it before.
    fn named(self) -> (Option<SessionId>, Arc<Held>) {
        (self.held.id_by(self.half), self.held)
    }
}

impl SessionMap {
    /// An empty map over `buckets` buckets.
    #[must_use]
    pub fn new(buckets: BucketCount) -> Self {
        Self {
            shards: buckets.iter().map(|_| RwLock::default()).collect(),
            buckets,
            len: AtomicUsize::new(0),
        }
    }

    /// How many buckets there are.
    #[must_use]
    pub const fn buckets(&self) -> BucketCount {
        self.buckets
    }

    /// How many sessions there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len.load(Relaxed)
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    #[inline]
    fn shard(&self, id: &SessionId) -> &RwLock<HashTable<Entry>> {
        &self.shards[id.bucket(self.buckets).index()]
    }

    /// The session with this id.
    #[inline]
    #[must_use]
    pub fn get(&self, id: &SessionId) -> Option<Arc<Held>> {
        let half = id.half();
        let shard = self.shard(id).read();
        let held = Arc::clone(&shard.find(half, |entry| entry.half == half)?.held);
        // A session's own lock is never taken under the bucket's.
        drop(shard);
        (held.id_by(half) == Some(*id)).then_some(held)
    }

    /// Puts a session in, in place of the one that had this id, which it returns.
    pub fn insert(&self, id: SessionId, held: Arc<Held>) -> Option<Arc<Held>> {
        let half = id.half();
        let mut shard = self.shard(&id).write();
        match shard.find_mut(half, |entry| entry.half == half) {
            Some(entry) => Some(std::mem::replace(&mut entry.held, held)),
            None => {
                shard.insert_unique(half, Entry { half, held }, |entry| entry.half);
                self.len.fetch_add(1, Relaxed);
                None
            }
        }
    }

    /// Puts a new session in where `may` still says so under the bucket's lock, so that whoever walks
    /// the bucket afterwards has seen either the session or what made `may` say no. Whether it is in.
    pub(super) fn insert_new(
        &self,
        id: SessionId,
        held: &Arc<Held>,
        may: impl FnOnce() -> bool,
    ) -> bool {
        let half = id.half();
        let mut shard = self.shard(&id).write();
        if !may() {
            return false;
        }
        debug_assert!(
            shard.find(half, |entry| entry.half == half).is_none(),
            "128 random bits came twice"
        );
        let held = Arc::clone(held);
        shard.insert_unique(half, Entry { half, held }, |entry| entry.half);
        self.len.fetch_add(1, Relaxed);
        true
    }

    /// Puts `held` in the place of `there`, if this very one has it; whether it had.
    pub(super) fn replace_exactly(
        &self,
        id: &SessionId,
        there: &Arc<Held>,
        held: &Arc<Held>,
    ) -> bool {
        let mut shard = self.shard(id).write();
        let half = id.half();
        let found = shard.find_mut(half, |entry| {
            entry.half == half && Arc::ptr_eq(&entry.held, there)
        });
        // `there` is the caller's too, so no value's own code runs here.
        found.is_some_and(|entry| {
            entry.held = Arc::clone(held);
            true
        })
    }

    /// Takes a session out.
    pub fn remove(&self, id: &SessionId) -> Option<Arc<Held>> {
        self.remove_where(id, |_| true)
    }

    /// Takes a session out if it is this very one, and not another that took its place.
    pub fn remove_exactly(&self, id: &SessionId, held: &Arc<Held>) -> bool {
        self.remove_where(id, |there| Arc::ptr_eq(there, held))
            .is_some()
    }

    fn remove_where(
        &self,
        id: &SessionId,
        wanted: impl Fn(&Arc<Held>) -> bool,
    ) -> Option<Arc<Held>> {
        let mut shard = self.shard(id).write();
        let half = id.half();
        let found = shard
            .find_entry(half, |entry| entry.half == half && wanted(&entry.held))
            .ok()?;
        let (entry, _) = found.remove();
        if shard.len() < shard.capacity() / 4 {
            shard.shrink_to(0, |entry| entry.half);
        }
        self.len.fetch_sub(1, Relaxed);
        Some(entry.held)
    }

    /// The sessions of one bucket, as they are now.
    #[must_use]
    pub fn bucket(&self, bucket: BucketId) -> Vec<(SessionId, Arc<Held>)> {
        let Some(shard) = self.shards.get(bucket.index()) else {
            return Vec::new();
        };
        let shard = shard.read();
        let entries = shard.iter().map(|entry| Entry {
            half: entry.half,
            held: Arc::clone(&entry.held),
        });
        let entries: Vec<_> = entries.collect();
        // Who renews a session has its lock, and comes for the bucket's.
        drop(shard);
        let named = entries.into_iter().map(Entry::named);
        named.filter_map(|(id, held)| Some((id?, held))).collect()
    }

    /// Takes all sessions of one bucket out; one without an id is, or goes, into another one.
    pub(super) fn take(&self, bucket: BucketId) -> Vec<(Option<SessionId>, Arc<Held>)> {
        let Some(shard) = self.shards.get(bucket.index()) else {
            return Vec::new();
        };
        let taken = std::mem::take(&mut *shard.write());
        self.len.fetch_sub(taken.len(), Relaxed);
        taken.into_iter().map(Entry::named).collect()
    }

    /// How many sessions of one bucket there are.
    #[must_use]
    pub fn len_of(&self, bucket: BucketId) -> usize {
        let shard = self.shards.get(bucket.index());
        shard.map_or(0, |shard| shard.read().len())
    }

    /// Looks at the sessions of one bucket under its lock; `look` must not come back to the map.
    pub(super) fn for_each(&self, bucket: BucketId, mut look: impl FnMut(&Arc<Held>)) {
        if let Some(shard) = self.shards.get(bucket.index()) {
            for entry in shard.read().iter() {
                look(&entry.held);
            }
        }
    }
}

impl fmt::Debug for SessionMap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionMap")
            .field("buckets", &self.buckets.get())
            .field("len", &self.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Moment;
    use crate::session::Limits;
    use crate::session::held::Body;
    use crate::tenure::Tenure;

    fn held(id: SessionId) -> Arc<Held> {
        let limits = Limits::default();
        let body = Body::new(&limits, Moment::from_nanos(1));
        Arc::new(Held::new(&id, body, Tenure::NONE, &limits))
    }

    #[test]
    fn each_session_stands_in_its_own_bucket() {
        let map = SessionMap::new(BucketCount::new(8).unwrap());
        let ids: Vec<_> = (0..200_u8)
            .map(|n| SessionId::from_parts([n; 16], u32::from(n)))
            .collect();
        for id in &ids {
            assert!(map.insert(*id, held(*id)).is_none());
        }
        assert_eq!(map.len(), 200);
        let mut seen = 0;
        for bucket in map.buckets().iter() {
            for (id, _) in map.bucket(bucket) {
                assert_eq!(id.bucket(map.buckets()), bucket);
                seen += 1;
            }
        }
        assert_eq!(seen, 200);
        for id in &ids {
            assert!(map.get(id).is_some());
            assert!(map.remove(id).is_some());
            assert!(map.remove(id).is_none());
        }
        assert!(map.is_empty());
    }

    #[test]
    fn another_session_in_its_place_is_not_removed() {
        let map = SessionMap::new(BucketCount::DEFAULT);
        let id = SessionId::from_parts([3; 16], 1);
        let (first, second) = (held(id), held(id));
        map.insert(id, Arc::clone(&first));
        assert!(map.insert(id, Arc::clone(&second)).is_some());
        assert!(!map.remove_exactly(&id, &first));
        assert!(map.remove_exactly(&id, &second));
        assert_eq!(map.len(), 0);
    }

    #[test]
    fn one_that_is_being_renewed_is_found_by_its_id_alone() {
        let map = SessionMap::new(BucketCount::new(1).unwrap());
        let (old, new) = (
            SessionId::from_parts([3; 16], 1),
            SessionId::from_parts([4; 16], 2),
        );
        let session = held(old);
        map.insert(old, Arc::clone(&session));
        assert!(map.insert_new(new, &session, || true));
        assert!(map.get(&old).is_some() && map.get(&new).is_none());
        let ids = || map.bucket(BucketId::new(0)).into_iter().map(|(id, _)| id);
        assert!(ids().eq([old]));
        session.rename(&mut session.body(), new, Tenure::NONE);
        assert!(map.get(&old).is_none() && map.get(&new).is_some());
        assert!(ids().eq([new]));
        assert!(map.remove_exactly(&old, &session));
        assert_eq!(map.len(), 1);
    }

    #[test]
    fn who_walks_the_bucket_that_a_renewed_session_comes_into_does_not_miss_it() {
        let map = SessionMap::new(BucketCount::new(1).unwrap());
        let (old, new) = (
            SessionId::from_parts([3; 16], 1),
            SessionId::from_parts([4; 16], 2),
        );
        let session = held(old);
        map.insert(old, Arc::clone(&session));
        let map = Arc::new(map);
        let (seen, sees) = std::sync::mpsc::sync_channel(1);
        let (locked, is_locked) = std::sync::mpsc::sync_channel(1);
        let there = Arc::clone(&map);
        std::thread::spawn(move || {
            // As renewing does it: the session is in the bucket before it has the id.
            let mut body = session.body();
            assert!(there.insert_new(new, &session, || true));
            locked.send(()).unwrap();
            std::thread::sleep(std::time::Duration::from_millis(20));
            session.rename(&mut body, new, Tenure::NONE);
            there.remove_exactly(&old, &session);
        });
        is_locked.recv().unwrap();
        std::thread::spawn(move || seen.send(map.bucket(BucketId::new(0))));
        let seen = sees.recv_timeout(std::time::Duration::from_secs(20));
        let seen = seen.expect("neither waits for the other for ever");
        assert!(
            seen.iter().any(|(id, _)| *id == new),
            "it would be left behind"
        );
    }

    #[test]
    fn half_of_an_id_finds_nothing() {
        let map = SessionMap::new(BucketCount::new(1).unwrap());
        let id = SessionId::from_parts([3; 16], 1);
        map.insert(id, held(id));
        let mut random = [3; 16];
        random[0] = 4;
        assert!(map.get(&SessionId::from_parts(random, 1)).is_none());
        assert!(map.get(&SessionId::from_parts([3; 16], 2)).is_none());
        assert!(map.get(&id).is_some());
    }
}
