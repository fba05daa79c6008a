//! What a node does that cannot reach those who agree.

use std::fmt;
use std::str::FromStr;

/// What a node does that cannot reach those who agree for longer than a lease. Where it is proven that
/// most of them are dead, it goes on either way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum OnQuorumLoss {
    /// It serves nothing until it reaches them again, or it is certain that they are gone.
    #[default]
    Strict,
    /// It goes on with whom it reaches, though others may do the same. Where they meet, the lower of the
    /// two clusters dissolves, and its nodes offer the other what they have.
    Available,
}

impl OnQuorumLoss {
    /// As it is written: `strict` or `available`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Strict => "strict",
            Self::Available => "available",
        }
    }
}

impl fmt::Display for OnQuorumLoss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Neither `strict` nor `available`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is strict or available")]
pub struct NotOnQuorumLoss;

impl FromStr for OnQuorumLoss {
    type Err = NotOnQuorumLoss;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let all = [Self::Strict, Self::Available];
        let it = all.into_iter().find(|one| one.as_str() == text);
        it.ok_or(NotOnQuorumLoss)
    }
}
