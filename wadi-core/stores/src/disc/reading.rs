//! Lists, on a thread of their own: of one state of the store, and never more of it in memory than was asked for.

use std::collections::BinaryHeap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use fjall::Readable;
use tokio::sync::oneshot;
use wadi_core::bucket::BucketId;
use wadi_core::session::SessionId;
use wadi_core::store::{Head, Page, StoreError};

use super::codec::{self, Numbers};
use super::earliest::Earliest;
use super::engine::{Engine, not_read};
use super::queue::{Incoming, Next};
use super::time::{Axis, Stamp};

/// The engine, while it is open.
pub(super) type Shared = Arc<RwLock<Option<Engine>>>;

pub(super) struct Listing {
    pub(super) page: Page,
    pub(super) answer: oneshot::Sender<Result<Vec<Head>, StoreError>>,
}

/// Answers until no more can come.
pub(super) fn run(engine: &Shared, earliest: &Earliest, axis: &Axis, incoming: &Incoming<Listing>) {
    loop {
        match incoming.wait(Duration::from_secs(60)) {
            Next::Call(waiting) => {
                let Listing { page, answer } = &waiting.call;
                if !answer.is_closed() {
                    let heads = list(engine, earliest, axis.now(), page);
                    // Who asked may have gone.
                    let _ = waiting.call.answer.send(heads);
                }
            }
            Next::None => {}
            Next::Closed => return,
        }
    }
}

fn list(
    engine: &Shared,
    earliest: &Earliest,
    now: Stamp,
    page: &Page,
) -> Result<Vec<Head>, StoreError> {
    let engine = engine.read().unwrap_or_else(PoisonError::into_inner);
    let Some(engine) = engine.as_ref() else {
        return Err(StoreError::Unavailable(
            "it is being opened again".to_owned(),
        ));
    };
    let list = || {
        if page.due {
            due(engine, earliest, now, page)
        } else {
            all(engine, page)
        }
    };
    // The engine holds some damage for impossible.
    catch_unwind(AssertUnwindSafe(list))
        .unwrap_or_else(|_| Err(StoreError::Damaged("a list cannot be read".to_owned())))
}

fn head(bucket: BucketId, id: SessionId, numbers: &Numbers) -> Head {
    Head {
        id,
        bucket,
        tenure: numbers.tenure,
        revision: numbers.revision,
        given_out: numbers.given_out,
    }
}

fn unreadable() -> StoreError {
    StoreError::Damaged("an entry of a list cannot be read".to_owned())
}

/// The last id there can be.
const LAST: SessionId = SessionId::from_parts([0xff; 16], u32::MAX);
const FIRST: SessionId = SessionId::from_parts([0; 16], 0);

fn all(engine: &Engine, page: &Page) -> Result<Vec<Head>, StoreError> {
    let (first, last) = (*page.buckets.start(), *page.buckets.end());
    let mut from = codec::place(first, FIRST).to_vec();
    if let Some((bucket, id)) = page.after {
        // What comes next in order has one byte more.
        let mut after = codec::place(bucket, id).to_vec();
        after.push(0);
        from = from.max(after);
    }
    let to = codec::place(last, LAST).to_vec();
    let mut heads = Vec::new();
    if from > to {
        return Ok(heads);
    }
    for entry in engine.heads.range(from..=to).take(page.most) {
        let (key, value) = entry.into_inner().map_err(not_read)?;
        let (bucket, id) = codec::read_place(&key).ok_or_else(unreadable)?;
        let numbers = codec::read_numbers(&value).ok_or_else(unreadable)?;
        heads.push(head(bucket, id, &numbers));
    }
    Ok(heads)
}

/// Bucket by bucket, and of each only what is due; where nothing can be, none is looked into. What cannot be read
/// is passed over, for it would keep everything else from ever being found; it is said where there is nothing else.
fn due(
    engine: &Engine,
    earliest: &Earliest,
    now: Stamp,
    page: &Page,
) -> Result<Vec<Head>, StoreError> {
    let version = earliest.version();
    let state = engine.snapshot();
    let (mut bucket, last) = (page.buckets.start().get(), page.buckets.end().get());
    if let Some((after, _)) = page.after {
        bucket = bucket.max(after.get());
    }
    let mut list = Due {
        engine,
        state,
        now,
        heads: Vec::new(),
        passed_over: None,
    };
    while list.heads.len() < page.most {
        let Some(next) = earliest.next(bucket, last, now) else {
            break;
        };
        let found = match list.first(next, last) {
            Ok(None) => {
                earliest.learn(next..=last, Stamp(u64::MAX), version);
                break;
            }
            Ok(Some((found, ends))) => {
                earliest.learn(next..found.get(), Stamp(u64::MAX), version);
                if ends > now {
                    earliest.learn(std::iter::once(found.get()), ends, version);
                } else {
                    let after = page.after.filter(|(after, _)| *after == found);
                    list.look_into(found, after.map(|(_, id)| id), page.most);
                }
                found.get()
            }
            Err(error) => {
                list.passed_over.get_or_insert(error);
                let bucket = BucketId::new(next);
                let after = page.after.filter(|(after, _)| *after == bucket);
                list.look_into(bucket, after.map(|(_, id)| id), page.most);
                next
            }
        };
        match found.checked_add(1) {
            Some(after) => bucket = after,
            None => break,
        }
    }
    match list.passed_over {
        Some(error) if list.heads.is_empty() => Err(error),
        _ => Ok(list.heads),
    }
}

/// A list of what is due, in the making.
struct Due<'a> {
    engine: &'a Engine,
    state: fjall::Snapshot,
    now: Stamp,
    heads: Vec<Head>,
    /// The first thing that could not be read.
    passed_over: Option<StoreError>,
}

impl Due<'_> {
    /// What runs out first in the first of these buckets that has anything.
    fn first(&self, from: u16, last: u16) -> Result<Option<(BucketId, Stamp)>, StoreError> {
        let from = codec::due(BucketId::new(from), Stamp(0), FIRST);
        let end = codec::due(BucketId::new(last), Stamp(u64::MAX), LAST);
        let Some(first) = self.state.range(&self.engine.due, from..=end).next() else {
            return Ok(None);
        };
        let key = first.key().map_err(not_read)?;
        let (bucket, ends, _) = codec::read_due(&key).ok_or_else(unreadable)?;
        Ok(Some((bucket, ends)))
    }

    /// A bucket's due ones.
    fn look_into(&mut self, bucket: BucketId, after: Option<SessionId>, most: usize) {
        for id in self.ids(bucket, after, most - self.heads.len()) {
            match self.numbers(bucket, id) {
                Ok(numbers) => self.heads.push(head(bucket, id, &numbers)),
                Err(error) => {
                    self.passed_over.get_or_insert(error);
                }
            }
        }
    }

    fn numbers(&self, bucket: BucketId, id: SessionId) -> Result<Numbers, StoreError> {
        let found = self
            .state
            .get(&self.engine.heads, codec::place(bucket, id))
            .map_err(not_read)?;
        let numbers = found.and_then(|bytes| codec::read_numbers(&bytes));
        numbers.ok_or_else(unreadable)
    }

    /// The first of a bucket's due ones, by id. They lie in the order of their time, so all are looked at.
    fn ids(&mut self, bucket: BucketId, after: Option<SessionId>, most: usize) -> Vec<SessionId> {
        let from = codec::due(bucket, Stamp(0), FIRST);
        let to = codec::due(bucket, self.now, LAST);
        let mut first = BinaryHeap::new();
        for entry in self.state.range(&self.engine.due, from..=to) {
            let read = entry.key().map_err(not_read);
            let is_over = read.is_err();
            match read.and_then(|key| codec::read_due(&key).ok_or_else(unreadable)) {
                Ok((_, _, id)) if after.is_none_or(|after| id > after) => {
                    first.push(id);
                    if first.len() > most {
                        first.pop();
                    }
                }
                Ok(_) => {}
                Err(error) => {
                    self.passed_over.get_or_insert(error);
                }
            }
            if is_over {
                break;
            }
        }
        first.into_sorted_vec()
    }
}
