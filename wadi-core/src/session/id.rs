//! A session's id as the cluster knows it: random bits and an issue time.
//!
//! The keyed tag that a cookie carries beside them is checked at the edge and never travels on.
//! An id is a secret: it is never printed, and no format for people is given one.

use std::fmt;

use serde::de::{self, Visitor};
use serde::ser::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::bucket::{BucketCount, BucketId};

/// The name of one session, unguessable: 128 random bits and the second in which it was issued.
///
/// Messages between nodes carry it, so it can be serialised; but only into binary formats. JSON and
/// whatever else people read (`Serializer::is_human_readable`) is refused it, since that is what
/// logs are made of. Whoever has its bytes and the cluster's key has the session.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId {
    random: [u8; 16],
    issued: u32,
}

/// The random bits, then the issue time, most significant byte first.
const BYTES: usize = 20;

impl Serialize for SessionId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            return Err(S::Error::custom(
                "a session's id is a secret, and is not written for people to read",
            ));
        }
        // In one piece: every message has an id in it, and number by number it would cost more than
        // the rest of most of them.
        let mut bytes = [0; BYTES];
        let (random, issued) = bytes.split_at_mut(16);
        random.copy_from_slice(&self.random);
        issued.copy_from_slice(&self.issued.to_be_bytes());
        serializer.serialize_bytes(&bytes)
    }
}

impl<'de> Deserialize<'de> for SessionId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_bytes(InOnePiece)
    }
}

struct InOnePiece;

impl Visitor<'_> for InOnePiece {
    type Value = SessionId;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the {BYTES} bytes of a session's id")
    }

    fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<SessionId, E> {
        let wrong = || E::invalid_length(bytes.len(), &self);
        let (random, issued) = bytes.split_first_chunk::<16>().ok_or_else(wrong)?;
        let issued: [u8; 4] = issued.try_into().map_err(|_| wrong())?;
        Ok(SessionId::from_parts(*random, u32::from_be_bytes(issued)))
    }
}

impl SessionId {
    /// An id from random bits of the operating system's source and the issue time in seconds
    /// since the Unix epoch.
    #[must_use]
    pub const fn from_parts(random: [u8; 16], issued: u32) -> Self {
        Self { random, issued }
    }

    /// The random bits.
    #[must_use]
    pub const fn random(&self) -> &[u8; 16] {
        &self.random
    }

    /// When it was issued, in seconds since the Unix epoch, by the issuing machine's wall clock.
    #[must_use]
    pub const fn issued(&self) -> u32 {
        self.issued
    }

    /// The half of the random bits that does not choose the bucket; it is as good as any hash.
    #[inline]
    pub(super) fn half(&self) -> u64 {
        let mut half = [0; 8];
        half.copy_from_slice(&self.random[8..]);
        u64::from_le_bytes(half)
    }

    /// The bucket it belongs to.
    #[must_use]
    pub fn bucket(&self, buckets: BucketCount) -> BucketId {
        // The upper half of the random bits, spread by one multiplication: uniform bits in, a
        // uniform bucket out, and no division.
        let mut high = [0; 8];
        high.copy_from_slice(&self.random[..8]);
        let spread = u64::from_le_bytes(high).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let bucket = (u128::from(spread) * u128::from(buckets.get())) >> 64;
        BucketId::new(bucket as u16)
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionId(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_travels_in_binary_and_is_never_written_for_people() {
        let id = SessionId::from_parts([7; 16], 9);
        for bytes in [rmp_serde::to_vec(&id), rmp_serde::to_vec_named(&id)] {
            let back: SessionId = rmp_serde::from_slice(&bytes.unwrap()).unwrap();
            assert!(back == id);
        }
        let encoded = rmp_serde::to_vec(&id).unwrap();
        assert_eq!(encoded.len(), 2 + BYTES);
        for wrong in [&encoded[2..], &[&[0xc4, 19][..], &encoded[3..]].concat()] {
            assert!(rmp_serde::from_slice::<SessionId>(wrong).is_err());
        }
        let mut text = rmp_serde::Serializer::new(Vec::new()).with_human_readable();
        assert!(id.serialize(&mut text).is_err());
        assert_eq!(format!("{id:?}"), "SessionId(…)");
    }
}
