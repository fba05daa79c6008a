//! What a node needs of a network: a few small traits.
//!
//! Whoever implements them carries messages and bytes and decides nothing; what one means, and
//! whether its sender may act, is the business of whoever stands above. This crate opens no socket.

mod calls;
mod discovery;
mod network;
mod streams;

#[cfg(feature = "test-util")]
pub mod memory;

use std::fmt;
use std::sync::Arc;

pub use calls::{Answering, Answers, Carrier, Carrying, NotCarried};
pub use discovery::{AddressList, Discovering, Discovery, NotDiscovered};
pub use network::{Connections, Network, NetworkSettings, NotOpened, Opening, Secret};
pub use streams::{Accepting, Bytestream, Dialling, NotDialled, Streams};

use crate::bucket::Layout;
use crate::member::{Founding, Incarnation};
use crate::message::Message;
use crate::proof::Proof;

/// Carries one node's messages.
///
/// A message may be lost, delayed, repeated and overtaken: whoever needs an answer asks again. It is
/// never changed, and never given to another incarnation than the one that it is for. Every method
/// is called from the node's driver and returns at once.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not carry messages between nodes",
    note = "implement `wadi_core::transport::Transport`, or use that of `wadi-transport`"
)]
pub trait Transport: fmt::Debug + Send + Sync + 'static {
    /// From now on this node is `me` in the cluster of this founding: what arrives for that goes into
    /// `inbox`, and what arrives for an earlier incarnation of it nowhere. Called once for each
    /// incarnation. Where a cluster was founded anew the numbers begin anew, so whoever is of another
    /// founding is somebody else, whatever its number.
    fn listen(&self, me: Incarnation, of: Founding, inbox: Arc<dyn Inbox>);

    /// These are the members now, with their addresses: whom messages may go to and come from.
    /// Called with each layout, in order.
    fn members(&self, layout: &Arc<Layout>);

    /// Sends `message` to `to`, who is another node. Whether it was taken: `false` when it cannot be
    /// carried now, because the way there has too many already or there is none, and is dropped. Who
    /// has much to send then waits a while. Taken does not mean that it arrives. It need not be on its
    /// way before [`Transport::flush`].
    fn send(&self, to: Incarnation, message: Message) -> bool;

    /// Whether there is a connection to this member now, as far as is known: who is gone may still seem
    /// to be there for a while.
    fn is_connected(&self, to: Incarnation) -> bool;

    /// Nothing more is sent for now: what was taken goes on its way. Returns at once.
    fn flush(&self) {}
}

/// Where the messages for one incarnation go.
pub trait Inbox: fmt::Debug + Send + Sync + 'static {
    /// Takes a message that arrived from `from`, whom the transport has proven to be that. Returns at once.
    ///
    /// # Errors
    ///
    /// The message, when there is no room for it, or nobody any more.
    fn arrived(&self, from: Incarnation, message: Message) -> Result<(), Message>;

    /// The transport has this proof that the process of this member has ended: see
    /// [`Evidence`](crate::proof::Evidence). Told again for as long as it is among the members.
    /// Returns at once; whoever has no use for it does nothing.
    fn died(&self, who: Incarnation, proof: Proof);
}
