//! Counting the sessions of this node, for people.
//!
//! It walks them all, so nothing on a request's path may ask for it.

use super::sessions::Sessions;

/// How many sessions there are, and in which state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Census {
    /// Their attributes are typed values.
    pub live: usize,
    /// Their attributes are bytes.
    pub frozen: usize,
}

impl Sessions {
    /// Counts the sessions, bucket by bucket: those that come or go meanwhile may be missed. Takes
    /// time in proportion to their number. One that is in use at that instant counts as live.
    #[must_use]
    pub fn census(&self) -> Census {
        let mut census = Census::default();
        for bucket in self.map.buckets().iter() {
            self.map.for_each(bucket, |_, held| {
                let frozen = held
                    .try_body()
                    .is_some_and(|body| body.attributes.is_frozen());
                if frozen {
                    census.frozen += 1;
                } else {
                    census.live += 1;
                }
            });
        }
        census
    }
}
