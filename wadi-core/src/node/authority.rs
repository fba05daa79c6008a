//! Where members, leases and layouts are agreed, as a node sees it.
//!
//! A node asks, and asks again; it never takes silence for an answer.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

use crate::authority::{Answer, Command};
use crate::bucket::{Layout, LayoutVersion};

/// What an authority answers, some time.
pub type Answering<'a, T> = Pin<Box<dyn Future<Output = Result<T, Unreachable>> + Send + 'a>>;

/// Nobody answered. Whether what was asked for has happened is unknown; ask again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the authority did not answer; whether it did what was asked is unknown")]
pub struct Unreachable;

/// One linearizable register of members, leases and layouts.
///
/// Both methods are called from the node's tasks, which bound the time that they wait and may give
/// a call up at any moment: then it may or may not have happened. A command may be given twice.
#[diagnostic::on_unimplemented(
    message = "`{Self}` agrees on no members and layouts",
    note = "use `wadi_core::node::InProcess` where the whole cluster is one process"
)]
pub trait Authority: fmt::Debug + Send + Sync + 'static {
    /// Has `command` agreed and carried out, and answers from the agreed state. A renewal counts
    /// from when the authority received it, and is answered only once it is agreed.
    fn command(&self, command: Command) -> Answering<'_, Answer>;

    /// Answers with an agreed layout above `known`, as soon as there is one; `None` is below all.
    /// It may be an older one than the latest, but not for long.
    fn layout_after(&self, known: Option<LayoutVersion>) -> Answering<'_, Arc<Layout>>;
}
