//! Keeps code that runs under a session's lock from using a session: that could only dead-lock.
//!
//! It is a mark on the thread, not a lock.

use std::cell::Cell;

use super::error::SessionError;

thread_local!(static UNDER_LOCK: Cell<bool> = const { Cell::new(false) });

/// This thread is under a session's lock until it is dropped.
pub(super) struct Mark(bool);

impl Drop for Mark {
    #[inline]
    fn drop(&mut self) {
        UNDER_LOCK.set(self.0);
    }
}

/// An error when this thread runs the closure of an `update`, or a value's code, under a session's
/// lock.
#[inline]
pub(super) fn refuse() -> Result<(), SessionError> {
    if UNDER_LOCK.get() {
        Err(SessionError::Nested)
    } else {
        Ok(())
    }
}

/// Marks this thread, unless it is marked already.
#[inline]
pub(super) fn enter() -> Result<Mark, SessionError> {
    refuse()?;
    Ok(Mark(UNDER_LOCK.replace(true)))
}

/// Runs `code`, which the caller did not write, under a session's lock.
pub(super) fn run<R>(code: impl FnOnce() -> R) -> R {
    let _mark = Mark(UNDER_LOCK.replace(true));
    code()
}
