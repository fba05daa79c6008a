//! Opening a node's network.

use std::fmt;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;

use super::{AddressList, Carrier, Discovery, Streams, Transport};
use crate::bucket::BucketCount;
use crate::lease::LeaseGate;
use crate::member::{NodeName, Place};

/// The future of [`Network::open`].
pub type Opening<'a> = Pin<Box<dyn Future<Output = Result<Connections, NotOpened>> + Send + 'a>>;

/// A network that a node has not opened yet.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no network between nodes",
    note = "use `wadi_transport::Tcp`"
)]
pub trait Network: fmt::Debug + Send + Sync + 'static {
    /// Listens for other nodes, and can dial them from then on. Cancelled, nothing is left open.
    fn open(&self, settings: NetworkSettings) -> Opening<'_>;

    /// The nodes behind these names, each with a port. Where names are not looked up, they are taken
    /// for addresses.
    fn behind(&self, names: Vec<String>) -> Arc<dyn Discovery> {
        Arc::new(AddressList::new(names))
    }
}

/// What a node tells its network.
#[derive(Clone, Debug)]
pub struct NetworkSettings {
    /// The cluster's name; nodes of others are refused.
    pub cluster: String,
    /// The number of buckets, part of the cluster's identity.
    pub buckets: BucketCount,
    /// The node's name.
    pub node: NodeName,
    /// Where it listens; port 0 picks a free one.
    pub bind: SocketAddr,
    /// Where others reach it, as host and port; `None`: where it listens.
    pub advertise: Option<String>,
    /// The cluster's secrets; the first is used, all are accepted. None: only loopback will do.
    pub secrets: Vec<Secret>,
    /// Revoked before the node stops listening, however that comes: to others, a node that does not listen
    /// has ended. `None`: nobody acts by what is agreed over this network.
    pub gate: Option<Arc<LeaseGate>>,
}

/// A secret of the cluster for its network, never shown.
#[derive(Clone)]
pub struct Secret(pub [u8; 32]);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// An open network. Dropping all of it closes it.
#[derive(Clone, Debug)]
pub struct Connections {
    /// Where others reach this node.
    pub address: String,
    /// Where this node listens at exactly that address, which is then a literal one; `None` where others
    /// may reach it by way of something else, or that is not known.
    pub place: Option<Place>,
    /// Carries its messages.
    pub transport: Arc<dyn Transport>,
    /// Carries its questions.
    pub carrier: Arc<dyn Carrier>,
    /// Its raw streams.
    pub streams: Arc<dyn Streams>,
}

/// The network cannot be opened. Nothing is left open.
#[derive(Debug, thiserror::Error)]
#[error("the network between nodes cannot be opened: {0}")]
pub struct NotOpened(#[source] pub Box<dyn std::error::Error + Send + Sync>);
