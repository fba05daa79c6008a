//! At a node's start: what the store has that no list of what is due would ever name, or that lies under another
//! bucket than its own.
//!
//! What was given out stays as a copy, and is nobody's to come for while its session is in memory. Of a node that
//! was killed before it put such a one again, it is the session. So all of the store is looked through once, a page at
//! a time, and what is found so is put again.

use std::sync::Arc;

use super::{Tier, Told};
use crate::bucket::BucketId;
use crate::session::{Resting, SessionId};
use crate::store::{Head, Page, StoreError};

/// How many rows are looked at in a step, and how many come up in one.
const LOOKED_AT: usize = 2048;
const AT_ONCE: usize = 256;

/// How far it is.
#[derive(Debug, Default)]
pub(super) struct Reclaimed {
    after: Option<(BucketId, SessionId)>,
    done: bool,
}

impl Tier {
    /// One step; whether there are more.
    pub(super) async fn reclaim(self: &Arc<Self>) -> Result<bool, StoreError> {
        let after = {
            let place = self.round.lock();
            if place.swept.reclaimed.done {
                return Ok(false);
            }
            place.swept.reclaimed.after
        };
        let page = Page {
            buckets: BucketId::new(0)..=BucketId::new(u16::MAX),
            after,
            due: false,
            most: LOOKED_AT,
        };
        let asked = self.ask(|store| async move { store.page(page).await });
        let heads = match asked.await {
            Ok(heads) => heads,
            // Nobody can list it: then at least what is due is looked for.
            Err(error @ StoreError::Damaged(_)) => {
                self.round.lock().swept.reclaimed.done = true;
                self.tell(Told::NotSwept(error));
                return Ok(false);
            }
            Err(error) => return Err(error),
        };
        let found: Vec<Head> = heads
            .iter()
            .filter(|head| self.is_forgotten(head))
            .copied()
            .collect();
        for some in found.chunks(AT_ONCE) {
            self.put_right(some).await?;
        }
        let done = heads.len() < LOOKED_AT;
        let last = heads.last().map(|head| (head.bucket, head.id));
        let reclaimed = &mut self.round.lock().swept.reclaimed;
        reclaimed.after = last.or(after);
        reclaimed.done = done;
        Ok(!done)
    }

    fn is_forgotten(&self, head: &Head) -> bool {
        let map = self.sessions.map();
        let is_elsewhere = head.bucket != head.id.bucket(map.buckets());
        (head.given_out.is_some() || is_elsewhere) && map.get(&head.id).is_none()
    }

    /// These come up, and end or go down again.
    async fn put_right(self: &Arc<Self>, heads: &[Head]) -> Result<(), StoreError> {
        self.end_those_over(heads).await?;
        let here = heads.iter().filter_map(|head| {
            let held = self.sessions.map().get(&head.id)?;
            Some(Resting::of(head.id, held, self.sessions.now()))
        });
        self.demote(here.collect()).await?;
        Ok(())
    }
}
