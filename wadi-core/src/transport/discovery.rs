//! Where other nodes may be found: a list of addresses, or whatever knows one.
//!
//! It decides nothing: who is found there is asked what it is, and who founds with whom follows from
//! the whole list. So a list that is too short would be believed, and it is better to fail.

use std::fmt;
use std::pin::Pin;

/// The future of a [`Discovery`].
pub type Discovering<'a> =
    Pin<Box<dyn Future<Output = Result<Vec<String>, NotDiscovered>> + Send + 'a>>;

/// Knows where nodes of the cluster may be.
///
/// Asked when a node starts, when it comes back as somebody new, and again after a pause for as long
/// as it finds nobody. Order and repetition mean nothing, and this node's own address is expected to
/// be among them, exactly as it advertises it: a node that is not on its own list never founds.
///
/// Whoever looks a name up (DNS) fails where the name gives no address, and is used together with
/// the number of nodes that found together: what a name gives may be a part of them only.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not know where other nodes are",
    note = "use `wadi_core::transport::AddressList`"
)]
pub trait Discovery: fmt::Debug + Send + Sync + 'static {
    /// The addresses, as host and port. None at all means that there is no other node and no list:
    /// the node may found alone. Safe to drop.
    fn addresses(&self) -> Discovering<'_>;
}

/// The addresses are not known now; ask again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the addresses of other nodes are not known: {0}")]
pub struct NotDiscovered(pub String);

/// Addresses that were written down.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AddressList(Vec<String>);

impl AddressList {
    /// These addresses.
    #[must_use]
    pub fn new(addresses: impl IntoIterator<Item = String>) -> Self {
        Self(addresses.into_iter().collect())
    }

    /// No list: the node founds alone.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }
}

impl Discovery for AddressList {
    fn addresses(&self) -> Discovering<'_> {
        Box::pin(async { Ok(self.0.clone()) })
    }
}
