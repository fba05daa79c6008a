//! A session's id as the cluster knows it: random bits and an issue time.
//!
//! The keyed tag that a cookie carries beside them is checked at the edge and never travels on.
//! An id is a secret: it is never printed.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::bucket::{BucketCount, BucketId};

/// The name of one session, unguessable: 128 random bits and the second in which it was issued.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SessionId {
    random: [u8; 16],
    issued: u32,
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
