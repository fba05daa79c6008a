//! A map of sessions that can be walked bucket by bucket.
//!
//! Each bucket has a small map of its own: messages speak of many sessions of one bucket, and one bucket's
//! sessions fit into a processor's caches where all of a node's do not.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use crate::bucket::BucketId;
use crate::session::SessionId;

/// Sessions' values, ordered by bucket and then by id.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct ByBucket<T> {
    /// None of them empty.
    buckets: BTreeMap<BucketId, BTreeMap<SessionId, T>>,
    len: usize,
}

impl<T> Default for ByBucket<T> {
    fn default() -> Self {
        Self {
            buckets: BTreeMap::new(),
            len: 0,
        }
    }
}

impl<T> ByBucket<T> {
    pub(super) fn get(&self, bucket: BucketId, id: &SessionId) -> Option<&T> {
        self.buckets.get(&bucket)?.get(id)
    }

    pub(super) fn get_mut(&mut self, bucket: BucketId, id: &SessionId) -> Option<&mut T> {
        self.buckets.get_mut(&bucket)?.get_mut(id)
    }

    pub(super) fn insert(&mut self, bucket: BucketId, id: SessionId, value: T) -> Option<T> {
        let former = self.buckets.entry(bucket).or_default().insert(id, value);
        self.len += usize::from(former.is_none());
        former
    }

    /// What is there, or else `value` from now on.
    pub(super) fn get_or_insert(&mut self, bucket: BucketId, id: SessionId, value: T) -> &mut T {
        match self.buckets.entry(bucket).or_default().entry(id) {
            Entry::Occupied(there) => there.into_mut(),
            Entry::Vacant(place) => {
                self.len += 1;
                place.insert(value)
            }
        }
    }

    pub(super) fn remove(&mut self, bucket: BucketId, id: &SessionId) -> Option<T> {
        let Entry::Occupied(mut sessions) = self.buckets.entry(bucket) else {
            return None;
        };
        let removed = sessions.get_mut().remove(id)?;
        self.len -= 1;
        if sessions.get().is_empty() {
            sessions.remove();
        }
        Some(removed)
    }

    pub(super) fn contains(&self, bucket: BucketId, id: &SessionId) -> bool {
        self.get(bucket, id).is_some()
    }

    pub(super) fn bucket(&self, bucket: BucketId) -> impl Iterator<Item = (&SessionId, &T)> {
        self.buckets.get(&bucket).into_iter().flatten()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (BucketId, &SessionId, &T)> {
        self.buckets.iter().flat_map(|(bucket, sessions)| {
            let sessions = sessions.iter();
            sessions.map(|(id, value)| (*bucket, id, value))
        })
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (&SessionId, &mut T)> {
        self.buckets.values_mut().flatten()
    }

    pub(super) fn into_iter(self) -> impl Iterator<Item = (SessionId, T)> {
        self.buckets.into_values().flatten()
    }

    pub(super) fn retain(&mut self, mut keep: impl FnMut(&SessionId, &mut T) -> bool) {
        self.len = 0;
        self.buckets.retain(|_, sessions| {
            sessions.retain(|id, value| keep(id, value));
            self.len += sessions.len();
            !sessions.is_empty()
        });
    }

    pub(super) fn is_empty(&self) -> bool {
        self.buckets.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_went_leaves_no_trace() {
        let id = |number| SessionId::from_parts([1; 16], number);
        let (one, other) = (BucketId::new(1), BucketId::new(2));
        let mut map = ByBucket::default();
        assert_eq!(map.insert(other, id(1), 'a'), None);
        assert_eq!(map.insert(one, id(2), 'b'), None);
        assert_eq!(map.insert(one, id(2), 'c'), Some('b'));
        assert_eq!(*map.get_or_insert(one, id(3), 'd'), 'd');
        assert_eq!(*map.get_or_insert(one, id(3), 'e'), 'd');
        assert_eq!(map.len(), 3);
        let walked: String = map.iter().map(|(_, _, value)| *value).collect();
        assert_eq!(walked, "cda");
        assert_eq!(map.bucket(other).count(), 1);
        assert_eq!(map.remove(one, &id(1)), None);
        assert_eq!(map.remove(other, &id(1)), Some('a'));
        map.retain(|_, value| *value == 'd');
        assert_eq!(map.len(), 1);
        assert_eq!(map.remove(one, &id(3)), Some('d'));
        assert!(map.is_empty());
        assert_eq!(map, ByBucket::default());
    }
}
