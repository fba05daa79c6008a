//! Starting a node of a cluster: its network is opened, then it joins, for as long as it takes.

use std::sync::Arc;

use wadi_core::member::NodeName;
use wadi_core::transport::{NetworkSettings, NotOpened, Secret};

use super::Cluster;
use super::listen::Log;
use crate::config::WadiConfig;

/// A node of a cluster could not be started. Nothing is left open.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JoinError {
    /// `cluster` is configured, and the layer was given no network.
    #[error(
        "cluster is configured, and this layer has no network: make it with \
         `WadiLayer::with_network(config, wadi_transport::Tcp::default())`"
    )]
    NoNetwork,
    /// The network cannot be opened.
    #[error(transparent)]
    Network(#[from] NotOpened),
}

impl Cluster {
    /// Opens the network, and has the node join; it is ready some time after this returns.
    pub(crate) async fn start(&self, config: &WadiConfig) -> Result<(), JoinError> {
        let network = self.network.as_ref().ok_or(JoinError::NoNetwork)?;
        let connections = network.open(config.network_settings()).await?;
        let Some(authority) = self.authority.clone() else {
            return Err(JoinError::NoNetwork);
        };
        let surroundings = wadi_core::node::Surroundings {
            authority,
            transport: Arc::clone(&connections.transport),
            listener: Arc::new(Log),
        };
        self.node.start(connections.address.clone(), surroundings);
        // A node starts once.
        let _ = self.connections.set(connections);
        Ok(())
    }
}

impl WadiConfig {
    fn network_settings(&self) -> NetworkSettings {
        let secrets = self.cluster_key();
        let secrets = secrets.iter().flat_map(|keyring| keyring.keys());
        NetworkSettings {
            cluster: self.cluster_name(),
            buckets: self.buckets(),
            node: NodeName::new(self.name()),
            bind: self.cluster().unwrap_or(([127, 0, 0, 1], 0).into()),
            advertise: self.advertise(),
            secrets: secrets.map(|key| Secret(*key.network_secret())).collect(),
        }
    }
}
