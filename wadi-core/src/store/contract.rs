//! What a store promises.

use std::fmt;
use std::pin::Pin;
use std::time::Duration;

use super::error::StoreError;
use super::row::{Claim, Ended, Head, Page, Put, Row, Took};
use crate::session::SessionId;

/// The future of a store's answer.
pub type Storing<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

/// For how long a store remembers under which tenure it said [`Took::Nothing`]: far longer than a row that was
/// sent before that is still on its way.
pub const FENCED_FOR: Duration = Duration::from_secs(600);

/// Keeps sessions that are in nobody's memory.
///
/// Of each session it has one row, ordered by (tenure, revision), or the memory that it has ended. All
/// comparisons are made where the row is, in the step that writes it: between two calls anybody may have
/// written. Times are counted by one clock, the store's own, that all who use the store share.
///
/// What a call has done stands when its answer is there, also when the process is killed at once; when
/// the machine stops, it stands where the store says so. A call that was dropped, or that failed as
/// [`StoreError::Unavailable`], may have been done; each may be made again, with the same outcome, but for
/// taking one's own row: whose answer is not awaited is gone with it.
/// Calls come from any task, also at once.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no store for sessions",
    note = "implement `wadi_core::store::SessionStore`, and run `wadi_core::store::conformance` on it"
)]
pub trait SessionStore: fmt::Debug + Send + Sync + 'static {
    /// Puts these rows, each by itself, and says of each in its order what became of it. A row is refused
    /// where the store's is newer in (tenure, revision), was given out under a later tenure, where the
    /// session has ended, or where the store has said under a later tenure that there is none. One that is as
    /// new replaces the store's: it was put again, or comes back unchanged. One that is stored is not given
    /// out any more, and was never: to nobody, in no epoch.
    fn put(&self, rows: Vec<Row>) -> Storing<'_, Vec<Put>>;

    /// Takes a session to serve it. With [`Claim::Own`] its row goes in the same step. With
    /// [`Claim::Granted`] the row stays, and from then on nothing is given out, nor put, under a lower
    /// tenure; the same one may take it again. Under which tenure an earlier epoch had it last, the store says
    /// with it, as of the step that gives it out ([`Kept::given_out`](super::Kept::given_out)). So it remembers two
    /// tenures with a row: the last one under which it was given out, and the last one of an earlier epoch than that.
    ///
    /// Where there is nothing, a tenure that was granted fences: for [`FENCED_FOR`] nothing is put under a
    /// lower one, nor under one lower than those that fenced before, so that no late row of a manager who was
    /// deposed brings back what was said to be absent. A row under that tenure or a later one is stored, and
    /// the fence is gone. It is not listed and not counted, and goes in time, some at a time. [`Claim::Own`]
    /// leaves nothing behind.
    ///
    /// What is damaged is not given out, and stays as it is: [`StoreError::Damaged`].
    fn take(&self, id: SessionId, claim: Claim) -> Storing<'_, Took>;

    /// These have ended: their rows go, and none is put again for as long as that is to be remembered.
    fn end(&self, ended: Vec<Ended>) -> Storing<'_, ()>;

    /// A number above `after`, and above every number that this store has said before, to anybody: it is kept in
    /// the step that says it, so no two are told the same. Nothing below it is said again, also where its answer was lost.
    ///
    /// Who founds a cluster takes its generation from here, so that its tenures are above those of every
    /// row that clusters before it have left. `u32::MAX` is never said: [`StoreError::Full`], and nothing changed.
    fn begin(&self, after: u32) -> Storing<'_, u32>;

    /// Lists what there is, in order: fewer than `most` only at the end. What has ended is not listed.
    fn page(&self, page: Page) -> Storing<'_, Vec<Head>>;

    /// Whether a session that was asked for with [`Claim::Own`] and not given, for whatever reason, is still
    /// there; so that nobody need ask twice. A store that others than this process may have done something for,
    /// without its hearing of it, cannot say so.
    fn takes_for_certain(&self) -> bool {
        false
    }

    /// About how many rows there are, where that costs nothing to say; for people.
    fn rows(&self) -> Option<u64> {
        None
    }

    /// Whether several nodes that use this store have the same rows by it: only such a store may be below a
    /// cluster. What a node has to itself, as on its own disc, the others would not find. So unless a store
    /// says otherwise it is one node's alone.
    fn is_shared(&self) -> bool {
        false
    }
}

/// The same store, of which somebody else has a hold too.
impl<S: SessionStore + ?Sized> SessionStore for std::sync::Arc<S> {
    fn put(&self, rows: Vec<Row>) -> Storing<'_, Vec<Put>> {
        (**self).put(rows)
    }

    fn take(&self, id: SessionId, claim: Claim) -> Storing<'_, Took> {
        (**self).take(id, claim)
    }

    fn end(&self, ended: Vec<Ended>) -> Storing<'_, ()> {
        (**self).end(ended)
    }

    fn begin(&self, after: u32) -> Storing<'_, u32> {
        (**self).begin(after)
    }

    fn page(&self, page: Page) -> Storing<'_, Vec<Head>> {
        (**self).page(page)
    }

    fn takes_for_certain(&self) -> bool {
        (**self).takes_for_certain()
    }

    fn rows(&self) -> Option<u64> {
        (**self).rows()
    }

    fn is_shared(&self) -> bool {
        (**self).is_shared()
    }
}
