//! Starting a node and asking it to leave: what a user calls on the layer. It opens no socket.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use wadi_core::store::SessionStore;

use crate::cluster::{Cluster, JoinError};
use crate::config::{Relocate, WadiConfig};
use crate::lifecycle::Phase;
#[cfg(feature = "serve")]
use crate::public_url::PublicUrl;
use crate::{WadiLayer, driver};

/// A node could not be started. Nothing was changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The node was started before.
    #[error(
        "this node was already started: call `serve` or `start`, once, and share the layer by cloning it"
    )]
    AlreadyStarted,
    /// The node was asked to leave, and who has left comes back as somebody new.
    #[error("this node has left or is leaving: make a new WadiLayer")]
    Left,
    /// A store that is one node's alone, in a cluster.
    #[error(
        "this node's store is its own, and the node takes part in a cluster, whose other nodes would not find what \
         is there: give all nodes one store that they share, such as wadi_stores::PostgresStore, or on one host \
         SqliteStore; or leave the store out, or `cluster`. A store of your own that may be shared says so by \
         `SessionStore::is_shared`"
    )]
    StoreNotShared,
    /// The node could not take part in its cluster.
    #[error(transparent)]
    Join(#[from] JoinError),
}

impl WadiLayer {
    /// Starts this node for an application that you serve yourself, with `axum::serve` or your own
    /// loop. From now on its sessions are found, frozen and ended.
    ///
    /// # Errors
    ///
    /// [`StartError`], and nothing was started.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
    pub async fn start(&self) -> Result<(), StartError> {
        self.begin().await?;
        if self.cluster().is_some() {
            tracing::info!(
                "started without `serve`, so other nodes can proxy no requests to this one: where they \
                 would, sessions move"
            );
        }
        Ok(())
    }

    /// As [`WadiLayer::start`], for who takes proxied requests too.
    pub(crate) async fn begin(&self) -> Result<(), StartError> {
        let shared_by = self.cluster().and_then(Cluster::store);
        if shared_by.is_some_and(|store| !store.is_shared()) {
            return Err(StartError::StoreNotShared);
        }
        self.node().lifecycle.start().map_err(|phase| match phase {
            Phase::Serving => StartError::AlreadyStarted,
            _ => StartError::Left,
        })?;
        if let Some(cluster) = self.cluster() {
            let joins = cluster.start(self.config()).await;
            joins.inspect_err(|_| {
                self.node().lifecycle.advance(Phase::Closed);
            })?;
            self.announce(cluster);
            cluster.announce_coming(self.config(), &self.node().lifecycle);
        }
        if self.cookie().is_plain() {
            tracing::warn!("the session cookie is plain: good for HTTP on your own machine only");
        }
        self.open();
        let sessions = Arc::downgrade(self.sessions());
        tokio::spawn(driver::run(sessions, self.node().lifecycle.clone()));
        if let Some(tier) = self.store_below() {
            let (tier, lifecycle) = (Arc::downgrade(tier), self.node().lifecycle.clone());
            tokio::spawn(driver::go_rounds(tier.clone(), lifecycle));
            tokio::spawn(driver::end_rows(tier));
        }
        Ok(())
    }

    /// Says to the other nodes where clients reach this one.
    fn announce(&self, cluster: &Cluster) {
        let public_url = self.config().public_url();
        #[cfg(feature = "serve")]
        if let Some(url) = public_url.as_deref().and_then(PublicUrl::parse) {
            cluster.announce(url, &self.node().lifecycle);
        }
        let _ = cluster;
        if public_url.is_none() && self.config().relocate() == Relocate::Redirect {
            tracing::warn!(
                "relocate is redirect and this node has no public_url: no client is sent to it, and \
                 requests for its sessions are proxied; set public_url to where clients reach it"
            );
        }
    }

    /// Asks this node to leave, as a signal does. Returns at once; `serve` returns when it has left.
    /// A node that was not started cannot be any more.
    pub fn leave(&self) {
        self.node().lifecycle.advance(Phase::Leaving);
    }

    /// After your own loop has ended: moves what is left to the other nodes of the cluster, and tells
    /// them that this node is gone; without it they wait for its lease to run out. A node that is alone and
    /// has a store puts every session there. Takes `within` at most where the store answers, and does nothing
    /// for any other node. `serve` does it by itself.
    ///
    /// # Cancellation
    ///
    /// It goes on.
    pub async fn depart(&self, within: Duration) {
        self.node().lifecycle.advance(Phase::Closed);
        if let Some(cluster) = self.cluster() {
            cluster.depart(within).await;
        }
        self.put_down(within).await;
    }

    /// Puts every session into the store, where there is one, and serves none any more. What is in use is
    /// waited for, `within` at most.
    pub(crate) async fn put_down(&self, within: Duration) {
        let Some(tier) = self.store_below() else {
            return;
        };
        let revoke_at = self.sessions().now() + within;
        let left = tier.close(revoke_at).await;
        if left == 0 {
            tracing::info!("every session is in the store");
        } else {
            tracing::error!(
                lost = left,
                "these sessions did not go into the store, and are lost"
            );
        }
    }

    /// Resolves when this node has started.
    pub fn started(&self) -> impl Future<Output = ()> + Send + 'static {
        self.node().lifecycle.reached(Phase::Serving)
    }

    /// Resolves when this node begins to leave. Long-lived responses (server-sent events,
    /// WebSockets) wait for it beside their next message and then end, so that they hold nothing up.
    pub fn leaving(&self) -> impl Future<Output = ()> + Send + 'static {
        self.node().lifecycle.reached(Phase::Leaving)
    }

    /// The configuration.
    #[must_use]
    pub fn config(&self) -> &WadiConfig {
        &self.node().config
    }

    /// How far this node is in its life.
    #[must_use]
    pub fn phase(&self) -> Phase {
        self.node().lifecycle.phase()
    }
}
