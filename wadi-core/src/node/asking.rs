//! What the store below all nodes is asked, as it goes to whoever has it done and as its outcome comes back.
//! Plain values.

use crate::clock::Moment;
use crate::protocol::{Stored, ToStore};
use crate::session::SessionId;
use crate::tenure::Tenure;

/// What kind of thing the store is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Put,
    Take,
    End,
}

impl Kind {
    pub(super) const fn of(ask: &ToStore) -> Self {
        match ask {
            ToStore::Put { .. } => Self::Put,
            ToStore::Take => Self::Take,
            ToStore::End { .. } => Self::End,
        }
    }

    /// What became of it where it was not begun.
    pub(super) const fn untried(self) -> Stored {
        match self {
            Self::Put => Stored::Refused,
            Self::Take | Self::End => Stored::Unknown,
        }
    }
}

/// One thing that the store is asked; asked again meanwhile it is the same.
pub(super) type Key = (SessionId, Tenure, Kind);

/// The same, with all that it takes.
pub(super) struct Asking {
    pub(super) id: SessionId,
    pub(super) tenure: Tenure,
    pub(super) ask: ToStore,
    /// When it is over, where it is not begun.
    pub(super) until: Moment,
}

impl Asking {
    pub(super) const fn key(&self) -> Key {
        (self.id, self.tenure, Kind::of(&self.ask))
    }
}
