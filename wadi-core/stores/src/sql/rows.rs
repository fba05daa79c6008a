//! Rows as a database has them. Plain values, and what is asked of each database.

use std::time::Duration;

use wadi_core::bucket::{BucketId, LayoutVersion};
use wadi_core::session::SessionId;
use wadi_core::store::{Ended, Head, Page, Row};
use wadi_core::tenure::{Revision, Tenure};

pub(super) type Answer<T> = Result<T, sqlx::Error>;

/// How many rows one statement carries.
pub(super) const ROWS_MOST: usize = 256;

/// What is asked of a database. Each is one statement, so it is done whole or not at all.
pub(super) trait Database: std::fmt::Debug + Send + Sync + 'static {
    /// Puts these, no two of one session, where the database has nothing newer. Says which.
    fn put(&self, rows: &[&Row]) -> impl Future<Output = Answer<Vec<Vec<u8>>>> + Send;

    fn find(&self, id: SessionId) -> impl Future<Output = Answer<Option<Found>>> + Send;

    /// Removes what was found, if that is still there and was given to nobody since.
    fn remove(&self, id: SessionId, found: &Found) -> impl Future<Output = Answer<bool>> + Send;

    /// Gives out what was found, if that is still there, was given to nobody since and is no later one's. Then it says,
    /// as of this step, under which tenure an earlier epoch had it last.
    fn give_out(
        &self,
        id: SessionId,
        found: &Found,
        under: Tenure,
    ) -> impl Future<Output = Answer<Option<Before>>> + Send;

    /// These have ended; no two are of one session.
    fn end(&self, ended: &[&Ended]) -> impl Future<Output = Answer<()>> + Send;

    /// Where there is nothing, nothing is put under a lower tenure for a while. Says whether there was nothing.
    fn fence(&self, id: SessionId, under: Tenure) -> impl Future<Output = Answer<bool>> + Send;

    /// A number above this one and above all that were said before; none where none is left.
    fn begin(&self, after: u32) -> impl Future<Output = Answer<Option<i64>>> + Send;

    /// Forgets some ends and fences whose time is over.
    fn forget(&self) -> impl Future<Output = Answer<()>> + Send;

    fn page(&self, page: &Page) -> impl Future<Output = Answer<Vec<Head>>> + Send;
}

/// The last tenure of an earlier epoch; none where there was none.
pub(super) type Before = Option<Vec<u8>>;

/// What a database has of one session.
pub(super) struct Found {
    pub(super) stamp: Vec<u8>,
    /// Without a payload: under which tenure there was nothing, and so it has not ended.
    pub(super) given_out: Option<Vec<u8>>,
    pub(super) given_before: Before,
    pub(super) put_at: i64,
    pub(super) ends: i64,
    /// What time it is there.
    pub(super) now: i64,
    /// None where the session has ended, or nothing is there but a fence.
    pub(super) payload: Option<Vec<u8>>,
}

impl Found {
    /// Whether it has ended, as far as that is still to be remembered.
    pub(super) fn has_ended(&self) -> bool {
        self.payload.is_none() && self.given_out.is_none() && self.ends > self.now
    }
}

pub(super) fn id(id: SessionId) -> Vec<u8> {
    let mut bytes = id.random().to_vec();
    bytes.extend_from_slice(&id.issued().to_be_bytes());
    bytes
}

/// Bytes in the order of tenures.
pub(super) fn tenure(tenure: Tenure) -> Vec<u8> {
    let mut bytes = tenure.epoch().as_u64().to_be_bytes().to_vec();
    bytes.extend_from_slice(&tenure.count().to_be_bytes());
    bytes
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

pub(super) fn read_tenure(bytes: &[u8]) -> Option<Tenure> {
    let (epoch, count) = bytes.split_at_checked(8)?;
    let epoch = LayoutVersion::from_u64(number(epoch)?);
    Some(Tenure::new(epoch, number(count)?))
}

pub(super) fn read_stamp(bytes: &[u8]) -> Option<(Tenure, Revision)> {
    let (tenure, revision) = bytes.split_at_checked(16)?;
    Some((read_tenure(tenure)?, Revision::new(number(revision)?)))
}

fn read_id(bytes: &[u8]) -> Option<SessionId> {
    let (random, issued) = bytes.split_first_chunk::<16>()?;
    let issued = u32::from_be_bytes(issued.try_into().ok()?);
    Some(SessionId::from_parts(*random, issued))
}

/// One entry of a list.
pub(super) fn head(id: &[u8], bucket: i32, stamp: &[u8], given_out: Option<&[u8]>) -> Answer<Head> {
    let read = || {
        let (tenure, revision) = read_stamp(stamp)?;
        Some(Head {
            id: read_id(id)?,
            bucket: BucketId::new(u16::try_from(bucket).ok()?),
            tenure,
            revision,
            given_out: match given_out {
                None => None,
                Some(under) => Some(read_tenure(under)?),
            },
        })
    };
    read().ok_or_else(|| sqlx::Error::Decode("an entry of a list cannot be read".into()))
}

/// The last number that is ever said, in the database's own numbers.
pub(super) const LAST_NUMBER: i64 = u32::MAX as i64 - 1;

/// Where a list goes on.
pub(super) fn after(page: &Page) -> (i32, Vec<u8>) {
    page.after.map_or((-1, Vec::new()), |(bucket, session)| {
        (bucket.get().into(), id(session))
    })
}

/// So many at most, in the database's own numbers.
pub(super) fn most(page: &Page) -> i64 {
    i64::try_from(page.most).unwrap_or(i64::MAX)
}

/// Milliseconds, of which a sum with a time of day still is a number.
pub(super) fn millis(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).map_or(i64::MAX / 4, |millis| millis.min(i64::MAX / 4))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

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
            prop_assert_eq!(read_stamp(&stamp(a.0, a.1)), Some(a));
            prop_assert_eq!(read_tenure(&tenure(a.0)), Some(a.0));
        }
    }

    #[test]
    fn no_time_is_too_long_to_add() {
        assert_eq!(millis(Duration::from_secs(2)), 2000);
        assert!(millis(Duration::MAX).checked_add(i64::MAX / 2).is_some());
    }
}
