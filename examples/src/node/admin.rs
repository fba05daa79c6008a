//! Administration: what this node knows of itself, for people and for Prometheus. It listens apart.

use axum::Router;
use axum::http::header::{CONTENT_TYPE, HeaderName};
use axum::middleware::from_fn;
use axum::routing::get;
use wadi_axum::WadiLayer;
use wadi_axum::status::guard;

use super::metrics;

/// The routes of the admin listener.
pub fn app(wadi: &WadiLayer) -> Router {
    let scraped = wadi.clone();
    let metrics = Router::new()
        .route("/metrics", get(move || async move { scrape(&scraped) }))
        .layer(from_fn(guard));
    wadi.admin().merge(metrics)
}

fn scrape(wadi: &WadiLayer) -> ([(HeaderName, &'static str); 1], String) {
    let recorder = metrics::recorder();
    wadi.record_metrics();
    let kind = [(CONTENT_TYPE, "text/plain; version=0.0.4")];
    (kind, recorder.render())
}
