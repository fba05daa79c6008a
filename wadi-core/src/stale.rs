//! What becomes of copies that serve nobody, where no other one serves: a policy chooses among them.
//!
//! It chooses only; that two never serve at once, and that what may be older waits for what may come
//! back, is the protocol's, whatever is chosen.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::tenure::{Revision, Tenure};

/// Chooses which copy of a session serves again, where none serves.
///
/// It is asked by the session's manager, when whoever may have a newer copy has answered, or has been
/// waited for long enough. A copy that serves is never replaced by one that does not: the loser's node drops
/// it, and tells so, without this being asked. It may be asked more than once about the same copies, on the
/// task that serves everybody, so it returns at once.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no policy for stale copies",
    note = "implement `wadi_core::stale::StalePolicy`, or use `TakeLatest` or `TakeNothingBack`"
)]
pub trait StalePolicy: fmt::Debug + Send + Sync + 'static {
    /// The place in `copies`, which are never none, of the one that serves from now on; the others are
    /// dropped, each with an event. `None`, or a place that there is not: all of them are, and the session
    /// is lost.
    fn choose(&self, copies: &[StaleCopy]) -> Option<usize>;

    /// Whether a session whose node may come back with it is waited for at all, and answered 503
    /// meanwhile. Where nothing that comes back is ever chosen, it is lost at once instead.
    fn waits(&self) -> bool {
        true
    }
}

/// One of the copies among which is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StaleCopy {
    /// Where it comes from.
    pub source: Source,
    /// The tenure under which it last served: the higher, the later.
    pub tenure: Tenure,
    /// How many commits it has seen; among copies of one tenure the higher is the later.
    pub revision: Revision,
    /// For how long it has served nobody, at least, by its node's clock; `None` where that is not known.
    pub away_for: Option<Duration>,
    /// Whether it is proven that nothing was written since. Else a later one may be gone for good.
    pub is_latest: bool,
}

/// Where a copy comes from that serves nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Source {
    /// It was sealed to move, and stayed when the move came to nothing.
    Sealed,
    /// It came back with a node that the cluster had declared dead, or was kept for one that left.
    Returned,
    /// It is in the store below all nodes.
    Stored,
}

/// The copy of the highest tenure serves, and among those of one tenure the one of the highest revision.
/// The default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TakeLatest;

impl StalePolicy for TakeLatest {
    fn choose(&self, copies: &[StaleCopy]) -> Option<usize> {
        let places = copies.iter().enumerate();
        let latest = places.max_by_key(|(_, copy)| (copy.tenure, copy.revision));
        latest.map(|(place, _)| place)
    }
}

/// What comes back is never taken: a session whose node was declared dead is lost at once, whoever comes
/// back with it. Of copies that never left, as where a move came to nothing or a session is in the store, the
/// latest serves; but what the store has of a session that served elsewhere since does not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TakeNothingBack;

impl StalePolicy for TakeNothingBack {
    fn choose(&self, copies: &[StaleCopy]) -> Option<usize> {
        let places = copies.iter().enumerate();
        let stayed = places.filter(|(_, copy)| match copy.source {
            Source::Sealed => true,
            Source::Returned => false,
            Source::Stored => copy.is_latest,
        });
        let latest = stayed.max_by_key(|(_, copy)| (copy.tenure, copy.revision));
        latest.map(|(place, _)| place)
    }

    fn waits(&self) -> bool {
        false
    }
}

/// A policy as the protocol's settings carry it. It has no part in whether two settings are the same.
#[derive(Clone)]
pub struct Chosen(Arc<dyn StalePolicy>);

impl Chosen {
    /// This policy.
    #[must_use]
    pub fn new(policy: Arc<dyn StalePolicy>) -> Self {
        Self(policy)
    }

    /// The policy.
    #[must_use]
    pub fn policy(&self) -> &dyn StalePolicy {
        &*self.0
    }
}

impl Default for Chosen {
    fn default() -> Self {
        Self(Arc::new(TakeLatest))
    }
}

impl fmt::Debug for Chosen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl PartialEq for Chosen {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Chosen {}

impl std::hash::Hash for Chosen {
    fn hash<H: std::hash::Hasher>(&self, _: &mut H) {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bucket::LayoutVersion;

    fn copy(source: Source, count: u64, revision: u64, is_latest: bool) -> StaleCopy {
        StaleCopy {
            source,
            tenure: Tenure::new(LayoutVersion::from_u64(1), count),
            revision: Revision::new(revision),
            away_for: None,
            is_latest,
        }
    }

    #[test]
    fn the_latest_is_of_the_highest_tenure_and_then_revision() {
        let copies = [
            copy(Source::Returned, 1, 9, false),
            copy(Source::Sealed, 2, 1, false),
            copy(Source::Returned, 2, 3, false),
        ];
        assert_eq!(TakeLatest.choose(&copies), Some(2));
        assert!(TakeLatest.waits());
    }

    #[test]
    fn nothing_that_came_back_is_taken() {
        let came_back = copy(Source::Returned, 3, 0, true);
        assert_eq!(TakeNothingBack.choose(&[came_back]), None);
        let [older, later] = [1, 2].map(|count| copy(Source::Sealed, count, 0, false));
        assert_eq!(TakeNothingBack.choose(&[older, came_back, later]), Some(2));
        assert!(!TakeNothingBack.waits());
    }
}
