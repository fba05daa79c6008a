//! A map of sessions that can be walked bucket by bucket.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use crate::bucket::BucketId;
use crate::session::SessionId;

/// Sessions' values, ordered by bucket and then by id.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct ByBucket<T>(BTreeMap<Key, T>);

type Key = (BucketId, SessionId);

impl<T> Default for ByBucket<T> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

const LOWEST: SessionId = SessionId::from_parts([0; 16], 0);
const HIGHEST: SessionId = SessionId::from_parts([0xFF; 16], u32::MAX);

impl<T> ByBucket<T> {
    pub(super) fn get(&self, bucket: BucketId, id: &SessionId) -> Option<&T> {
        self.0.get(&(bucket, *id))
    }

    pub(super) fn get_mut(&mut self, bucket: BucketId, id: &SessionId) -> Option<&mut T> {
        self.0.get_mut(&(bucket, *id))
    }

    pub(super) fn insert(&mut self, bucket: BucketId, id: SessionId, value: T) -> Option<T> {
        self.0.insert((bucket, id), value)
    }

    pub(super) fn entry(&mut self, bucket: BucketId, id: SessionId) -> Entry<'_, Key, T> {
        self.0.entry((bucket, id))
    }

    pub(super) fn remove(&mut self, bucket: BucketId, id: &SessionId) -> Option<T> {
        self.0.remove(&(bucket, *id))
    }

    pub(super) fn contains(&self, bucket: BucketId, id: &SessionId) -> bool {
        self.0.contains_key(&(bucket, *id))
    }

    pub(super) fn bucket(&self, bucket: BucketId) -> impl Iterator<Item = (&SessionId, &T)> {
        self.0
            .range((bucket, LOWEST)..=(bucket, HIGHEST))
            .map(|((_, id), value)| (id, value))
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (BucketId, &SessionId, &T)> {
        self.0
            .iter()
            .map(|((bucket, id), value)| (*bucket, id, value))
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (&SessionId, &mut T)> {
        self.0.iter_mut().map(|((_, id), value)| (id, value))
    }

    pub(super) fn into_iter(self) -> impl Iterator<Item = (SessionId, T)> {
        self.0.into_iter().map(|((_, id), value)| (id, value))
    }

    pub(super) fn retain(&mut self, mut keep: impl FnMut(&SessionId, &mut T) -> bool) {
        self.0.retain(|(_, id), value| keep(id, value));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}
