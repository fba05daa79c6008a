//! What the fuzz target calls: everything that is read from the disc, with what must hold.
//!
//! Only in test and fuzz builds. Each function takes any bytes and panics when a promise is broken.

use std::sync::Arc;

use wadi_core::clock::ManualClock;

use super::codec::{self, ID_BYTES};
use super::time::Axis;

/// Whatever is taken for an entry is spelt as it would be written, and nothing that it says can be counted over.
pub fn disc_entry(bytes: &[u8]) {
    if let Some(numbers) = codec::read_numbers(bytes) {
        assert_eq!(codec::numbers(&numbers), bytes);
    }
    if let Some((bucket, id)) = codec::read_place(bytes) {
        assert_eq!(codec::place(bucket, id)[..], *bytes);
        assert_eq!(codec::id(id).len(), ID_BYTES);
    }
    if let Some((bucket, ends, id)) = codec::read_due(bytes) {
        assert_eq!(codec::due(bucket, ends, id)[..], *bytes);
    }
    if let Some((until, id)) = codec::read_forget(bytes) {
        assert_eq!(codec::forget(until, id)[..], *bytes);
    }
    if let Some((until, under)) = codec::read_ended(bytes) {
        assert_eq!(codec::ended(until, under), bytes);
    }
    if let Some((bucket, payload)) = codec::read_body(bytes) {
        assert_eq!(codec::body(bucket, payload), bytes);
    }
    if let Some(state) = codec::read_state(bytes) {
        assert_eq!(codec::state(&state), bytes);
        assert!(
            state.changes.checked_add(1).is_some() && state.rows.checked_add(1 << 32).is_some()
        );
        for boot in [state.anchor.boot.clone(), None] {
            let axis = Axis::resume(Arc::new(ManualClock::new()), boot, Some(&state.anchor));
            assert!(axis.now() >= state.anchor.stamp, "time goes back");
            let _ = axis.anchor();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disc::codec::{Numbers, State};
    use crate::disc::time::{Anchor, Stamp};
    use wadi_core::tenure::{Revision, Tenure};

    /// Some mutations of what is good; the fuzz target goes on from here.
    #[test]
    fn mutated_entries_keep_every_promise() {
        let numbers = codec::numbers(&Numbers {
            tenure: Tenure::NONE,
            revision: Revision::new(7),
            given_out: Some(Tenure::NONE),
            given_before: Some(Tenure::NONE),
            put_at: Stamp(1),
            ends: Stamp(2),
        });
        let state = codec::state(&State {
            changes: 7,
            rows: 3,
            anchor: Anchor {
                stamp: Stamp(9),
                boot: Some("0f1a".to_owned()),
                moment: 8,
                unix_seconds: 5,
            },
        });
        for good in [numbers, state] {
            for at in 0..good.len() {
                for byte in [0, 1, 0x7f, 0x80, 0xff] {
                    let mut changed = good.clone();
                    changed[at] = byte;
                    disc_entry(&changed);
                    disc_entry(&changed[at..]);
                }
            }
        }
    }
}
