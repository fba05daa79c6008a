//! The administration routes, for a listener of their own.
//!
//! They are asked by address: a name in `Host` is how a web page makes its visitor's browser ask
//! for them (DNS rebinding). What changes something takes methods that no page can send to another site.

use std::net::IpAddr;

use axum::Router;
use axum::extract::{Path, RawQuery, Request};
use axum::middleware::{Next, from_fn};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{delete, get, put};
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HOST};
use http::uri::Authority;
use http::{HeaderValue, StatusCode};
use wadi_core::node::NotDeclaredDead;

use super::page::page;
use crate::{DeclareDeadError, WadiLayer, health};

impl WadiLayer {
    /// What people and programs are told of this node, for a listener that clients cannot reach:
    /// `GET /wadi/` (a page), `GET /wadi/cluster` (the same as JSON: [`StatusReport`]), `GET /healthz`
    /// and `GET /readyz`; `PUT /wadi/drain` and `DELETE /wadi/drain` begin and end what
    /// [`WadiLayer::drain`] does, and `DELETE /wadi/members/{name or incarnation}`, with `?force` where
    /// it takes that, is [`WadiLayer::declare_dead`]. Serve it with `axum::serve` on loopback, or on an operator's network.
    ///
    /// Requests that name this machine otherwise than by address or as `localhost` are refused.
    ///
    /// [`StatusReport`]: crate::status::StatusReport
    pub fn admin(&self) -> Router {
        let (shown, told) = (self.clone(), self.clone());
        let (begins, ends) = (self.clone(), self.clone());
        let declares = self.clone();
        Router::new()
            .route(
                "/wadi/",
                get(move || async move { Html(page(&shown.status())) }),
            )
            .route("/wadi/cluster", get(move || async move { json(&told) }))
            .route(
                "/wadi/drain",
                put(move || async move { drain(&begins, true) })
                    .delete(move || async move { drain(&ends, false) }),
            )
            .route(
                "/wadi/members/{member}",
                delete(
                    move |Path(member): Path<String>, RawQuery(query): RawQuery| async move {
                        let force = matches!(query.as_deref(), Some("force" | "force=true"));
                        declare_dead(&declares, &member, force).await
                    },
                ),
            )
            .merge(health::routes(self.clone()))
            .layer(from_fn(guard))
    }
}

fn drain(wadi: &WadiLayer, drains: bool) -> (StatusCode, &'static str) {
    if !wadi.drain(drains) {
        let alone = "this node is alone: nobody else could create sessions\n";
        return (StatusCode::CONFLICT, alone);
    }
    let told = if drains {
        "draining: new sessions are created by other nodes\n"
    } else {
        "new sessions are created here again\n"
    };
    (StatusCode::OK, told)
}

async fn declare_dead(wadi: &WadiLayer, member: &str, force: bool) -> (StatusCode, String) {
    use NotDeclaredDead::{Connected, NoMember, NotReady};
    match wadi.declare_dead(member, force).await {
        Ok(who) => {
            let told = format!("{who:?} is being declared dead; /wadi/cluster shows when it is\n");
            (StatusCode::ACCEPTED, told)
        }
        Err(error) => {
            let status = match error {
                DeclareDeadError::Nobody(_) | DeclareDeadError::Refused(NoMember) => {
                    StatusCode::NOT_FOUND
                }
                DeclareDeadError::Refused(NotReady) => StatusCode::SERVICE_UNAVAILABLE,
                DeclareDeadError::Refused(_)
                | DeclareDeadError::Several(_)
                | DeclareDeadError::Alone => StatusCode::CONFLICT,
            };
            let hint = match error {
                DeclareDeadError::Refused(Connected) => " (?force)",
                _ => "",
            };
            (status, format!("{error}{hint}\n"))
        }
    }
}

fn json(wadi: &WadiLayer) -> Response {
    match serde_json::to_vec(&wadi.status()) {
        Ok(report) => ([(CONTENT_TYPE, "application/json")], report).into_response(),
        // It is numbers and texts, which always have a form.
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// Lets only requests in that name an address, and nothing into caches.
pub async fn guard(request: Request, next: Next) -> Response {
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
