//! A session as a record of tower-sessions: one value, which is bytes in Base64, under an id that nobody can guess.
//!
//! The record's id is a hash of the session's, so that neither can be used as the other, and no cookie of tower-sessions finds
//! a record of ours.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use time::OffsetDateTime;
use tower_sessions_core::session::{Id, Record};
use wadi_core::bucket::{BucketId, LayoutVersion};
use wadi_core::session::SessionId;
use wadi_core::tenure::{Revision, Tenure};

/// The name of the one value.
const VALUE: &str = "wadi";
/// The last second that a date of a record can say.
const LAST_SECOND: u64 = 253_402_300_799;

/// What a record has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Entry {
    Row(Box<Kept>),
    /// The session has ended.
    Ended,
    /// There was nothing, and nothing is put under a lower tenure.
    Fence(Tenure),
    /// This number was said.
    Number(u32),
}

/// A row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Kept {
    pub(super) bucket: BucketId,
    pub(super) tenure: Tenure,
    pub(super) revision: Revision,
    /// The last tenure under which it was given out.
    pub(super) given_out: Option<Tenure>,
    /// The last one of an earlier epoch than that.
    pub(super) given_before: Option<Tenure>,
    /// In seconds, by the wall clock of whoever put it.
    pub(super) put_at: u64,
    pub(super) payload: Vec<u8>,
}

/// What is in a record is nothing that was put there.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Strange;

/// The id of a session's record.
pub(super) fn id(session: SessionId) -> Id {
    let mut bytes = b"wadi session ".to_vec();
    bytes.extend_from_slice(session.random());
    bytes.extend_from_slice(&session.issued().to_be_bytes());
    hashed(&bytes)
}

/// The id of a number's record.
pub(super) fn id_of_number(number: u32) -> Id {
    hashed(format!("wadi number {number}").as_bytes())
}

/// The id of the record that says about where to look for a number.
pub(super) fn id_of_last() -> Id {
    hashed(b"wadi last number")
}

fn hashed(bytes: &[u8]) -> Id {
    let mut half = [0; 16];
    half.copy_from_slice(&blake3::hash(bytes).as_bytes()[..16]);
    Id(i128::from_be_bytes(half))
}

/// A record that the store may forget at this second, and not before.
pub(super) fn record(id: Id, entry: &Entry, until: u64) -> Record {
    let seconds = i64::try_from(until.min(LAST_SECOND)).unwrap_or(i64::MAX);
    let value = STANDARD_NO_PAD.encode(write(entry));
    Record {
        id,
        data: [(VALUE.to_owned(), value.into())].into(),
        expiry_date: OffsetDateTime::from_unix_timestamp(seconds)
            .unwrap_or(OffsetDateTime::UNIX_EPOCH),
    }
}

pub(super) fn read(record: &Record) -> Result<Entry, Strange> {
    let value = record.data.get(VALUE).and_then(|value| value.as_str());
    let bytes = STANDARD_NO_PAD
        .decode(value.ok_or(Strange)?)
        .map_err(|_| Strange)?;
    parse(&bytes).ok_or(Strange)
}

fn write(entry: &Entry) -> Vec<u8> {
    let mut bytes = Vec::new();
    match entry {
        Entry::Row(kept) => {
            bytes.push(b'R');
            bytes.extend_from_slice(&kept.bucket.get().to_be_bytes());
            write_tenure(&mut bytes, kept.tenure);
            bytes.extend_from_slice(&kept.revision.get().to_be_bytes());
            for given in [kept.given_out, kept.given_before] {
                bytes.push(u8::from(given.is_some()));
                write_tenure(&mut bytes, given.unwrap_or(Tenure::NONE));
            }
            bytes.extend_from_slice(&kept.put_at.to_be_bytes());
            bytes.extend_from_slice(&kept.payload);
        }
        Entry::Ended => bytes.push(b'E'),
        Entry::Fence(tenure) => {
            bytes.push(b'F');
            write_tenure(&mut bytes, *tenure);
        }
        Entry::Number(number) => {
            bytes.push(b'N');
            bytes.extend_from_slice(&number.to_be_bytes());
        }
    }
    bytes
}

fn write_tenure(bytes: &mut Vec<u8>, tenure: Tenure) {
    bytes.extend_from_slice(&tenure.epoch().as_u64().to_be_bytes());
    bytes.extend_from_slice(&tenure.count().to_be_bytes());
}

fn parse(bytes: &[u8]) -> Option<Entry> {
    let (kind, mut rest) = bytes.split_first()?;
    let rest = &mut rest;
    let entry = match kind {
        b'R' => {
            let bucket = BucketId::new(u16::from_be_bytes(*part(rest)?));
            let tenure = tenure(rest)?;
            let revision = Revision::new(number(rest)?);
            let (given_out, given_before) = (given(rest)?, given(rest)?);
            let put_at = number(rest)?;
            Entry::Row(Box::new(Kept {
                bucket,
                tenure,
                revision,
                given_out,
                given_before,
                put_at,
                payload: std::mem::take(rest).to_vec(),
            }))
        }
        b'E' => Entry::Ended,
        b'F' => Entry::Fence(tenure(rest)?),
        b'N' => Entry::Number(u32::from_be_bytes(*part(rest)?)),
        _ => return None,
    };
    rest.is_empty().then_some(entry)
}

fn part<'a, const SO_MANY: usize>(rest: &mut &'a [u8]) -> Option<&'a [u8; SO_MANY]> {
    let (part, others) = rest.split_first_chunk()?;
    *rest = others;
    Some(part)
}

fn number(rest: &mut &[u8]) -> Option<u64> {
    Some(u64::from_be_bytes(*part(rest)?))
}

fn tenure(rest: &mut &[u8]) -> Option<Tenure> {
    let epoch = LayoutVersion::from_u64(number(rest)?);
    Some(Tenure::new(epoch, number(rest)?))
}

fn given(rest: &mut &[u8]) -> Option<Option<Tenure>> {
    let [flag] = *part(rest)?;
    let tenure = tenure(rest)?;
    match flag {
        0 => Some(None),
        1 => Some(Some(tenure)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn tenures() -> impl Strategy<Value = Tenure> {
        any::<(u64, u64)>()
            .prop_map(|(epoch, count)| Tenure::new(LayoutVersion::from_u64(epoch), count))
    }

    fn rows() -> impl Strategy<Value = Entry> {
        let parts = (
            any::<(u16, u64, u64, Vec<u8>)>(),
            tenures(),
            proptest::option::of(tenures()),
            proptest::option::of(tenures()),
        );
        parts.prop_map(
            |((bucket, revision, put_at, payload), tenure, given_out, given_before)| {
                Entry::Row(Box::new(Kept {
                    bucket: BucketId::new(bucket),
                    tenure,
                    revision: Revision::new(revision),
                    given_out,
                    given_before,
                    put_at,
                    payload,
                }))
            },
        )
    }

    proptest! {
        #[test]
        fn what_was_written_is_read(entry in prop_oneof![
            rows(),
            tenures().prop_map(Entry::Fence),
            any::<u32>().prop_map(Entry::Number),
            Just(Entry::Ended),
        ], until in any::<u64>()) {
            let written = record(id_of_last(), &entry, until);
            prop_assert_eq!(read(&written), Ok(entry));
        }

        #[test]
        fn no_bytes_are_too_strange_to_be_read(bytes in any::<Vec<u8>>()) {
            let _ = parse(&bytes);
        }
    }

    #[test]
    fn what_somebody_else_wrote_is_strange() {
        let mut one = record(id_of_last(), &Entry::Ended, 7);
        one.data.insert(VALUE.to_owned(), 7.into());
        assert_eq!(read(&one), Err(Strange));
        one.data.insert(VALUE.to_owned(), "?".into());
        assert_eq!(read(&one), Err(Strange));
        one.data.clear();
        assert_eq!(read(&one), Err(Strange));
    }

    #[test]
    fn a_record_has_another_id_than_its_session() {
        let session = SessionId::from_parts([9; 16], 1);
        assert_ne!(id(session).0, i128::from_be_bytes([9; 16]));
        assert_ne!(id(session), id(SessionId::from_parts([9; 16], 2)));
        assert_ne!(id_of_number(1), id_of_number(2));
    }
}
