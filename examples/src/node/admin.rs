//! Administration: what this node knows of itself, for people and for Prometheus.
//!
//! It listens apart, and shows neither ids nor values.

use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName};
use axum::response::Html;
use axum::routing::get;
use axum::{Json, Router};
use serde::Serialize;
use wadi_axum::{Phase, WadiLayer};

use super::metrics;

/// The routes of the admin listener.
pub fn app(wadi: &WadiLayer) -> Router {
    Router::new()
        .route("/wadi/", get(page))
        .route("/wadi/cluster", get(cluster))
        .route("/metrics", get(scrape))
        .merge(wadi.health())
        .with_state(wadi.clone())
}

/// What one node, alone, knows.
#[derive(Debug, Serialize)]
struct Cluster {
    node: String,
    members: [Member; 1],
    sessions: Counts,
}

#[derive(Debug, Serialize)]
struct Member {
    node: String,
    buckets: u16,
    state: &'static str,
}

#[derive(Clone, Copy, Debug, Serialize)]
struct Counts {
    live: usize,
    frozen: usize,
}

fn counts(wadi: &WadiLayer) -> Counts {
    let census = wadi.sessions().census();
    Counts {
        live: census.live,
        frozen: census.frozen,
    }
}

fn state(phase: Phase) -> &'static str {
    match phase {
        Phase::NotStarted => "not started",
        Phase::Serving => "ready",
        Phase::Leaving => "leaving",
        Phase::Closing => "closing",
        Phase::Closed => "closed",
    }
}

async fn cluster(State(wadi): State<WadiLayer>) -> Json<Cluster> {
    let node = wadi.config().name().as_str().to_owned();
    Json(Cluster {
        members: [Member {
            node: node.clone(),
            buckets: wadi.config().buckets().get(),
            state: state(wadi.phase()),
        }],
        node,
        sessions: counts(&wadi),
    })
}

async fn page(State(wadi): State<WadiLayer>) -> Html<String> {
    // The name is letters, digits, `-`, `_` and `.`: nothing that HTML reads otherwise.
    let node = wadi.config().name();
    let Counts { live, frozen } = counts(&wadi);
    let (buckets, state) = (wadi.config().buckets().get(), state(wadi.phase()));
    Html(format!(
        "<!doctype html><meta charset=utf-8><meta http-equiv=refresh content=2>\
         <title>WADI: {node}</title>\
         <style>body{{font:16px system-ui;margin:2em}}td,th{{text-align:left;padding:.2em 1em .2em 0}}</style>\
         <h1>{node}</h1><table>\
         <tr><th>State<td>{state}\
         <tr><th>Buckets<td>{buckets}\
         <tr><th>Sessions, live<td>{live}\
         <tr><th>Sessions, frozen<td>{frozen}\
         </table><p><a href=cluster>The same as JSON</a>, <a href=../metrics>metrics</a>"
    ))
}

async fn scrape(State(wadi): State<WadiLayer>) -> ([(HeaderName, &'static str); 2], String) {
    let Counts { live, frozen } = counts(&wadi);
    metrics::sessions(live, frozen);
    let headers = [
        (CONTENT_TYPE, "text/plain; version=0.0.4"),
        (CACHE_CONTROL, "no-store"),
    ];
    (headers, metrics::recorder().render())
}
