//! What all nodes of one cluster in one process stand on.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use wadi_core::bucket::BucketCount;
use wadi_core::node::InProcess;
use wadi_core::session::Keyring;
use wadi_core::transport::memory::Network;

use super::clock::Moved;
use crate::WadiLayer;
use crate::config::{CookieMode, WadiConfig, WadiConfigBuilder};
use crate::layer::Settings;

/// How long anything may take that a test waits for.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

pub(super) type App = Arc<dyn Fn(WadiLayer) -> Router + Send + Sync>;
pub(super) type Policy = Arc<dyn Fn(Settings) -> Settings + Send + Sync>;
pub(super) type Configure = Arc<dyn Fn(WadiConfigBuilder) -> WadiConfigBuilder + Send + Sync>;

/// What all nodes of one cluster stand on.
pub(super) struct Ground {
    pub(super) app: App,
    pub(super) network: Network,
    pub(super) authority: Arc<InProcess>,
    pub(super) clock: Arc<Moved>,
    pub(super) key: Keyring,
    pub(super) configure: Configure,
    pub(super) policy: Policy,
}

/// The configuration of the node with this name, which serves the application at that address.
pub(super) fn config(
    name: &str,
    serves_at: Option<SocketAddr>,
    key: &Keyring,
    configure: &Configure,
) -> WadiConfig {
    let few = BucketCount::new(64).expect("above zero");
    let builder = WadiConfig::builder()
        .name(name)
        .cluster(SocketAddr::from(([127, 0, 0, 1], 0)))
        .cluster_key(key.clone())
        .cookie(CookieMode::Plain)
        .buckets(few)
        .x_wadi(true)
        .deregister_delay(Duration::from_millis(10));
    let build = |builder: WadiConfigBuilder| {
        let built = configure(builder).build();
        built.expect("the options fit together")
    };
    let config = build(builder.clone());
    match serves_at {
        // A secure cookie does not go where it is served.
        Some(address) if config.cookie() == CookieMode::Plain => {
            build(builder.public_url(format!("http://{address}")))
        }
        _ => config,
    }
}
