//! How rows lie on disc: keys in the order in which they are listed, numbers most significant byte first.
//!
//! Whatever makes something else of what lies there already is another form, and needs another number in the
//! marker file.

use wadi_core::bucket::{BucketId, LayoutVersion};
use wadi_core::session::SessionId;
use wadi_core::tenure::{Revision, Tenure};

use super::time::{Anchor, Stamp};

pub(super) const ID_BYTES: usize = 20;
const PLACE_BYTES: usize = 2 + ID_BYTES;
const DUE_BYTES: usize = 2 + 8 + ID_BYTES;
const FORGET_BYTES: usize = 8 + ID_BYTES;
const COUNTED_MOST: u64 = 1 << 62;
const TENURE_BYTES: usize = 16;
/// Of a row that was never given out by two epochs; of one that was, a tenure more.
const HEAD_BYTES: usize = TENURE_BYTES + 8 + 1 + TENURE_BYTES + 8 + 8;

/// What is known of a row beside its payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Numbers {
    pub(super) tenure: Tenure,
    pub(super) revision: Revision,
    pub(super) given_out: Option<Tenure>,
    /// Of an earlier epoch than the one that has it now.
    pub(super) given_before: Option<Tenure>,
    pub(super) put_at: Stamp,
    pub(super) ends: Stamp,
}

/// What is known of the whole store; written with every change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct State {
    /// How many changes there were, this one included.
    pub(super) changes: u64,
    /// How many rows there are.
    pub(super) rows: u64,
    pub(super) anchor: Anchor,
}

pub(super) fn id(id: SessionId) -> [u8; ID_BYTES] {
    let mut bytes = [0; ID_BYTES];
    bytes[..16].copy_from_slice(id.random());
    bytes[16..].copy_from_slice(&id.issued().to_be_bytes());
    bytes
}

pub(super) fn read_id(bytes: &[u8]) -> Option<SessionId> {
    let (random, issued) = bytes.split_first_chunk::<16>()?;
    Some(SessionId::from_parts(
        *random,
        u32::from_be_bytes(issued.try_into().ok()?),
    ))
}

/// A row's place in the list by bucket.
pub(super) fn place(bucket: BucketId, session: SessionId) -> [u8; PLACE_BYTES] {
    let mut key = [0; PLACE_BYTES];
    key[..2].copy_from_slice(&bucket.get().to_be_bytes());
    key[2..].copy_from_slice(&id(session));
    key
}

pub(super) fn read_place(key: &[u8]) -> Option<(BucketId, SessionId)> {
    let (bucket, rest) = key.split_first_chunk::<2>()?;
    Some((BucketId::new(u16::from_be_bytes(*bucket)), read_id(rest)?))
}

/// A row's place in the list of what runs out, bucket by bucket.
pub(super) fn due(bucket: BucketId, ends: Stamp, session: SessionId) -> [u8; DUE_BYTES] {
    let mut key = [0; DUE_BYTES];
    key[..2].copy_from_slice(&bucket.get().to_be_bytes());
    key[2..10].copy_from_slice(&ends.0.to_be_bytes());
    key[10..].copy_from_slice(&id(session));
    key
}

pub(super) fn read_due(key: &[u8]) -> Option<(BucketId, Stamp, SessionId)> {
    let (bucket, rest) = key.split_first_chunk::<2>()?;
    let (ends, rest) = rest.split_first_chunk::<8>()?;
    Some((
        BucketId::new(u16::from_be_bytes(*bucket)),
        Stamp(u64::from_be_bytes(*ends)),
        read_id(rest)?,
    ))
}

/// When the end of a session is to be forgotten.
pub(super) fn forget(until: Stamp, session: SessionId) -> [u8; FORGET_BYTES] {
    let mut key = [0; FORGET_BYTES];
    key[..8].copy_from_slice(&until.0.to_be_bytes());
    key[8..].copy_from_slice(&id(session));
    key
}

pub(super) fn read_forget(key: &[u8]) -> Option<(Stamp, SessionId)> {
    let (until, rest) = key.split_first_chunk::<8>()?;
    Some((Stamp(u64::from_be_bytes(*until)), read_id(rest)?))
}

/// Until when a session's end is remembered; with a tenure, until when nothing is put under a lower one.
pub(super) fn ended(until: Stamp, under: Option<Tenure>) -> Vec<u8> {
    let mut bytes = until.0.to_be_bytes().to_vec();
    if let Some(under) = under {
        write_tenure(&mut bytes, under);
    }
    bytes
}

pub(super) fn read_ended(bytes: &[u8]) -> Option<(Stamp, Option<Tenure>)> {
    let mut reader = Reader(bytes);
    let until = Stamp(reader.number()?);
    let has_ended = reader.0.is_empty();
    let under = if has_ended {
        None
    } else {
        Some(reader.tenure()?)
    };
    reader.rest().is_empty().then_some((until, under))
}

/// A payload with the bucket in front, so that who has only an id finds the rest.
pub(super) fn body(bucket: BucketId, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(2 + payload.len());
    bytes.extend_from_slice(&bucket.get().to_be_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

pub(super) fn read_body(bytes: &[u8]) -> Option<(BucketId, &[u8])> {
    let (bucket, payload) = bytes.split_first_chunk::<2>()?;
    Some((BucketId::new(u16::from_be_bytes(*bucket)), payload))
}

fn write_tenure(bytes: &mut Vec<u8>, tenure: Tenure) {
    bytes.extend_from_slice(&tenure.epoch().as_u64().to_be_bytes());
    bytes.extend_from_slice(&tenure.count().to_be_bytes());
}

/// Takes numbers from the front of some bytes.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn byte(&mut self) -> Option<u8> {
        let (byte, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*byte)
    }

    fn number(&mut self) -> Option<u64> {
        let (number, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u64::from_be_bytes(*number))
    }

    fn tenure(&mut self) -> Option<Tenure> {
        let epoch = LayoutVersion::from_u64(self.number()?);
        Some(Tenure::new(epoch, self.number()?))
    }

    fn rest(self) -> &'a [u8] {
        self.0
    }
}

pub(super) fn numbers(numbers: &Numbers) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEAD_BYTES + TENURE_BYTES);
    write_tenure(&mut bytes, numbers.tenure);
    bytes.extend_from_slice(&numbers.revision.get().to_be_bytes());
    // How many tenures of giving out there are; nobody had it before who has it not.
    bytes.push(u8::from(numbers.given_out.is_some()) + u8::from(numbers.given_before.is_some()));
    write_tenure(&mut bytes, numbers.given_out.unwrap_or(Tenure::NONE));
    bytes.extend_from_slice(&numbers.put_at.0.to_be_bytes());
    bytes.extend_from_slice(&numbers.ends.0.to_be_bytes());
    if let Some(before) = numbers.given_before {
        write_tenure(&mut bytes, before);
    }
    bytes
}

pub(super) fn read_numbers(bytes: &[u8]) -> Option<Numbers> {
    let mut reader = Reader(bytes);
    let tenure = reader.tenure()?;
    let revision = Revision::new(reader.number()?);
    let tenures = reader.byte()?;
    let under = reader.tenure()?;
    let (put_at, ends) = (Stamp(reader.number()?), Stamp(reader.number()?));
    let (given_out, given_before) = match tenures {
        0 if under == Tenure::NONE => (None, None),
        1 => (Some(under), None),
        2 => (Some(under), Some(reader.tenure()?)),
        _ => return None,
    };
    reader.rest().is_empty().then_some(Numbers {
        tenure,
        revision,
        given_out,
        given_before,
        put_at,
        ends,
    })
}

pub(super) fn state(state: &State) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(96);
    bytes.extend_from_slice(&state.changes.to_be_bytes());
    bytes.extend_from_slice(&state.rows.to_be_bytes());
    bytes.extend_from_slice(&state.anchor.stamp.0.to_be_bytes());
    bytes.extend_from_slice(&state.anchor.moment.to_be_bytes());
    bytes.extend_from_slice(&u64::from(state.anchor.unix_seconds).to_be_bytes());
    bytes.extend_from_slice(state.anchor.boot.as_deref().unwrap_or_default().as_bytes());
    bytes
}

pub(super) fn read_state(bytes: &[u8]) -> Option<State> {
    let mut reader = Reader(bytes);
    let changes = reader.number()?;
    let rows = reader.number()?;
    let stamp = Stamp(reader.number()?);
    let moment = reader.number()?;
    let unix_seconds = u32::try_from(reader.number()?).ok()?;
    let boot = std::str::from_utf8(reader.rest()).ok()?;
    let anchor = Anchor {
        stamp,
        boot: (!boot.is_empty()).then(|| boot.to_owned()),
        moment,
        unix_seconds,
    };
    // One more each time for longer than anything lasts: what says more was never counted.
    (changes < COUNTED_MOST && rows < COUNTED_MOST).then_some(State {
        changes,
        rows,
        anchor,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn tenure() -> impl Strategy<Value = Tenure> {
        (any::<u64>(), any::<u64>())
            .prop_map(|(epoch, count)| Tenure::new(LayoutVersion::from_u64(epoch), count))
    }

    fn session() -> impl Strategy<Value = SessionId> {
        (any::<[u8; 16]>(), any::<u32>())
            .prop_map(|(random, issued)| SessionId::from_parts(random, issued))
    }

    proptest! {
        #[test]
        fn numbers_come_back(
            (tenure, given_out) in (tenure(), proptest::option::of(tenure())),
            before in proptest::option::of(tenure()),
            (revision, put_at, ends) in any::<(u64, u64, u64)>(),
        ) {
            let written = Numbers {
                tenure, given_out,
                given_before: given_out.and(before),
                revision: Revision::new(revision),
                put_at: Stamp(put_at), ends: Stamp(ends),
            };
            let bytes = numbers(&written);
            let more = usize::from(written.given_before.is_some()) * TENURE_BYTES;
            prop_assert_eq!(bytes.len(), HEAD_BYTES + more);
            prop_assert_eq!(read_numbers(&bytes), Some(written));
            prop_assert_eq!(read_numbers(&bytes[1..]), None);
            prop_assert_eq!(read_numbers(&bytes[..bytes.len() - 1]), None);
            let bytes = ended(written.ends, given_out);
            prop_assert_eq!(read_ended(&bytes), Some((written.ends, given_out)));
            prop_assert_eq!(read_ended(&bytes[1..]), None);
        }

        #[test]
        fn keys_are_in_the_order_of_what_they_say(
            a in (any::<u16>(), any::<u64>(), session()),
            b in (any::<u16>(), any::<u64>(), session()),
        ) {
            let of = |(bucket, ends, session): (u16, u64, SessionId)| {
                (BucketId::new(bucket), Stamp(ends), session)
            };
            let (a, b) = (of(a), of(b));
            prop_assert_eq!((a.0, a.2).cmp(&(b.0, b.2)), place(a.0, a.2).cmp(&place(b.0, b.2)));
            prop_assert_eq!(a.cmp(&b), due(a.0, a.1, a.2).cmp(&due(b.0, b.1, b.2)));
            prop_assert_eq!((a.1, a.2).cmp(&(b.1, b.2)), forget(a.1, a.2).cmp(&forget(b.1, b.2)));
            prop_assert_eq!(read_place(&place(a.0, a.2)), Some((a.0, a.2)));
            prop_assert_eq!(read_due(&due(a.0, a.1, a.2)), Some(a));
            prop_assert_eq!(read_forget(&forget(a.1, a.2)), Some((a.1, a.2)));
        }
    }

    #[test]
    fn the_state_comes_back() {
        for boot in [None, Some("0f1a".to_owned())] {
            let written = State {
                changes: 7,
                rows: 3,
                anchor: Anchor {
                    stamp: Stamp(9),
                    boot,
                    moment: 8,
                    unix_seconds: 5,
                },
            };
            assert_eq!(read_state(&state(&written)), Some(written));
        }
    }
}
