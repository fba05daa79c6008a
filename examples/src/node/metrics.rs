//! What the reference node counts, in Prometheus' text form.
//!
//! Labels have few values each: never a path, never an id.

use std::sync::OnceLock;
use std::time::Duration;

use axum::extract::{MatchedPath, Request};
use axum::middleware::Next;
use axum::response::Response;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use wadi_core::clock::{BootClock, Clock};

/// The process's recorder. It is installed once, however many nodes run in the process.
///
/// # Panics
///
/// When another recorder was installed before.
pub fn recorder() -> &'static PrometheusHandle {
    static RECORDER: OnceLock<PrometheusHandle> = OnceLock::new();
    RECORDER.get_or_init(|| {
        let handle = PrometheusBuilder::new()
            .install_recorder()
            .expect("this is the only recorder of the process");
        metrics::describe_counter!(
            "node_requests_total",
            "Requests answered, by route and status"
        );
        metrics::describe_histogram!(
            "node_request_seconds",
            metrics::Unit::Seconds,
            "Time to the response head"
        );
        metrics::describe_histogram!(
            "node_span_seconds",
            metrics::Unit::Seconds,
            "What requests waited for besides their handlers, by WADI's span"
        );
        wadi_axum::WadiLayer::describe_metrics();
        handle
    })
}

/// Folds what was recorded into the figures now and then, so that a node that nobody scrapes does
/// not hoard samples. Runs until it is dropped.
pub async fn upkeep() {
    let mut ticks = tokio::time::interval(Duration::from_secs(5));
    loop {
        ticks.tick().await;
        recorder().run_upkeep();
    }
}

/// Counts a request and times it.
pub async fn measure(request: Request, next: Next) -> Response {
    let route = request
        .extensions()
        .get::<MatchedPath>()
        .map_or_else(|| "none".to_owned(), |path| path.as_str().to_owned());
    let began = BootClock.now();
    let response = next.run(request).await;
    let elapsed = BootClock.now().since(began);
    let status = response.status().as_u16().to_string();
    metrics::histogram!("node_request_seconds", "route" => route.clone()).record(elapsed);
    metrics::counter!("node_requests_total", "route" => route, "status" => status).increment(1);
    response
}
