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

/// Bucket by bucket, and of each only what is due; where nothing can be, none is looked into.
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
    let end = codec::due(BucketId::new(last), Stamp(u64::MAX), LAST);
    let mut heads = Vec::new();
    while heads.len() < page.most {
        let Some(next) = earliest.next(bucket, last, now) else {
            break;
        };
        let from = codec::due(BucketId::new(next), Stamp(0), FIRST);
        let Some(first) = state.range(&engine.due, from..=end).next() else {
            earliest.learn(next..=last, Stamp(u64::MAX), version);
            break;
        };
        let key = first.key().map_err(not_read)?;
        let (found, ends, _) = codec::read_due(&key).ok_or_else(unreadable)?;
        earliest.learn(next..found.get(), Stamp(u64::MAX), version);
        if ends > now {
            earliest.learn(std::iter::once(found.get()), ends, version);
        } else {
            let after = page.after.filter(|(after, _)| *after == found);
            let most = page.most - heads.len();
            for id in due_of(engine, &state, found, now, after.map(|(_, id)| id), most)? {
                let numbers = state
                    .get(&engine.heads, codec::place(found, id))
                    .map_err(not_read)?;
                let numbers = numbers.and_then(|bytes| codec::read_numbers(&bytes));
                heads.push(head(found, id, &numbers.ok_or_else(unreadable)?));
            }
        }
        match found.get().checked_add(1) {
            Some(after) => bucket = after,
            None => break,
        }
    }
    Ok(heads)
}

/// The first of a bucket's due ones, by id. They lie in the order of their time, so all are looked at.
fn due_of(
    engine: &Engine,
    state: &fjall::Snapshot,
    bucket: BucketId,
    now: Stamp,
    after: Option<SessionId>,
    most: usize,
) -> Result<Vec<SessionId>, StoreError> {
    let from = codec::due(bucket, Stamp(0), FIRST);
    let to = codec::due(bucket, now, LAST);
    let mut first = BinaryHeap::new();
    for entry in state.range(&engine.due, from..=to) {
        let key = entry.key().map_err(not_read)?;
        let (_, _, id) = codec::read_due(&key).ok_or_else(unreadable)?;
        if after.is_none_or(|after| id > after) {
            first.push(id);
            if first.len() > most {
                first.pop();
            }
        }
    }
    Ok(first.into_sorted_vec())
}
