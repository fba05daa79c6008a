//! What travels: frames of a length and that many bytes, and MessagePack in them.
//!
//! Decoding is bounded by the frame's limit and never panics, whatever the bytes are. An empty frame
//! says nothing but that its sender is alive.

use bytes::{BufMut, Bytes, BytesMut};
use rmp_serde::Deserializer;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio_util::codec::LengthDelimitedCodec;

/// Bytes before a frame's body: its length, most significant byte first.
pub const LENGTH_BYTES: usize = 4;

/// How deep a value may nest; ours nest less than ten deep.
const DEPTH: usize = 64;

/// A value that cannot be a frame's body, or bytes that are none. Nothing was sent or changed.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// The value's own serialisation failed; sending it again fails again.
    #[error("it cannot be encoded: {0}")]
    Encode(#[from] rmp_serde::encode::Error),
    /// The bytes are not such a value: their sender is broken, hostile or of another version. Its text
    /// quotes nothing of them, so that it may stand in a log line.
    #[error("it cannot be decoded")]
    Decode(#[from] rmp_serde::decode::Error),
    /// There are bytes after the value.
    #[error("more bytes follow the value")]
    Trailing,
}

/// Cuts a connection into frames of at most `limit` bytes each; a longer one is an error on both
/// sides, after which nothing more can be read.
#[must_use]
pub fn codec(limit: usize) -> LengthDelimitedCodec {
    LengthDelimitedCodec::builder()
        .length_field_length(LENGTH_BYTES)
        .max_frame_length(limit)
        .new_codec()
}

/// The body that carries `value`, with fields by position: both sides agreed on a version.
///
/// # Errors
///
/// When the value's own serialisation fails.
pub fn encode<T: Serialize>(value: &T) -> Result<Bytes, FrameError> {
    Ok(rmp_serde::to_vec(value)?.into())
}

/// The same, behind what is in `bytes` already; after an error, part of it may be.
///
/// # Errors
///
/// When the value's own serialisation fails.
pub fn encode_into<T: Serialize>(bytes: &mut BytesMut, value: &T) -> Result<(), FrameError> {
    Ok(rmp_serde::encode::write(&mut bytes.writer(), value)?)
}

/// The body that carries `value`, with named fields: a later version may add some.
///
/// # Errors
///
/// When the value's own serialisation fails.
pub fn encode_named<T: Serialize>(value: &T) -> Result<Bytes, FrameError> {
    Ok(rmp_serde::to_vec_named(value)?.into())
}

/// The value in a body, and nothing after it.
///
/// # Errors
///
/// When the bytes are not exactly one such value.
pub fn decode<T: DeserializeOwned>(body: &[u8]) -> Result<T, FrameError> {
    let mut deserializer = Deserializer::from_read_ref(body);
    deserializer.set_max_depth(DEPTH);
    let value = T::deserialize(&mut deserializer)?;
    // The end shows in that not even the first byte of another value can be read.
    match <()>::deserialize(&mut deserializer) {
        Err(rmp_serde::decode::Error::InvalidMarkerRead(_)) => Ok(value),
        Ok(()) | Err(_) => Err(FrameError::Trailing),
    }
}

#[cfg(test)]
mod tests {

    use tokio_util::codec::Decoder;

    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Parcel {
        number: u64,
        bytes: Bytes,
    }

    #[test]
    fn bytes_travel_as_bytes() {
        let parcel = Parcel {
            number: 7,
            bytes: vec![0xff; 1000].into(),
        };
        for body in [encode(&parcel).unwrap(), encode_named(&parcel).unwrap()] {
            assert!(body.len() < 1030, "{}", body.len());
            assert_eq!(decode::<Parcel>(&body).unwrap(), parcel);
        }
    }

    #[test]
    fn a_value_is_the_whole_body() {
        for more in [&[0][..], &[0xc0], &[0xdd], &[0xc1, 1]] {
            let body = [&encode(&7_u64).unwrap()[..], more].concat();
            assert!(matches!(decode::<u64>(&body), Err(FrameError::Trailing)));
        }
        assert!(matches!(decode::<u64>(&[]), Err(FrameError::Decode(_))));
    }

    #[test]
    fn a_deep_value_is_refused_without_being_followed() {
        let deep = [0x91; 100_000];
        assert!(decode::<serde::de::IgnoredAny>(&deep).is_err());
    }

    #[test]
    fn a_length_that_lies_takes_no_memory() {
        // An array of four thousand million elements, of which none follows.
        assert!(decode::<Vec<u64>>(&[0xdd, 0xff, 0xff, 0xff, 0xff]).is_err());
        assert!(decode::<Bytes>(&[0xc6, 0xff, 0xff, 0xff, 0xff]).is_err());
    }

    #[test]
    fn a_frame_over_the_limit_is_an_error_before_its_body_comes() {
        let mut read = BytesMut::from(&[0, 0, 0, 11, 1][..]);
        assert!(codec(10).decode(&mut read).is_err());
        let mut read = BytesMut::from(&[0, 0, 0, 1, 9, 0][..]);
        assert_eq!(codec(10).decode(&mut read).unwrap().unwrap(), [9][..]);
        assert_eq!(codec(10).decode(&mut read).unwrap(), None);
    }
}
