//! A store in this process's memory, for tests: what it has goes with it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use super::contract::{SessionStore, Storing};
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
    rows: Mutex<BTreeMap<SessionId, Entry>>,
}

enum Entry {
    Row {
        bucket: BucketId,
        tenure: Tenure,
        revision: Revision,
        given_out: Option<Tenure>,
        put_at: Moment,
        ends: Moment,
        payload: Payload,
    },
    Ended {
        until: Moment,
    },
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Row { .. } => "Row",
            Self::Ended { .. } => "Ended",
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
            rows: Mutex::default(),
        }
    }

    fn put_one(&self, row: Row) -> Put {
        let now = self.clock.now();
        let mut rows = self.rows.lock();
        let refuses = match rows.get(&row.id) {
            Some(Entry::Row {
                tenure,
                revision,
                given_out,
                ..
            }) => {
                (*tenure, *revision) > (row.tenure, row.revision) || *given_out > Some(row.tenure)
            }
            Some(Entry::Ended { until }) => *until > now,
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
            put_at: now,
            ends: now + row.left,
            payload: row.payload,
        };
        rows.insert(row.id, entry);
        Put::Stored
    }

    fn take_one(&self, id: SessionId, claim: Claim) -> Took {
        let now = self.clock.now();
        let mut rows = self.rows.lock();
        let (kept, given_out) = match rows.get_mut(&id) {
            None => return Took::Nothing,
            Some(Entry::Ended { until }) if *until > now => return Took::Ended,
            Some(Entry::Ended { .. }) => return Took::Nothing,
            Some(Entry::Row {
                tenure,
                revision,
                given_out,
                put_at,
                payload,
                ..
            }) => {
                let kept = Kept {
                    tenure: *tenure,
                    revision: *revision,
                    age: now.since(*put_at),
                    payload: payload.clone(),
                };
                (kept, given_out)
            }
        };
        match claim {
            Claim::Own => {
                rows.remove(&id);
            }
            Claim::Granted(under) if under < kept.tenure || *given_out > Some(under) => {
                return Took::Superseded;
            }
            Claim::Granted(under) => *given_out = Some(under),
        }
        Took::Row(kept)
    }

    fn heads(&self, page: &Page) -> Vec<Head> {
        let now = self.clock.now();
        let rows = self.rows.lock();
        let mut heads: Vec<Head> =
            rows.iter()
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
                    Entry::Ended { .. } => None,
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
        let mut rows = self.rows.lock();
        for Ended {
            id, remember_for, ..
        } in ended
        {
            let until = now + remember_for.max(Duration::from_nanos(1));
            rows.insert(id, Entry::Ended { until });
        }
        rows.retain(|_, entry| !matches!(entry, Entry::Ended { until } if *until <= now));
        drop(rows);
        Box::pin(std::future::ready(Ok(())))
    }

    fn page(&self, page: Page) -> Storing<'_, Vec<Head>> {
        Box::pin(std::future::ready(Ok(self.heads(&page))))
    }

    fn takes_for_certain(&self) -> bool {
        true
    }

    fn rows(&self) -> Option<u64> {
        let rows = self.rows.lock();
        let rows = rows
            .values()
            .filter(|entry| matches!(entry, Entry::Row { .. }));
        Some(rows.count() as u64)
    }
}
