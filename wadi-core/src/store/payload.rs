//! What a store keeps of a session beside its numbers: bytes that say themselves whether they are whole, and
//! whose they are.

use bytes::Bytes;

use crate::session::SessionId;

/// The bytes did not come back as they were put.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a session's row is damaged, or was written by something else")]
pub struct Damaged;

/// The form of the bytes; another one is another number.
const FORM: u8 = 1;
const SUM_BYTES: usize = 8;
const ID_BYTES: usize = 20;
/// The form and the sum; then the id and the state, of which the sum is.
const HEAD_BYTES: usize = 1 + SUM_BYTES;
const STATE_AT: usize = HEAD_BYTES + ID_BYTES;

/// A session's state, sealed for a store. Never written for people: it has the session's values.
#[derive(Clone, PartialEq, Eq)]
pub struct Payload(Bytes);

impl Payload {
    /// Seals the state of this session.
    #[must_use]
    pub fn seal(id: SessionId, state: &[u8]) -> Self {
        let mut bytes = Vec::with_capacity(STATE_AT + state.len());
        bytes.push(FORM);
        bytes.extend_from_slice(&[0; SUM_BYTES]);
        bytes.extend_from_slice(id.random());
        bytes.extend_from_slice(&id.issued().to_be_bytes());
        bytes.extend_from_slice(state);
        let sum = sum(&bytes[HEAD_BYTES..]);
        bytes[1..HEAD_BYTES].copy_from_slice(&sum);
        Self(bytes.into())
    }

    /// What a store has.
    ///
    /// # Errors
    ///
    /// [`Damaged`]; whoever reads it so gives it to nobody, and deletes it not.
    pub fn read(bytes: impl Into<Bytes>) -> Result<Self, Damaged> {
        let bytes = bytes.into();
        let (head, summed) = bytes.split_first_chunk::<HEAD_BYTES>().ok_or(Damaged)?;
        if summed.len() >= ID_BYTES && head[0] == FORM && head[1..] == sum(summed) {
            Ok(Self(bytes))
        } else {
            Err(Damaged)
        }
    }

    /// The bytes to keep.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether this session's state was sealed. A store that has its rows mixed up has another's.
    #[must_use]
    pub fn is_of(&self, id: SessionId) -> bool {
        let (random, issued) = self.0[HEAD_BYTES..STATE_AT].split_at(16);
        random == id.random() && issued == id.issued().to_be_bytes()
    }

    /// The state.
    #[must_use]
    pub fn state(&self) -> &[u8] {
        &self.0[STATE_AT..]
    }
}

/// Tells what broke by itself from what is whole. It keeps nobody out who can write to the store.
fn sum(of: &[u8]) -> [u8; SUM_BYTES] {
    let mut sum = [0; SUM_BYTES];
    sum.copy_from_slice(&blake3::hash(of).as_bytes()[..SUM_BYTES]);
    sum
}

impl std::fmt::Debug for Payload {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Payload({} bytes)", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_changed_anywhere_is_damaged() {
        let id = SessionId::from_parts([3; 16], 7);
        let payload = Payload::seal(id, b"a session");
        assert!(payload.is_of(id));
        assert!(!payload.is_of(SessionId::from_parts([3; 16], 8)));
        assert!(!payload.is_of(SessionId::from_parts([4; 16], 7)));
        let whole = payload.as_bytes().to_vec();
        assert_eq!(
            Payload::read(whole.clone()).map(|it| it.state().to_vec()),
            Ok(b"a session".to_vec())
        );
        for at in 0..whole.len() {
            let mut broken = whole.clone();
            broken[at] ^= 1;
            assert_eq!(Payload::read(broken), Err(Damaged), "{at}");
            assert_eq!(
                Payload::read(whole[..at].to_vec()),
                Err(Damaged),
                "cut at {at}"
            );
        }
    }
}
