//! One node from its flags to its end: the application on one listener, administration on another.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpListener;
use wadi_axum::config::ConfigError;
use wadi_axum::{ServeError, Settings, WadiLayer};
use wadi_stores::{DiscSettings, DiscStore, OpenError};

use wadi_transport::{Tcp, Versions};

use super::{NotShared, Options, admin, app, metrics};

/// In the data directory: where the sessions are.
const SESSIONS: &str = "sessions";
/// How often a node that joins looks whether it is ready.
const LOOK: Duration = Duration::from_millis(20);

/// A node whose listeners are open and which does not serve yet.
#[derive(Debug)]
pub struct Node {
    wadi: WadiLayer,
    http: TcpListener,
    admin: TcpListener,
}

/// Where a node listens.
#[derive(Clone, Copy, Debug)]
pub struct Addresses {
    /// The application.
    pub http: SocketAddr,
    /// Administration.
    pub admin: SocketAddr,
}

/// A node that could not run.
#[derive(Debug)]
pub enum RunError {
    /// The flags do not fit together.
    Config(ConfigError),
    /// The data directory could not be used.
    Store(OpenError),
    /// The shared store could not be opened.
    SharedStore(NotShared),
    /// A listener could not be opened.
    Listen {
        /// The flag that says where.
        flag: &'static str,
        /// The address that was given.
        address: SocketAddr,
        /// What the operating system said.
        error: io::Error,
    },
    /// The application could not be served.
    Serve(ServeError),
}

impl Node {
    /// Opens the listeners.
    ///
    /// # Errors
    ///
    /// [`RunError::Config`], [`RunError::Store`], [`RunError::SharedStore`] or [`RunError::Listen`].
    pub async fn open(options: &Options) -> Result<Self, RunError> {
        let config = options.config().map_err(RunError::Config)?;
        let cluster = config.cluster_name();
        let mut settings = Settings::with_network(config, network(options));
        if let Some(directory) = &options.data_dir {
            let directory = directory.join(SESSIONS);
            let opened = DiscStore::open(directory, DiscSettings::default());
            settings = settings.store(opened.map_err(RunError::Store)?);
        }
        if let Some(store) = &options.shared_store {
            let below = store.below(settings, &cluster).await;
            settings = below.map_err(RunError::SharedStore)?;
        }
        Ok(Self {
            wadi: WadiLayer::new(settings),
            http: listen("--http", options.http).await?,
            admin: listen("--admin", options.admin).await?,
        })
    }

    /// Where it listens, with the ports that were picked.
    ///
    /// # Errors
    ///
    /// When the operating system does not say.
    pub fn addresses(&self) -> io::Result<Addresses> {
        Ok(Addresses {
            http: self.http.local_addr()?,
            admin: self.admin.local_addr()?,
        })
    }

    /// The layer, to ask the node to leave.
    #[must_use]
    pub fn wadi(&self) -> &WadiLayer {
        &self.wadi
    }

    /// Serves until the node has left. Administration answers until the very end.
    ///
    /// # Errors
    ///
    /// [`RunError::Serve`].
    pub async fn run(self) -> Result<(), RunError> {
        metrics::recorder();
        let addresses = self.addresses();
        let app = app::app(&self.wadi);
        let admin = admin::app(&self.wadi);
        let admin = axum::serve(self.admin, admin).into_future();
        let ready = async {
            self.wadi.started().await;
            while !self.wadi.is_ready() {
                tokio::time::sleep(LOOK).await;
            }
            if let Ok(Addresses { http, admin }) = addresses {
                if !admin.ip().is_loopback() {
                    tracing::warn!(
                        %admin,
                        "administration can be asked from other machines, by anybody: keep that \
                         address from clients, or use --admin 127.0.0.1:8081"
                    );
                }
                let cluster = cluster_address(&self.wadi).map(tracing::field::display);
                tracing::info!(node = %self.wadi.config().name(), %http, %admin, cluster, "ready");
            }
            metrics::upkeep().await;
        };
        tokio::select! {
            served = self.wadi.serve(self.http, app) => served.map_err(RunError::Serve),
            _ = admin => unreachable!("it is given no signal to end"),
            () = ready => unreachable!("upkeep runs until it is dropped"),
        }
    }
}

impl fmt::Display for RunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config(error) => error.fmt(f),
            Self::Store(error) => error.fmt(f),
            Self::SharedStore(error) => error.fmt(f),
            Self::Listen {
                flag,
                address,
                error,
            } => write!(
                f,
                "cannot listen on {address}: {error}; choose another address with {flag} (port 0 picks a free port)"
            ),
            Self::Serve(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for RunError {}

/// Where other nodes reach this one; `None` for a node that is alone.
fn cluster_address(wadi: &WadiLayer) -> Option<String> {
    let report = wadi.status();
    let mut members = report.members.into_iter();
    let own = members.find(|member| Some(member.incarnation) == report.incarnation)?;
    own.cluster
}

/// The way to other nodes, where the node has any.
fn network(options: &Options) -> Tcp {
    let network = Tcp::default().trust_refusals(options.trust_refusals);
    match options.protocol {
        Some(newest) => network.versions(Versions {
            max: newest.min(Versions::SUPPORTED.max),
            ..Versions::SUPPORTED
        }),
        None => network,
    }
}

async fn listen(flag: &'static str, address: SocketAddr) -> Result<TcpListener, RunError> {
    TcpListener::bind(address)
        .await
        .map_err(|error| RunError::Listen {
            flag,
            address,
            error,
        })
}
