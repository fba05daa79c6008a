//! Liveness and readiness, for load balancers and Kubernetes.
//!
//! A probe touches no session: a crawling balancer must cost nothing and create nothing.

use axum::Router;
use axum::routing::get;
use http::StatusCode;
use http::header::CACHE_CONTROL;

use crate::WadiLayer;
use crate::lifecycle::Phase;

/// `GET /healthz` and `GET /readyz`.
pub(crate) fn routes<S>(wadi: WadiLayer) -> Router<S>
where
    S: Clone + Send + Sync + 'static,
{
    Router::new()
        .route(
            "/healthz",
            get(|| async { answer(StatusCode::OK, "alive\n") }),
        )
        .route(
            "/readyz",
            get(move || async move {
                match wadi.phase() {
                    // A layer for tests is open from the start.
                    Phase::NotStarted if wadi.is_open() => answer(StatusCode::OK, "ready\n"),
                    Phase::NotStarted => answer(StatusCode::SERVICE_UNAVAILABLE, "not started\n"),
                    Phase::Serving if wadi.is_ready() => answer(StatusCode::OK, "ready\n"),
                    Phase::Serving => answer(StatusCode::SERVICE_UNAVAILABLE, "joining\n"),
                    Phase::Leaving | Phase::Closing | Phase::Closed => {
                        answer(StatusCode::SERVICE_UNAVAILABLE, "leaving\n")
                    }
                }
            }),
        )
}

type Answer = (
    StatusCode,
    [(http::HeaderName, &'static str); 1],
    &'static str,
);

fn answer(status: StatusCode, text: &'static str) -> Answer {
    (status, [(CACHE_CONTROL, "no-store")], text)
}
