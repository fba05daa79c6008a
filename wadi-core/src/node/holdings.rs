//! The node's own session map, as the protocol looks at it.
//!
//! A session that ended, and of which the protocol has not been told, is still here for it. Always
//! the map is looked at first: a session is among the departed before it goes from the map.

use std::collections::BTreeMap;

use crate::bucket::BucketId;
use crate::protocol::{Copy, Holdings};
use crate::session::{Departures, SessionId, Sessions};
use crate::tenure::{Revision, Tenure};

/// What this node holds.
pub(super) struct Here<'a> {
    pub(super) sessions: &'a Sessions,
    pub(super) departures: &'a Departures,
}

const fn copy((tenure, revision): (Tenure, Revision)) -> Copy {
    Copy { tenure, revision }
}

impl Holdings for Here<'_> {
    fn get(&self, id: &SessionId) -> Option<Copy> {
        let in_map = self.sessions.map().get(id);
        in_map
            .and_then(|held| held.version_as(id))
            .or_else(|| self.departures.get(id))
            .map(copy)
    }

    fn for_each_in(&self, bucket: BucketId, each: &mut dyn FnMut(SessionId, Copy)) {
        let map = self.sessions.map();
        // Copied out: a session's own lock is never taken under the bucket's.
        let in_map = map.bucket(bucket);
        // Mostly none; one that departed between the two looks is there twice, and told once.
        let departed: BTreeMap<_, _> = self
            .departures
            .bucket(bucket, map.buckets())
            .into_iter()
            .collect();
        for (id, held) in in_map {
            if !departed.contains_key(&id)
                && let Some(version) = held.version_as(&id)
            {
                each(id, copy(version));
            }
        }
        for (id, version) in departed {
            each(id, copy(version));
        }
    }

    fn is_empty(&self) -> bool {
        self.sessions.map().is_empty() && self.departures.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::bucket::{BucketCount, LayoutVersion};
    use crate::node::open::OpenBuckets;
    use crate::session::{ClusterKey, Keyring, Origin, Visit};

    #[test]
    fn a_session_that_ended_is_here_until_the_protocol_is_told() {
        let departures = Arc::new(Departures::new(|| ()));
        let key = ClusterKey::from_secret(&[1; 32]).unwrap();
        let buckets = BucketCount::new(4).unwrap();
        let open = Arc::new(OpenBuckets::new(buckets));
        for bucket in buckets.iter() {
            open.open(bucket, LayoutVersion::founding(1));
        }
        let sessions = Sessions::builder(Keyring::new(key))
            .managed(buckets, open)
            .departures(Arc::clone(&departures))
            .build();
        let sessions = Arc::new(sessions);
        let visit = Visit::without(Arc::clone(&sessions), Origin::New);
        visit.insert("n", 1_u8).unwrap();
        let id = visit.id().unwrap();
        let here = Here {
            sessions: &sessions,
            departures: &departures,
        };
        let everything = || {
            let mut copies = Vec::new();
            here.for_each_in(id.bucket(buckets), &mut |id, copy| copies.push((id, copy)));
            (here.get(&id), copies, here.is_empty())
        };
        let before = here.get(&id).unwrap();
        assert_eq!(everything(), (Some(before), vec![(id, before)], false));

        // The protocol waits for no operation on a session.
        let during = visit.update("n", |_: &mut u8| everything()).unwrap();
        let tenure = before.tenure;
        assert_eq!(during.0.map(|copy| copy.tenure), Some(tenure));
        assert_eq!((during.1.len(), during.2), (1, false));

        let held = sessions.map().get(&id).unwrap();
        sessions.end(&held, crate::session::Ending::Destroyed);
        assert!(sessions.map().is_empty());
        let (after, copies, is_empty) = everything();
        assert_eq!(after.map(|copy| copy.tenure), Some(before.tenure));
        assert_eq!((copies.len(), is_empty), (1, false));

        let departed = departures.take().unwrap();
        assert_eq!((departed.id, departed.tenure), (id, before.tenure));
        assert_eq!(everything(), (None, vec![], true));
    }
}
