//! What is whole of a damaged engine, in a new one beside it.
//!
//! The engine stops for good where it is to sort what it cannot read, so one damaged block would in time cost
//! everything. Nothing of what is damaged is deleted: its files are set aside.

use std::panic::{AssertUnwindSafe, catch_unwind};

use fjall::Keyspace;
use wadi_core::store::StoreError;

use super::codec::{self, State};
use super::engine::{Change, Engine, NotWritten, not_read};

/// How many entries are written in one step.
const AT_ONCE: usize = 512;

/// Whether anything in it cannot be read. It reads all of it.
pub(super) fn is_damaged(engine: &Engine) -> bool {
    let read = || {
        let maps = engine.all();
        maps.iter().any(|map| {
            let mut entries = map.iter();
            entries.any(|entry| {
                let read = entry.into_inner().map_err(not_read);
                matches!(read, Err(StoreError::Damaged(_)))
            })
        })
    };
    // The engine holds some damage for impossible.
    catch_unwind(AssertUnwindSafe(read)).unwrap_or(true)
}

/// Copies what can be read, and says what the state of that is. Of a session of which only a part can be read that
/// part is copied, so that it goes on counting as damaged.
pub(super) fn copy(from: &Engine, to: &Engine, before: &State) -> Result<State, StoreError> {
    let mut copy = Copy {
        to,
        state: State {
            rows: 0,
            ..before.clone()
        },
        change: to.change(),
        entries: 0,
    };
    let copied = AssertUnwindSafe(|| {
        each(&from.heads, |key, value| {
            let (Some((bucket, id)), true) =
                (codec::read_place(key), codec::read_numbers(value).is_some())
            else {
                return Ok(());
            };
            copy.head(key, value)?;
            match from.bodies.get(codec::id(id)) {
                Ok(Some(body)) => copy.set(&to.bodies, &codec::id(id), &body),
                // No payload is as short as this one, so it is damaged.
                _ => copy.set(&to.bodies, &codec::id(id), &codec::body(bucket, &[])),
            }
        })?;
        copy.write()?;
        // Those whose place in the list could not be read.
        each(&from.bodies, |key, value| {
            let (Some(id), Some((bucket, _))) = (codec::read_id(key), codec::read_body(value))
            else {
                return Ok(());
            };
            if to.bodies.contains_key(key).map_err(not_read)? {
                return Ok(());
            }
            copy.set(&to.bodies, key, value)?;
            let place = codec::place(bucket, id);
            match from.heads.get(place) {
                Ok(Some(head)) if codec::read_numbers(&head).is_some() => copy.head(&place, &head),
                _ => Ok(()),
            }
        })?;
        each(&from.ended, |key, value| {
            let (Some(id), Some((until, _))) = (codec::read_id(key), codec::read_ended(value))
            else {
                return Ok(());
            };
            copy.set(&to.ended, key, value)?;
            copy.set(&to.forget, &codec::forget(until, id), &[])
        })?;
        // Clusters take their generations from stores that they share, and nobody shares a disc: sessions are
        // not to be given up for it.
        if let Ok(begun) = from.begun() {
            copy.change.begin(begun);
        }
        copy.write()?;
        Ok(copy.state)
    });
    let copied = catch_unwind(copied).unwrap_or_else(|_| {
        Err(StoreError::Damaged(
            "its engine could not make sense of its files".to_owned(),
        ))
    })?;
    to.sync().map_err(|error| not_copied(&error))?;
    Ok(copied)
}

struct Copy<'a> {
    to: &'a Engine,
    state: State,
    change: Change<'a>,
    entries: usize,
}

impl Copy<'_> {
    fn set(&mut self, map: &Keyspace, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        self.change.set(map, key, value);
        self.entries += 1;
        if self.entries < AT_ONCE {
            return Ok(());
        }
        self.write()
    }

    /// What is known of a row, and when it runs out.
    fn head(&mut self, place: &[u8], value: &[u8]) -> Result<(), StoreError> {
        let (Some((bucket, id)), Some(numbers)) =
            (codec::read_place(place), codec::read_numbers(value))
        else {
            return Ok(());
        };
        self.state.rows += 1;
        let to = self.to;
        if numbers.given_out.is_none() {
            self.set(&to.due, &codec::due(bucket, numbers.ends, id), &[])?;
        }
        self.set(&to.heads, place, value)
    }

    fn write(&mut self) -> Result<(), StoreError> {
        self.entries = 0;
        let change = std::mem::replace(&mut self.change, self.to.change());
        change.write(&self.state).map_err(|error| match error {
            NotWritten::Held => StoreError::Unavailable("it is too slow".to_owned()),
            NotWritten::Stopped(error) => not_copied(&error),
        })
    }
}

fn not_copied(error: &fjall::Error) -> StoreError {
    StoreError::Unavailable(format!("what is whole of it cannot be written: {error:?}"))
}

/// Every entry that can be read, in order. Behind one that cannot it goes on with the next two bytes of a key.
fn each(
    map: &Keyspace,
    mut take: impl FnMut(&[u8], &[u8]) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let mut from = 0_u16;
    loop {
        let mut read_to = from;
        let mut is_whole = true;
        for entry in map.range(from.to_be_bytes()..) {
            match entry.into_inner().map_err(not_read) {
                Ok((key, value)) => {
                    if let Some(prefix) = key.first_chunk() {
                        read_to = u16::from_be_bytes(*prefix);
                    }
                    take(&key, &value)?;
                }
                Err(StoreError::Damaged(_)) => {
                    is_whole = false;
                    break;
                }
                Err(error) => return Err(error),
            }
        }
        match read_to.checked_add(1) {
            Some(next) if !is_whole => from = next,
            _ => return Ok(()),
        }
    }
}
