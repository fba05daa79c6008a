//! The network over TCP, as a node is given it.

use std::sync::Arc;

use wadi_core::message::Message;
use wadi_core::transport::{Connections, Discovery, Network, NetworkSettings, NotOpened, Opening};

use super::messages::{Addressees, Messages};
use super::names::Names;
use super::open::Open;
use super::questions::Questions;
use super::streams::MemberStreams;
use crate::config::{Config, Limits};
use crate::endpoint::{Endpoint, StartError};
use crate::handshake::Versions;
use crate::medium::{Medium, TcpMedium};
use crate::notice::Observe;
use crate::peer::{Cluster, Membership};
use crate::security::{Files, Security, TransportKey};

/// The network between nodes over TCP, inside TLS 1.3 with both sides authenticated.
///
/// With a secret of the cluster, nodes authenticate each other by a key that is derived from it; with
/// [`Tcp::certificates`], by certificates. With neither, only loopback addresses are used, and
/// starting on another address is an error that says so.
#[derive(Clone)]
pub struct Tcp {
    certificates: Option<Files>,
    limits: Limits,
    versions: Versions,
    trusts_refusals: bool,
    observer: Arc<dyn Observe>,
    medium: Arc<dyn Medium>,
}

impl Tcp {
    /// With the default limits, and every version that this build speaks.
    #[must_use]
    pub fn new() -> Self {
        Self {
            certificates: None,
            limits: Limits::default(),
            versions: Versions::SUPPORTED,
            trusts_refusals: false,
            observer: Arc::new(()),
            medium: Arc::new(TcpMedium),
        }
    }

    /// Nodes authenticate each other by certificates from these files, and not by the secret.
    #[must_use]
    pub fn certificates(mut self, files: Files) -> Self {
        self.certificates = Some(files);
        self
    }

    /// Other times, sizes and numbers than the default ones.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Holds the node to these versions of the protocol; within [`Versions::SUPPORTED`].
    #[must_use]
    pub fn versions(mut self, versions: Versions) -> Self {
        self.versions = versions;
        self
    }

    /// Whether a refused connection to *another* host proves that who listened there has ended, once an
    /// authenticated connection to it had been open: then its death is healed at once, and not only when
    /// its lease has run out. Default `false`. Only for networks in which nothing refuses a connection
    /// for a node that lives: no proxy, balancer or service mesh between nodes, no firewall that resets.
    ///
    /// On this host a refusal counts in any case, because no other kernel stands between. What must not be
    /// done there to a node that lives: having a packet filter reset or reject connections to its
    /// address, or destroying its listening socket from outside.
    #[must_use]
    pub fn trust_refusals(mut self, trusts: bool) -> Self {
        self.trusts_refusals = trusts;
        self
    }

    /// Who is told what happens to connections; the log is told all the same.
    #[must_use]
    pub fn observer(mut self, observer: impl Observe + 'static) -> Self {
        self.observer = Arc::new(observer);
        self
    }

    /// Over something else than the operating system's TCP.
    #[must_use]
    pub fn over(mut self, medium: Arc<dyn Medium>) -> Self {
        self.medium = medium;
        self
    }

    fn config(&self, settings: NetworkSettings) -> Config {
        let security = match &self.certificates {
            Some(files) => Security::Files(files.clone()),
            None if settings.secrets.is_empty() => Security::Loopback,
            None => {
                let keys = settings.secrets.iter().map(|secret| {
                    TransportKey::from_secret(&secret.0).expect("a secret has 32 bytes")
                });
                Security::Keys(keys.collect())
            }
        };
        Config {
            cluster: Cluster {
                name: settings.cluster,
                buckets: settings.buckets,
            },
            node: settings.node,
            membership: Membership::default(),
            bind: settings.bind,
            advertise: settings.advertise,
            security,
            trusts_refusals: self.trusts_refusals,
            limits: self.limits.clone(),
            versions: self.versions,
        }
    }

    async fn start(&self, settings: NetworkSettings) -> Result<Connections, StartError> {
        let gate = settings.gate.clone();
        let config = self.config(settings);
        let (medium, observer) = (self.medium.clone(), self.observer.clone());
        let addressees = Arc::new(Addressees::default());
        let taker = addressees.clone();
        let endpoint =
            Endpoint::<Message>::start_for(taker, medium, config, observer, gate).await?;
        let us = endpoint.us();
        let by = match (&self.certificates, endpoint.shared.guard.keeps_out()) {
            (Some(_), _) => "by certificates",
            (None, true) => "by the cluster's key",
            (None, false) => "by nothing: loopback only",
        };
        let (node, local, advertised) = (&us.node, endpoint.local(), &us.advertised);
        tracing::info!("{node} listens for nodes at {local} as {advertised}, authenticated {by}");
        let open = Arc::new(Open::new(endpoint));
        Ok(Connections {
            address: us.advertised.clone(),
            place: open.place(),
            transport: Arc::new(Messages::new(open.clone(), addressees)),
            carrier: Arc::new(Questions::new(open.clone())),
            streams: Arc::new(MemberStreams::new(open)),
        })
    }
}

impl Default for Tcp {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for Tcp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tcp")
            .field("certificates", &self.certificates)
            .field("limits", &self.limits)
            .field("versions", &self.versions)
            .field("trusts_refusals", &self.trusts_refusals)
            .finish_non_exhaustive()
    }
}

impl Network for Tcp {
    fn behind(&self, names: Vec<String>) -> Arc<dyn Discovery> {
        Arc::new(Names(names))
    }

    fn open(&self, settings: NetworkSettings) -> Opening<'_> {
        Box::pin(async move {
            let started = self.start(settings).await;
            started.map_err(|cause| NotOpened(Box::new(cause)))
        })
    }
}
