//! What is large in a message is not copied when the message is decoded, but is a part of the frame that
//! it came in.
//!
//! A decoder sees borrowed bytes and not what they are a part of, so that is said beside it, for the
//! thread that decodes.

use std::cell::RefCell;
use std::fmt;

use bytes::Bytes;
use serde::Deserializer;
use serde::de::{self, Visitor};

thread_local! {
    /// What is being decoded here now.
    static FRAME: RefCell<Option<Bytes>> = const { RefCell::new(None) };
}

/// Decodes something that lies in `frame`: what of it is large, and borrowed from it, is a part of it
/// afterwards.
pub fn within<T>(frame: &Bytes, decode: impl FnOnce() -> T) -> T {
    /// However it ends, the frame is not kept.
    struct Over;
    impl Drop for Over {
        fn drop(&mut self) {
            FRAME.set(None);
        }
    }
    FRAME.set(Some(frame.clone()));
    let over = Over;
    let decoded = decode();
    drop(over);
    decoded
}

/// Bytes that are a part of the frame, where they lie in it; else a copy.
pub(super) fn part<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Bytes, D::Error> {
    deserializer.deserialize_byte_buf(Part)
}

struct Part;

impl<'de> Visitor<'de> for Part {
    type Value = Bytes;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("bytes")
    }

    fn visit_borrowed_bytes<E: de::Error>(self, bytes: &'de [u8]) -> Result<Bytes, E> {
        Ok(FRAME.with_borrow(|frame| match frame {
            Some(frame) if lies_in(bytes, frame) => frame.slice_ref(bytes),
            _ => Bytes::copy_from_slice(bytes),
        }))
    }

    fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<Bytes, E> {
        Ok(Bytes::copy_from_slice(bytes))
    }

    fn visit_byte_buf<E: de::Error>(self, bytes: Vec<u8>) -> Result<Bytes, E> {
        Ok(bytes.into())
    }
}

fn lies_in(part: &[u8], whole: &[u8]) -> bool {
    let (part, whole) = (part.as_ptr_range(), whole.as_ptr_range());
    whole.start <= part.start && part.end <= whole.end
}

#[cfg(test)]
mod tests {
    use serde::{Deserialize, Serialize};

    use super::*;

    #[derive(Serialize, Deserialize)]
    struct Parcel(#[serde(deserialize_with = "part")] Bytes);

    #[test]
    fn a_part_of_a_frame_is_not_copied_and_of_anything_else_is() {
        let state = Bytes::from(vec![7; 1000]);
        let frame: Bytes = rmp_serde::to_vec(&Parcel(state.clone())).unwrap().into();
        let decode = |bytes: &[u8]| rmp_serde::from_slice::<Parcel>(bytes).unwrap().0;
        let part = within(&frame, || decode(&frame));
        assert!(part == state && lies_in(&part, &frame));
        let other = Bytes::copy_from_slice(&frame);
        let copied = within(&other, || decode(&frame));
        assert!(copied == state && !lies_in(&copied, &frame) && !lies_in(&copied, &other));
        let copied = decode(&frame);
        assert!(copied == state && !lies_in(&copied, &frame));
    }
}
