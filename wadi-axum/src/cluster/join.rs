//! Starting a node of a cluster: its network is opened, then it joins, for as long as it takes.

use std::sync::Arc;

use wadi_core::member::NodeName;
use wadi_core::node::Authority;
use wadi_core::transport::{Connections, Network, NetworkSettings, NotOpened, Secret};

use super::Cluster;
use super::listen::Log;
use crate::config::{OnQuorumLoss, WadiConfig};

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
    /// Nodes cannot agree in this build.
    #[cfg(not(feature = "cluster"))]
    #[error("cluster is configured, and wadi-axum was built without its feature `cluster`: add it")]
    NotBuilt,
    /// The network cannot be opened.
    #[error(transparent)]
    Network(#[from] NotOpened),
}

impl Cluster {
    /// Opens the network, and has the node join; it is ready some time after this returns.
    pub(crate) async fn start(&self, config: &WadiConfig) -> Result<(), JoinError> {
        let network = self.network.as_ref().ok_or(JoinError::NoNetwork)?;
        let connections = network
            .open(NetworkSettings {
                gate: Some(Arc::clone(self.node.sessions().gate())),
                ..config.network_settings()
            })
            .await?;
        let authority = match &self.authority {
            Some(given) => Arc::clone(given),
            None => self.agree(config, &**network, &connections)?,
        };
        if self.authority.is_none() {
            say(config.on_quorum_loss());
        }
        let surroundings = wadi_core::node::Surroundings {
            authority,
            place: connections.place,
            transport: Arc::clone(&connections.transport),
            listener: Arc::new(Log::default()),
        };
        self.node.start(connections.address.clone(), surroundings);
        // A node starts once.
        let _ = self.connections.set(connections);
        Ok(())
    }
}

impl Cluster {
    /// The authority that this node and others are together.
    #[cfg(feature = "cluster")]
    fn agree(
        &self,
        config: &WadiConfig,
        network: &dyn Network,
        connections: &Connections,
    ) -> Result<Arc<dyn Authority>, JoinError> {
        use wadi_core::node::{Agreement, AgreementSettings};
        use wadi_core::transport::AddressList;
        let names = config.join();
        let agreement = Agreement::new(AgreementSettings {
            node: NodeName::new(config.name()),
            address: connections.address.clone(),
            place: connections.place,
            carrier: Arc::clone(&connections.carrier),
            clock: Arc::clone(&self.clock),
            charter: config.charter(),
            listener: Arc::new(Log::default()),
            generation: 0,
            store: self
                .store()
                .map(|store| Arc::clone(store) as Arc<dyn wadi_core::store::SessionStore>),
            found_with: config.found_with(),
            on_quorum_loss: config.on_quorum_loss(),
            discovery: match config.found_with() {
                Some(_) => network.behind(names),
                None => Arc::new(AddressList::new(names)),
            },
        });
        // It is set once, as the cluster starts once.
        let _ = self.agreement.set(Arc::clone(&agreement));
        Ok(agreement)
    }

    #[cfg(not(feature = "cluster"))]
    fn agree(
        &self,
        _: &WadiConfig,
        _: &dyn Network,
        _: &Connections,
    ) -> Result<Arc<dyn Authority>, JoinError> {
        Err(JoinError::NotBuilt)
    }
}

/// Said once, when the node starts: which of the two it is follows from the configured size, where it is
/// not set.
fn say(on_quorum_loss: OnQuorumLoss) {
    match on_quorum_loss {
        OnQuorumLoss::Strict => tracing::info!(
            %on_quorum_loss,
            "where this node cannot reach most of those who agree, it answers 503 until it can"
        ),
        OnQuorumLoss::Available => tracing::info!(
            %on_quorum_loss,
            "where this node cannot reach most of those who agree, it goes on without them: should they \
             live, both serve until they meet; with on_quorum_loss = strict it would answer 503"
        ),
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
            gate: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use parking_lot::Mutex;
    use wadi_core::lease::LeaseGate;
    use wadi_core::transport::Opening;

    use super::*;
    use crate::WadiLayer;

    /// Keeps what it is told, and does not open.
    #[derive(Clone, Debug, Default)]
    struct Told(Arc<Mutex<Option<Arc<LeaseGate>>>>);

    impl Network for Told {
        fn open(&self, settings: NetworkSettings) -> Opening<'_> {
            *self.0.lock() = settings.gate;
            Box::pin(async { Err(NotOpened("it does not open".into())) })
        }
    }

    #[tokio::test]
    async fn the_network_closes_the_gate_of_this_nodes_sessions() {
        let network = Told::default();
        let bind = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
        let config = WadiConfig::builder().cluster(bind).build().unwrap();
        let wadi = WadiLayer::with_network(config, network.clone());
        assert!(wadi.start().await.is_err());
        let told = network.0.lock().clone().unwrap();
        assert!(Arc::ptr_eq(&told, wadi.sessions().gate()));
    }
}
