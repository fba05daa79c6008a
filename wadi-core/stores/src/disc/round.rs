//! One round of writing: what many calls ask for, taken by one rule after the other, and changed in one step.
//!
//! Each call sees what the calls before it in the round did. Nothing is changed until the round is written,
//! and a call that fails leaves nothing behind.

use std::collections::HashMap;

use wadi_core::bucket::BucketId;
use wadi_core::session::SessionId;
use wadi_core::store::{
    Claim, Damaged, Ended, FENCED_FOR, Kept, Payload, Put, Row, StoreError, Took,
};
use wadi_core::tenure::Tenure;

use super::codec::{self, Numbers, State};
use super::engine::{Change, Engine};
use super::time::{Anchor, Stamp};

/// What the store has of one session.
#[derive(Clone, Debug, PartialEq)]
enum Entry {
    Nothing,
    Row(BucketId, Numbers),
    Ended(Stamp),
    /// There was nothing when it was asked for under this tenure.
    Fenced(Stamp, Tenure),
}

/// What becomes of one session in this round.
#[derive(Clone, Debug)]
struct Touched {
    on_disc: Entry,
    now: Entry,
    /// The payload, where it is another one than that on disc.
    payload: Option<Payload>,
}

pub(super) struct Round<'a> {
    engine: &'a Engine,
    now: Stamp,
    touched: HashMap<SessionId, Touched>,
    /// The last number that was said in this round.
    begun: Option<u32>,
}

impl<'a> Round<'a> {
    pub(super) fn new(engine: &'a Engine, now: Stamp) -> Self {
        Self {
            engine,
            now,
            touched: HashMap::new(),
            begun: None,
        }
    }

    pub(super) fn put(&mut self, rows: &[Row]) -> Result<Vec<Put>, StoreError> {
        let found: Result<Vec<Touched>, StoreError> = rows
            .iter()
            .map(|row| self.look(row.id, Some(row.bucket)))
            .collect();
        // From here on nothing fails. What was found is of before this call, so look again where one has two rows.
        let found = found?;
        Ok(rows
            .iter()
            .zip(found)
            .map(|(row, found)| self.put_one(row, found))
            .collect())
    }

    fn put_one(&mut self, row: &Row, found: Touched) -> Put {
        let mut touched = self.touched.get(&row.id).cloned().unwrap_or(found);
        let refuses = match &touched.now {
            Entry::Row(_, has) => {
                (has.tenure, has.revision) > (row.tenure, row.revision)
                    || has.given_out > Some(row.tenure)
            }
            Entry::Ended(until) => *until > self.now,
            Entry::Fenced(until, under) => *until > self.now && row.tenure < *under,
            Entry::Nothing => false,
        };
        if refuses {
            return Put::Refused;
        }
        let numbers = Numbers {
            tenure: row.tenure,
            revision: row.revision,
            given_out: None,
            given_before: None,
            put_at: self.now,
            ends: self.now.after(row.left),
        };
        touched.now = Entry::Row(row.bucket, numbers);
        touched.payload = Some(row.payload.clone());
        self.touched.insert(row.id, touched);
        Put::Stored
    }

    pub(super) fn take(&mut self, id: SessionId, claim: Claim) -> Result<Took, StoreError> {
        let mut touched = self.look(id, None)?;
        let (bucket, mut numbers) = match touched.now {
            Entry::Ended(until) if until > self.now => return Ok(Took::Ended),
            Entry::Nothing | Entry::Ended(_) | Entry::Fenced(..) => {
                if let Claim::Granted(under) = claim {
                    touched.now = self.fenced(&touched.now, under);
                    self.touched.insert(id, touched);
                }
                return Ok(Took::Nothing);
            }
            Entry::Row(bucket, numbers) => (bucket, numbers),
        };
        if let Claim::Granted(under) = claim
            && (under < numbers.tenure || numbers.given_out > Some(under))
        {
            return Ok(Took::Superseded);
        }
        let payload = match &touched.payload {
            Some(payload) => payload.clone(),
            None => {
                let (_, bytes) = self.engine.body(id)?.ok_or_else(lost)?;
                let payload = Payload::read(bytes)
                    .ok()
                    .filter(|payload| payload.is_of(id));
                payload.ok_or_else(|| StoreError::Damaged(Damaged.to_string()))?
            }
        };
        let mut kept = Kept {
            tenure: numbers.tenure,
            revision: numbers.revision,
            given_out: numbers.given_out,
            age: numbers.put_at.age(self.now),
            payload,
        };
        match claim {
            Claim::Own => {
                touched.now = Entry::Nothing;
                touched.payload = None;
            }
            Claim::Granted(under) => {
                let last = numbers.given_out.replace(under);
                if last.is_some_and(|last| last.epoch() < under.epoch()) {
                    numbers.given_before = last;
                }
                kept.given_out = numbers.given_before;
                touched.now = Entry::Row(bucket, numbers);
            }
        }
        self.touched.insert(id, touched);
        Ok(Took::Row(kept))
    }

    /// A fence that stands is never lowered.
    fn fenced(&self, before: &Entry, under: Tenure) -> Entry {
        let under = match *before {
            Entry::Fenced(until, before) if until > self.now => under.max(before),
            _ => under,
        };
        Entry::Fenced(self.now.after(FENCED_FOR), under)
    }

    pub(super) fn begin(&mut self, after: u32) -> Result<u32, StoreError> {
        let before = self.begun.map_or_else(|| self.engine.begun(), Ok)?;
        let next = before.max(after).saturating_add(1);
        if next == u32::MAX {
            let why = format!("it has no number left above {after} and those it has said");
            return Err(StoreError::Full(why));
        }
        self.begun = Some(next);
        Ok(next)
    }

    pub(super) fn end(&mut self, ended: &[Ended]) -> Result<(), StoreError> {
        let found: Result<Vec<Touched>, StoreError> = ended
            .iter()
            .map(|ended| self.look(ended.id, Some(ended.bucket)))
            .collect();
        for (ended, found) in ended.iter().zip(found?) {
            let mut touched = self.touched.get(&ended.id).cloned().unwrap_or(found);
            let until = self.now.after(ended.remember_for);
            // What is remembered for longer already stays so.
            touched.now = match touched.now {
                Entry::Ended(before) | Entry::Fenced(before, _) if before > until => {
                    Entry::Ended(before)
                }
                _ if until > self.now => Entry::Ended(until),
                _ => Entry::Nothing,
            };
            touched.payload = None;
            self.touched.insert(ended.id, touched);
        }
        Ok(())
    }

    /// Forgets ends and fences whose time is over, so many at most.
    pub(super) fn forget(&mut self, most: usize) -> Result<usize, StoreError> {
        let ends = self.engine.forgettable(self.now, most)?;
        for (until, id) in &ends {
            let touched = self.look(*id, None)?;
            if matches!(touched.now, Entry::Ended(at) | Entry::Fenced(at, _) if at == *until) {
                let now = Entry::Nothing;
                self.touched.insert(*id, Touched { now, ..touched });
            }
        }
        Ok(ends.len())
    }

    /// What there is of this session. Who knows its bucket spares reading its payload.
    fn look(&self, id: SessionId, bucket: Option<BucketId>) -> Result<Touched, StoreError> {
        if let Some(touched) = self.touched.get(&id) {
            return Ok(touched.clone());
        }
        let on_disc = self.on_disc(id, bucket)?;
        Ok(Touched {
            now: on_disc.clone(),
            on_disc,
            payload: None,
        })
    }

    fn on_disc(&self, id: SessionId, bucket: Option<BucketId>) -> Result<Entry, StoreError> {
        if let Some((until, under)) = self.engine.ended(id)? {
            return Ok(under.map_or(Entry::Ended(until), |under| Entry::Fenced(until, under)));
        }
        if let Some(bucket) = bucket
            && let Some(numbers) = self.engine.numbers(bucket, id)?
        {
            return Ok(Entry::Row(bucket, numbers));
        }
        // It may be in another bucket: of a cluster that had another number of them.
        let Some((bucket, _)) = self.engine.body(id)? else {
            return Ok(Entry::Nothing);
        };
        let numbers = self.engine.numbers(bucket, id)?.ok_or_else(lost)?;
        Ok(Entry::Row(bucket, numbers))
    }

    /// What runs out of it, and when.
    pub(super) fn runs_out(&self) -> Vec<(u16, Stamp)> {
        let touched = self.touched.values();
        touched
            .filter_map(|touched| match touched.now {
                Entry::Row(bucket, numbers) => Some((bucket.get(), numbers.ends)),
                _ => None,
            })
            .collect()
    }

    /// Whether this round changes nothing: it was only asked.
    pub(super) fn is_empty(&self) -> bool {
        let mut touched = self.touched.values();
        self.begun.is_none()
            && touched.all(|touched| touched.on_disc == touched.now && touched.payload.is_none())
    }

    /// What to change, and what the state is then.
    pub(super) fn change(&self, before: &State, anchor: Anchor) -> (Change<'a>, State) {
        let mut change = self.engine.change();
        if let Some(begun) = self.begun {
            change.begin(begun);
        }
        let mut state = State {
            changes: before.changes + 1,
            rows: before.rows,
            anchor,
        };
        for (id, touched) in &self.touched {
            self.write(&mut change, *id, touched);
            state.rows -= u64::from(matches!(touched.on_disc, Entry::Row(..))).min(state.rows);
            state.rows += u64::from(matches!(touched.now, Entry::Row(..)));
        }
        (change, state)
    }

    /// Each key is named once at most: the engine does not say which of two changes of one key comes last.
    fn write(&self, change: &mut Change<'_>, id: SessionId, touched: &Touched) {
        let engine = self.engine;
        let (before, after) = (Keys::of(id, &touched.on_disc), Keys::of(id, &touched.now));
        for (map, before, after) in [
            (&engine.heads, &before.head, &after.head),
            (&engine.due, &before.due, &after.due),
            (&engine.bodies, &before.body, &after.body),
            (&engine.ended, &before.ended, &after.ended),
            (&engine.forget, &before.forget, &after.forget),
        ] {
            match before {
                Some(key) if *before != *after => change.remove(map, key),
                _ => {}
            }
        }
        if let Some(key) = &after.due {
            change.set(&engine.due, key, &[]);
        }
        if let Some(key) = &after.forget {
            change.set(&engine.forget, key, &[]);
        }
        match touched.now {
            Entry::Nothing => {}
            Entry::Ended(until) => {
                change.set(&engine.ended, &codec::id(id), &codec::ended(until, None));
            }
            Entry::Fenced(until, under) => {
                let fence = codec::ended(until, Some(under));
                change.set(&engine.ended, &codec::id(id), &fence);
            }
            Entry::Row(bucket, numbers) => {
                let head = codec::numbers(&numbers);
                change.set(&engine.heads, &codec::place(bucket, id), &head);
                if let Some(payload) = &touched.payload {
                    let body = codec::body(bucket, payload.as_bytes());
                    change.set(&engine.bodies, &codec::id(id), &body);
                }
            }
        }
    }
}

/// Under which keys a session's entry lies.
#[derive(Default)]
struct Keys {
    head: Option<Vec<u8>>,
    due: Option<Vec<u8>>,
    body: Option<Vec<u8>>,
    ended: Option<Vec<u8>>,
    forget: Option<Vec<u8>>,
}

impl Keys {
    fn of(id: SessionId, entry: &Entry) -> Self {
        let by_id = Some(codec::id(id).to_vec());
        match entry {
            Entry::Nothing => Self::default(),
            Entry::Ended(until) | Entry::Fenced(until, _) => Self {
                ended: by_id,
                forget: Some(codec::forget(*until, id).to_vec()),
                ..Self::default()
            },
            Entry::Row(bucket, numbers) => Self {
                head: Some(codec::place(*bucket, id).to_vec()),
                due: numbers
                    .given_out
                    .is_none()
                    .then(|| codec::due(*bucket, numbers.ends, id).to_vec()),
                body: by_id,
                ..Self::default()
            },
        }
    }
}

fn lost() -> StoreError {
    StoreError::Damaged("a part of its row is missing".to_owned())
}
