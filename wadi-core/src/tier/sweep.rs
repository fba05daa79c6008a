//! What has run out below comes up to end, as every session does, a batch at a time.

use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;

use super::ends::REMEMBERED;
use super::{Copies, Promoted, Tier, Told};
use crate::bucket::BucketId;
use crate::session::{Ending, SessionId};
use crate::store::{Ended, Head, Page, StoreError};

/// How many sessions that have run out come up at once to be ended.
const DUE: usize = 256;

/// Where the sweeps are.
#[derive(Debug, Default)]
pub(super) struct Swept {
    /// The last one of what is due that was looked at, where there is more. So what cannot be ended is in
    /// nobody's way.
    after: Option<(BucketId, SessionId)>,
    pub(super) reclaimed: super::reclaim::Reclaimed,
}

impl Tier {
    /// Has what has run out in the store come up, so that it ends as every session does; a batch at a time.
    /// Whether there may be more. At first it looks for what nobody would come for: what was given out before
    /// this node was started, and the like.
    pub async fn sweep(self: &Arc<Self>) -> bool {
        let _turn = self.turn.lock().await;
        if self.is_left_alone() || !self.is_settled().await {
            return false;
        }
        match self.sweep_some().await {
            Ok(more) => more,
            Err(error) => {
                self.counts.did_not();
                self.tell(Told::NotSwept(error.clone()));
                self.keep_pace(Err(error));
                false
            }
        }
    }

    async fn sweep_some(self: &Arc<Self>) -> Result<bool, StoreError> {
        if self.reclaim().await? {
            return Ok(true);
        }
        let last = BucketId::new(self.sessions.map().buckets().get() - 1);
        let page = Page {
            buckets: BucketId::new(0)..=last,
            after: self.round.lock().swept.after,
            due: true,
            most: DUE,
        };
        let due = self
            .ask(|store| async move { store.page(page).await })
            .await?;
        let more = due.len() >= DUE;
        let last = due.last().map(|head| (head.bucket, head.id));
        let (ended, unreadable) = self.end_those_over(&due).await?;
        let ended = ended + self.end_unread(&unreadable).await?;
        // Only when all of these were looked at: else they are the first again.
        self.round.lock().swept.after = last.filter(|_| more);
        Ok(more && ended > 0)
    }

    /// Has these come up, and ends them where their time is over. How many did, and which nobody can read.
    pub(super) async fn end_those_over<'a>(
        self: &Arc<Self>,
        due: &'a [Head],
    ) -> Result<(usize, Vec<&'a Head>), StoreError> {
        let mut ended = 0;
        let mut alive = Vec::new();
        let mut unreadable = Vec::new();
        for head in due {
            if self.closed.load(SeqCst) {
                break;
            }
            match self.promote(head.id).await {
                Promoted::Unavailable => {
                    let why = "it does not give what has run out";
                    return Err(StoreError::Unavailable(why.to_owned()));
                }
                Promoted::Unreadable => unreadable.push(head),
                Promoted::Look | Promoted::Absent | Promoted::Damaged => {}
            }
            let Some(held) = self.sessions.map().get(&head.id) else {
                continue;
            };
            if self.sessions.expire(&held, self.sessions.now()) {
                ended += 1;
            } else {
                // What ran out is its copy, which is to live on as it does.
                alive.push(held);
            }
        }
        self.end_rows().await;
        if self.copies != Copies::Never {
            self.copy_all(alive).await?;
        }
        Ok((ended, unreadable))
    }

    /// Their time is over by the store's count, and nobody here can say what else they are.
    async fn end_unread(&self, heads: &[&Head]) -> Result<usize, StoreError> {
        if heads.is_empty() {
            return Ok(0);
        }
        let ended = heads.iter().map(|head| Ended {
            id: head.id,
            bucket: head.bucket,
            remember_for: REMEMBERED,
        });
        let ended: Vec<_> = ended.collect();
        let many = ended.len();
        for one in &ended {
            self.sessions.has_ended(one.id, Ending::Expired);
        }
        self.ask(|store| async move { store.end(ended).await })
            .await?;
        Ok(many)
    }
}
