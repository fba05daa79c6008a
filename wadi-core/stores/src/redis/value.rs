//! What is in a session's key. Plain bytes, of which a script reads the head only; `session.lua` says the same.
//!
//! `R` bucket stamp given-out given-before put-at ends payload: a row. `E`: it has ended, until the key runs out by itself.
//! `F` tenure: there was nothing, and nothing is put under a lower tenure, also until the key runs out.

use std::time::Duration;

use wadi_core::bucket::{BucketId, LayoutVersion};
use wadi_core::session::SessionId;
use wadi_core::store::Head;
use wadi_core::tenure::{Revision, Tenure};

/// How much of a row is before its payload.
pub(super) const HEAD: usize = 93;
/// The longest that a session has left, in microseconds: two centuries, so that its end is still a whole number in a
/// script, where numbers are floating.
const LONGEST: u128 = 200 * 365 * 24 * 3600 * 1_000_000;

/// The head of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RowHead {
    pub(super) bucket: BucketId,
    pub(super) tenure: Tenure,
    pub(super) revision: Revision,
    /// The last tenure under which it was given out.
    pub(super) given_out: Option<Tenure>,
    /// The last one of an earlier epoch than that.
    pub(super) given_before: Option<Tenure>,
    /// By the server's clock, in microseconds.
    pub(super) put_at: i64,
    pub(super) ends: i64,
}

impl RowHead {
    pub(super) fn read(head: &[u8]) -> Option<Self> {
        if head.len() != HEAD || head[0] != b'R' {
            return None;
        }
        let (tenure, revision) = (read_tenure(&head[3..19])?, number(&head[19..27])?);
        Some(Self {
            bucket: read_bucket(&head[1..3])?,
            tenure,
            revision: Revision::new(revision),
            given_out: read_given(&head[27..44])?,
            given_before: read_given(&head[44..61])?,
            put_at: digits(&head[61..77])?,
            ends: digits(&head[77..93])?,
        })
    }

    pub(super) fn listed(&self, id: SessionId) -> Head {
        Head {
            id,
            bucket: self.bucket,
            tenure: self.tenure,
            revision: self.revision,
            given_out: self.given_out,
        }
    }
}

/// Which row it is: no two of one session have the same.
pub(super) fn version(head: &[u8]) -> Vec<u8> {
    let part = |range: std::ops::Range<usize>| head.get(range).unwrap_or_default();
    [part(3..27), part(61..77)].concat()
}

pub(super) fn id(id: SessionId) -> Vec<u8> {
    let mut bytes = id.random().to_vec();
    bytes.extend_from_slice(&id.issued().to_be_bytes());
    bytes
}

pub(super) fn read_id(bytes: &[u8]) -> Option<SessionId> {
    let (random, issued) = bytes.split_first_chunk::<16>()?;
    let issued = u32::from_be_bytes(issued.try_into().ok()?);
    Some(SessionId::from_parts(*random, issued))
}

pub(super) fn bucket(bucket: BucketId) -> [u8; 2] {
    bucket.get().to_be_bytes()
}

fn read_bucket(bytes: &[u8]) -> Option<BucketId> {
    Some(BucketId::new(u16::from_be_bytes(bytes.try_into().ok()?)))
}

/// A session's entry in a list: in the order of bucket and id.
pub(super) fn member(of: BucketId, session: SessionId) -> Vec<u8> {
    [&bucket(of)[..], &id(session)].concat()
}

pub(super) fn read_member(bytes: &[u8]) -> Option<(BucketId, SessionId)> {
    let (bucket, id) = bytes.split_at_checked(2)?;
    Some((read_bucket(bucket)?, read_id(id)?))
}

/// Bytes in the order of tenures.
pub(super) fn tenure(tenure: Tenure) -> Vec<u8> {
    let mut bytes = tenure.epoch().as_u64().to_be_bytes().to_vec();
    bytes.extend_from_slice(&tenure.count().to_be_bytes());
    bytes
}

fn read_tenure(bytes: &[u8]) -> Option<Tenure> {
    let (epoch, count) = bytes.split_at_checked(8)?;
    let epoch = LayoutVersion::from_u64(number(epoch)?);
    Some(Tenure::new(epoch, number(count)?))
}

/// A tenure that there may be, with a sign before it whether there is one.
fn read_given(bytes: &[u8]) -> Option<Option<Tenure>> {
    match bytes.split_first()? {
        (b'0', _) => Some(None),
        (b'1', under) => read_tenure(under).map(Some),
        _ => None,
    }
}

/// Bytes in the order of (tenure, revision).
pub(super) fn stamp(under: Tenure, revision: Revision) -> Vec<u8> {
    let mut bytes = tenure(under);
    bytes.extend_from_slice(&revision.get().to_be_bytes());
    bytes
}

fn number(bytes: &[u8]) -> Option<u64> {
    Some(u64::from_be_bytes(bytes.try_into().ok()?))
}

fn digits(bytes: &[u8]) -> Option<i64> {
    std::str::from_utf8(bytes).ok()?.parse().ok()
}

/// Microseconds, of which a sum with a time of day still is a whole number.
pub(super) fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros().min(LONGEST)).unwrap_or(u64::MAX)
}

/// Milliseconds, rounded up: what is to be remembered at all, is remembered.
pub(super) fn millis(time: Duration) -> u64 {
    micros(time).div_ceil(1000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn as_put(stamp: &[u8], put_at: i64) -> Vec<u8> {
        let rest = format!("{put_at:016}{:016}", put_at + 5);
        let nobody = [&b"0"[..], &[0; 16]].concat();
        [b"R\x01\x02", stamp, &nobody, &nobody, rest.as_bytes()].concat()
    }

    proptest! {
        #[test]
        fn stamps_are_in_the_order_of_what_they_say(
            a in any::<(u64, u64, u64)>(), b in any::<(u64, u64, u64)>(),
        ) {
            let of = |(epoch, count, revision): (u64, u64, u64)| {
                (Tenure::new(LayoutVersion::from_u64(epoch), count), Revision::new(revision))
            };
            let (a, b) = (of(a), of(b));
            prop_assert_eq!(a.cmp(&b), stamp(a.0, a.1).cmp(&stamp(b.0, b.1)));
            let head = RowHead::read(&as_put(&stamp(a.0, a.1), 7));
            prop_assert_eq!(head.map(|head| (head.tenure, head.revision)), Some(a));
        }

        #[test]
        fn entries_are_in_the_order_of_bucket_and_id(
            a in any::<(u16, [u8; 16], u32)>(), b in any::<(u16, [u8; 16], u32)>(),
        ) {
            let of = |(bucket, random, issued): (u16, [u8; 16], u32)| {
                (BucketId::new(bucket), SessionId::from_parts(random, issued))
            };
            let (a, b) = (of(a), of(b));
            prop_assert_eq!(a.cmp(&b), member(a.0, a.1).cmp(&member(b.0, b.1)));
            prop_assert_eq!(read_member(&member(a.0, a.1)), Some(a));
        }

        #[test]
        fn no_bytes_are_too_strange_to_be_read(bytes in any::<Vec<u8>>()) {
            let _ = (RowHead::read(&bytes), version(&bytes), read_member(&bytes));
        }
    }

    #[test]
    fn a_head_is_read_as_it_was_written() {
        let stamp = stamp(Tenure::new(LayoutVersion::founding(3), 4), Revision::new(5));
        let mut bytes = as_put(&stamp, 1_800_000_000_000_000);
        let head = RowHead::read(&bytes).expect("it is one");
        assert_eq!(head.bucket, BucketId::new(258));
        assert_eq!((head.given_out, head.given_before), (None, None));
        assert_eq!(
            (head.put_at, head.ends - head.put_at),
            (1_800_000_000_000_000, 5)
        );
        bytes[27] = b'1';
        let head = RowHead::read(&bytes).expect("it is one");
        assert_eq!(
            (head.given_out, head.given_before),
            (Some(Tenure::NONE), None)
        );
        bytes[44] = b'1';
        let head = RowHead::read(&bytes).expect("it is one");
        assert_eq!(head.given_before, Some(Tenure::NONE));
        for at in [0, 27, 44, 65, 80] {
            let mut broken = bytes.clone();
            broken[at] = b'x';
            assert_eq!(RowHead::read(&broken), None, "{at}");
        }
    }

    #[test]
    fn no_time_is_too_long_to_add_nor_too_short_to_count() {
        let whole = 1_u64 << 53;
        assert!(micros(Duration::MAX) + 2_000_000_000_000_000 < whole);
        assert_eq!(millis(Duration::from_nanos(1_000)), 1);
        assert_eq!(millis(Duration::ZERO), 0);
    }
}
