//! The last frame of a connection for messages, from whoever takes them: why it ends.
//!
//! Spoken from version 2 on; a node of version 1 merely closes. It says nothing that anybody may
//! decide upon: it is for logs, so that what ended in good order is not taken for a fault.

use std::fmt;

use bytes::Bytes;

/// The version from which on it is said.
pub(crate) const SINCE: u16 = 2;

/// The longest frame that a later version may make of it.
pub(crate) const LIMIT: usize = 64;

/// Why the other side ended a connection for messages, in its own words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Farewell {
    /// It shuts down.
    Closing,
    /// Its membership changed, so it wants to be dialled, and to be introduced, anew.
    Reintroduced,
    /// It could not understand what it was sent.
    NotUnderstood,
    /// It heard nothing for as long as silence may last.
    Silent,
    /// Something that this version does not know.
    Unknown,
}

impl Farewell {
    const KNOWN: [Self; 4] = [
        Self::Closing,
        Self::Reintroduced,
        Self::NotUnderstood,
        Self::Silent,
    ];

    /// Its frame's body: one byte.
    pub(crate) fn encode(self) -> Bytes {
        let place = Self::KNOWN.iter().position(|known| *known == self);
        let code = place.map_or(u8::MAX, |place| place as u8 + 1);
        vec![code].into()
    }

    /// From a frame's body that is not empty. A later version may say more behind the first byte.
    pub(crate) fn decode(body: &[u8]) -> Self {
        let code = body.first().copied().unwrap_or_default();
        let place = usize::from(code).wrapping_sub(1);
        Self::KNOWN.get(place).copied().unwrap_or(Self::Unknown)
    }
}

impl fmt::Display for Farewell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Closing => "it shuts down",
            Self::Reintroduced => "its membership changed",
            Self::NotUnderstood => "it did not understand what it was sent",
            Self::Silent => "it heard nothing for too long",
            Self::Unknown => "it gives a reason that this version does not know",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_farewell_is_understood_and_a_later_one_does_no_harm() {
        for farewell in Farewell::KNOWN {
            assert_eq!(Farewell::decode(&farewell.encode()), farewell);
        }
        let unknown = Farewell::decode(&[77, 1, 2]);
        assert_eq!(unknown, Farewell::Unknown);
        assert_eq!(Farewell::decode(&unknown.encode()), unknown);
        assert_eq!(Farewell::decode(&[]), Farewell::Unknown);
    }
}
