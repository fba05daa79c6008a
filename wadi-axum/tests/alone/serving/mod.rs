//! A node that serves on a real listener, for as long as the test holds it.

#![allow(dead_code, reason = "each test file uses its own part")]
#![allow(clippy::unwrap_used, reason = "a test fails so")]

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use wadi_axum::config::{CookieMode, WadiConfig, WadiConfigBuilder};
use wadi_axum::{ServeError, WadiLayer};

/// A configuration for HTTP on loopback that leaves without delay.
pub(crate) fn plain() -> WadiConfigBuilder {
    WadiConfig::builder()
        .cookie(CookieMode::Plain)
        .deregister_delay(Duration::ZERO)
}

pub(crate) struct Serving {
    pub(crate) wadi: WadiLayer,
    pub(crate) address: SocketAddr,
    pub(crate) served: JoinHandle<Result<(), ServeError>>,
}

/// Serves `routes` behind the layer, with the health endpoints beside it.
pub(crate) async fn serve(config: WadiConfigBuilder, routes: Router) -> Serving {
    let wadi = WadiLayer::new(config.build().expect("the test's configuration fits"));
    let app = routes.layer(wadi.clone()).merge(wadi.health());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let node = wadi.clone();
    let served = tokio::spawn(async move { node.serve(listener, app).await });
    wadi.started().await;
    Serving {
        wadi,
        address,
        served,
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.served.abort();
    }
}
