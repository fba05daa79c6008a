//! A store in this process's memory, for tests: what it has goes with it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use super::contract::{FENCED_FOR, SessionStore, Storing};
use super::error::StoreError;
use super::payload::Payload;
use super::row::{Claim, Ended, Head, Kept, Page, Put, Row, Took};
use crate::bucket::BucketId;
use crate::clock::{BootClock, Clock, Moment};
use crate::session::SessionId;
use crate::tenure::{Revision, Tenure};

/// A store in memory. Clones of an `Arc` of it are one store, as several nodes share one.
#[derive(Debug)]
pub struct MemoryStore {
    clock: Arc<dyn Clock>,
    kept: Mutex<Everything>,
}

/// How many ends and fences are forgotten beside other work.
const FORGET_MOST: usize = 64;

#[derive(Debug, Default)]
struct Everything {
    entries: BTreeMap<SessionId, Entry>,
    /// When ends and fences are to be forgotten; one that changed since is passed over.
    forget: BTreeSet<(Moment, SessionId)>,
    /// The last number that was said.
    begun: u32,
}

enum Entry {
    Row {
        bucket: BucketId,
        tenure: Tenure,
        revision: Revision,
        given_out: Option<Tenure>,
        /// Of an earlier epoch than the one that has it now.
        given_before: Option<Tenure>,
        put_at: Moment,
        ends: Moment,
        payload: Payload,
    },
    Ended {
        until: Moment,
    },
    /// There was nothing when it was asked for under this tenure.
    Fenced {
        under: Tenure,
        until: Moment,
    },
}

impl Everything {
    /// There was nothing; a fence that stands is never lowered.
    fn fence(&mut self, id: SessionId, under: Tenure, now: Moment) {
        self.forget(now);
        let under = match self.entries.get(&id) {
            Some(Entry::Fenced {
                under: before,
                until,
            }) if *until > now => under.max(*before),
            _ => under,
        };
        let until = now + FENCED_FOR;
        self.forget.insert((until, id));
        self.entries.insert(id, Entry::Fenced { under, until });
    }

    fn forget(&mut self, now: Moment) {
        for _ in 0..FORGET_MOST {
            let Some((until, id)) = self.forget.first().copied() else {
                return;
            };
            if until > now {
                return;
            }
            self.forget.pop_first();
            if self.entries.get(&id).and_then(Entry::forgotten_at) == Some(until) {
                self.entries.remove(&id);
            }
        }
    }
}

impl Entry {
    fn forgotten_at(&self) -> Option<Moment> {
        match self {
            Self::Row { .. } => None,
            Self::Ended { until } | Self::Fenced { until, .. } => Some(*until),
        }
    }
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Row { .. } => "Row",
            Self::Ended { .. } => "Ended",
            Self::Fenced { .. } => "Fenced",
        })
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new(Arc::new(BootClock))
    }
}

impl MemoryStore {
    /// An empty store, whose time is this clock's.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            clock,
            kept: Mutex::default(),
        }
    }

    fn put_one(&self, row: Row) -> Put {
        let now = self.clock.now();
        let mut kept = self.kept.lock();
        let refuses = match kept.entries.get(&row.id) {
            Some(Entry::Row {
                tenure,
                revision,
                given_out,
                ..
            }) => {
                (*tenure, *revision) > (row.tenure, row.revision) || *given_out > Some(row.tenure)
            }
            Some(Entry::Ended { until }) => *until > now,
            Some(Entry::Fenced { under, until }) => *until > now && row.tenure < *under,
            None => false,
        };
        if refuses {
            return Put::Refused;
        }
        let entry = Entry::Row {
            bucket: row.bucket,
            tenure: row.tenure,
            revision: row.revision,
            given_out: None,
            given_before: None,
            put_at: now,
            ends: now + row.left,
            payload: row.payload,
        };
        kept.entries.insert(row.id, entry);
        Put::Stored
    }

    fn take_one(&self, id: SessionId, claim: Claim) -> Took {
        let now = self.clock.now();
        let mut all = self.kept.lock();
        let (mut kept, given_out, given_before) = match all.entries.get_mut(&id) {
            Some(Entry::Ended { until }) if *until > now => return Took::Ended,
            None | Some(Entry::Ended { .. } | Entry::Fenced { .. }) => {
                if let Claim::Granted(under) = claim {
                    all.fence(id, under, now);
                }
                return Took::Nothing;
            }
            Some(Entry::Row {
                tenure,
                revision,
                given_out,
                given_before,
                put_at,
                payload,
                ..
            }) => {
                let kept = Kept {
                    tenure: *tenure,
                    revision: *revision,
                    given_out: *given_out,
                    age: now.since(*put_at),
                    payload: payload.clone(),
                };
                (kept, given_out, given_before)
            }
        };
        match claim {
            Claim::Own => {
                all.entries.remove(&id);
            }
            Claim::Granted(under) if under < kept.tenure || *given_out > Some(under) => {
                return Took::Superseded;
            }
            Claim::Granted(under) => {
                let last = given_out.replace(under);
                if last.is_some_and(|last| last.epoch() < under.epoch()) {
                    *given_before = last;
                }
                kept.given_out = *given_before;
            }
        }
        Took::Row(kept)
    }

    fn heads(&self, page: &Page) -> Vec<Head> {
        let now = self.clock.now();
        let all = self.kept.lock();
        let mut heads: Vec<Head> =
            all.entries
                .iter()
                .filter_map(|(id, entry)| match entry {
                    Entry::Row {
                        bucket,
                        tenure,
                        revision,
                        given_out,
                        ends,
                        ..
                    } => {
                        let is_due = *ends <= now && given_out.is_none();
                        let is_after = page.after.is_none_or(|after| (*bucket, *id) > after);
                        (page.buckets.contains(bucket) && is_after && (is_due || !page.due))
                            .then_some(Head {
                                id: *id,
                                bucket: *bucket,
                                tenure: *tenure,
                                revision: *revision,
                                given_out: *given_out,
                            })
                    }
                    Entry::Ended { .. } | Entry::Fenced { .. } => None,
                })
                .collect();
        heads.sort_unstable_by_key(|head| (head.bucket, head.id));
        heads.truncate(page.most);
        heads
    }
}

impl SessionStore for MemoryStore {
    fn put(&self, rows: Vec<Row>) -> Storing<'_, Vec<Put>> {
        let put = rows.into_iter().map(|row| self.put_one(row)).collect();
        Box::pin(std::future::ready(Ok(put)))
    }

    fn take(&self, id: SessionId, claim: Claim) -> Storing<'_, Took> {
        Box::pin(std::future::ready(Ok(self.take_one(id, claim))))
    }

    fn end(&self, ended: Vec<Ended>) -> Storing<'_, ()> {
        let now = self.clock.now();
        let mut kept = self.kept.lock();
        for Ended {
            id, remember_for, ..
        } in ended
        {
            let until = now + remember_for.max(Duration::from_nanos(1));
            // What is remembered for longer already stays so.
            let before = kept.entries.get(&id).and_then(Entry::forgotten_at);
            let until = before.map_or(until, |before| before.max(until));
            kept.forget.insert((until, id));
            kept.entries.insert(id, Entry::Ended { until });
        }
        kept.forget(now);
        drop(kept);
        Box::pin(std::future::ready(Ok(())))
    }

    fn begin(&self, after: u32) -> Storing<'_, u32> {
        let mut kept = self.kept.lock();
        let next = kept.begun.max(after).saturating_add(1);
        let said = if next == u32::MAX {
            let why = format!("it has no number left above {after} and those it has said");
            Err(StoreError::Full(why))
        } else {
            kept.begun = next;
            Ok(next)
        };
        Box::pin(std::future::ready(said))
    }

    fn page(&self, page: Page) -> Storing<'_, Vec<Head>> {
        Box::pin(std::future::ready(Ok(self.heads(&page))))
    }

    fn takes_for_certain(&self) -> bool {
        true
    }

    fn rows(&self) -> Option<u64> {
        let kept = self.kept.lock();
        let rows = kept
            .entries
            .values()
            .filter(|entry| matches!(entry, Entry::Row { .. }));
        Some(rows.count() as u64)
    }

    /// The nodes are in one process.
    fn is_shared(&self) -> bool {
        true
    }
}
