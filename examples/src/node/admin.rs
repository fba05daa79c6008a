//! Administration: what this node knows of itself, for people and for Prometheus.
//!
//! It listens apart, shows neither ids nor values, and is asked by address: a name in `Host` is how
//! a web page makes its visitor's browser ask for it (DNS rebinding).

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, HOST, HeaderName};
use axum::http::uri::Authority;
use axum::http::{HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde::Serialize;
use wadi_axum::{Phase, WadiLayer};
use wadi_core::authority::Solo;

use super::metrics;

/// What the admin listener tells about.
#[derive(Clone, Debug)]
pub struct Admin {
    wadi: WadiLayer,
    /// The authority of a node that is alone.
    authority: Arc<Solo>,
}

/// The routes of the admin listener.
pub fn app(wadi: &WadiLayer, authority: Solo) -> Router {
    Router::new()
        .route("/wadi/", get(page))
        .route("/wadi/cluster", get(cluster))
        .route("/metrics", get(scrape))
        .merge(wadi.health())
        .layer(axum::middleware::from_fn(guard))
        .with_state(Admin {
            wadi: wadi.clone(),
            authority: Arc::new(authority),
        })
}

/// Lets only requests in that name an address, and nothing into caches.
async fn guard(request: Request, next: Next) -> Response {
    let host = request.headers().get(HOST);
    let named = request
        .uri()
        .authority()
        .cloned()
        .or_else(|| Authority::try_from(host?.as_bytes()).ok());
    let mut response = if named.is_some_and(|named| is_address(named.host())) {
        next.run(request).await
    } else {
        let mend = "ask for this by address, as in http://127.0.0.1:8081/wadi/\n";
        (StatusCode::MISDIRECTED_REQUEST, mend).into_response()
    };
    let no_store = HeaderValue::from_static("no-store");
    response.headers_mut().insert(CACHE_CONTROL, no_store);
    response
}

fn is_address(host: &str) -> bool {
    let bare = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
        .unwrap_or(host);
    bare.parse::<IpAddr>().is_ok() || bare.eq_ignore_ascii_case("localhost")
}

/// What one node, alone, knows.
#[derive(Debug, Serialize)]
struct Cluster {
    node: String,
    incarnation: u64,
    version: u64,
    generation: u32,
    coordinator: String,
    members: [Member; 1],
    sessions: Counts,
    displaced: usize,
    migrations: Migrations,
    /// There is nowhere to go to.
    evacuation: Option<()>,
}

#[derive(Debug, Serialize)]
struct Member {
    node: String,
    /// Where other nodes reach it: nowhere yet.
    cluster: Option<SocketAddr>,
    buckets: u16,
    state: &'static str,
}

#[derive(Clone, Copy, Debug, Serialize)]
struct Counts {
    live: usize,
    frozen: usize,
    disc: usize,
    replicas: usize,
}

#[derive(Clone, Copy, Debug, Default, Serialize)]
struct Migrations {
    #[serde(rename = "in")]
    arrived: u64,
    #[serde(rename = "out")]
    left: u64,
}

fn counts(wadi: &WadiLayer) -> Counts {
    let census = wadi.sessions().census();
    Counts {
        live: census.live,
        frozen: census.frozen,
        disc: 0,
        replicas: 0,
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

async fn cluster(State(Admin { wadi, authority }): State<Admin>) -> Json<Cluster> {
    let node = wadi.config().name();
    let version = authority.layout().version;
    Json(Cluster {
        incarnation: authority.incarnation().get(),
        version: version.number(),
        generation: version.generation(),
        coordinator: node.clone(),
        members: [Member {
            node: node.clone(),
            cluster: None,
            buckets: wadi.config().buckets().get(),
            state: state(wadi.phase()),
        }],
        node,
        sessions: counts(&wadi),
        displaced: 0,
        migrations: Migrations::default(),
        evacuation: None,
    })
}

async fn page(State(Admin { wadi, .. }): State<Admin>) -> Html<String> {
    // The name is letters, digits, `-`, `_` and `.`: nothing that HTML reads otherwise.
    let node = wadi.config().name();
    let Counts { live, frozen, .. } = counts(&wadi);
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

async fn scrape(
    State(Admin { wadi, .. }): State<Admin>,
) -> ([(HeaderName, &'static str); 1], String) {
    let Counts { live, frozen, .. } = counts(&wadi);
    metrics::sessions(live, frozen);
    let kind = [(CONTENT_TYPE, "text/plain; version=0.0.4")];
    (kind, metrics::recorder().render())
}

#[cfg(test)]
mod tests {
    use super::is_address;

    #[test]
    fn names_are_no_addresses() {
        for host in ["127.0.0.1", "10.0.0.7", "[::1]", "localhost"] {
            assert!(is_address(host), "{host}");
        }
        for host in ["evil.example", "127.0.0.1.evil.example", "", "[localhost"] {
            assert!(!is_address(host), "{host}");
        }
    }
}
