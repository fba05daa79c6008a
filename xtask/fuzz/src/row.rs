//! A row as it comes from a disc: what is taken is exactly what is written, a payload says whose it is, and what
//! is not a state is not installed.

use std::time::Duration;

use wadi_core::session::{SessionId, aged, fuzzing};
use wadi_core::store::Payload;
use wadi_stores::disc::fuzzing::disc_entry;

/// One input: an entry of any kind, the bytes of a payload, and the state in one.
pub fn target(data: &[u8]) {
    disc_entry(data);
    if let Ok(payload) = Payload::read(data.to_vec()) {
        assert_eq!(payload.as_bytes(), data, "another one was read");
    }
    let (id, other) = (
        SessionId::from_parts([1; 16], 2),
        SessionId::from_parts([1; 16], 3),
    );
    let sealed = Payload::seal(id, data);
    let read = Payload::read(sealed.as_bytes().to_vec()).expect("it was sealed so");
    assert!(read.is_of(id) && !read.is_of(other) && read.state() == data);
    fuzzing::sealed_state(&aged(read.state(), Duration::from_secs(u64::MAX)));
    // One bit, anywhere.
    let mut broken = sealed.as_bytes().to_vec();
    let at = data
        .iter()
        .fold(0_usize, |at, byte| at.wrapping_mul(31) + usize::from(*byte));
    let at = at % (8 * broken.len());
    broken[at / 8] ^= 1 << (at % 8);
    assert!(Payload::read(broken).is_err(), "what was changed is taken");
}
