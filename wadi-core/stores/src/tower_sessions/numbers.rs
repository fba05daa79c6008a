//! Numbers that nobody was told before: each is a record that only one can create.

use tower_sessions_core::{SessionStore, session_store};

use super::record::{self, Entry};
use super::write;

/// For how long a number is remembered, in seconds: longer than any session lasts.
const REMEMBERED: u64 = 5 * 365 * 24 * 3600;
/// How many numbers above the last one that is known are tried.
const TRIES: u32 = 1000;

/// What came of it.
pub(super) enum Said {
    Number(u32),
    /// There is none above.
    NoneLeft,
    /// Others are always faster, or it is not known any more where to look.
    NotFound,
}

/// A number above this one, and above those that were said before.
pub(super) async fn next(
    store: &(impl SessionStore + ?Sized),
    after: u32,
    now: u64,
) -> session_store::Result<Said> {
    let until = now + REMEMBERED;
    let mut number = after;
    for _ in 0..TRIES {
        number = number.max(last(store).await?.unwrap_or(0));
        if number >= u32::MAX - 1 {
            return Ok(Said::NoneLeft);
        }
        number += 1;
        // Who was told a higher one meanwhile has passed this one over.
        if !create(store, number, until).await? {
            continue;
        }
        let before = last(store).await?;
        if before.is_none_or(|before| before < number) {
            let last = record::record(record::id_of_last(), &Entry::Number(number), until);
            write::write(store, last, before.is_some()).await?;
            return Ok(Said::Number(number));
        }
    }
    Ok(Said::NotFound)
}

/// The last number, or one below it: two who note theirs at once may leave the lower one.
async fn last(store: &(impl SessionStore + ?Sized)) -> session_store::Result<Option<u32>> {
    let last = store.load(&record::id_of_last()).await?;
    Ok(last.map(|last| match record::read(&last) {
        Ok(Entry::Number(number)) => number,
        _ => 0,
    }))
}

/// Whether this one is who has it.
async fn create(
    store: &(impl SessionStore + ?Sized),
    number: u32,
    until: u64,
) -> session_store::Result<bool> {
    let id = record::id_of_number(number);
    // A store whose `create` writes over what it has would say yes again and again.
    let is_there = store.load(&id).await?.is_some();
    Ok(
        !is_there
            && write::create(store, record::record(id, &Entry::Number(number), until)).await?,
    )
}
