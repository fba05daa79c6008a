//! The application's routes and what they share.

use axum::Router;
use axum::body::Body;
use axum::http::HeaderMap;
use axum::http::header::CONTENT_TYPE;
use axum::response::Response;
use axum::routing::{get, post, put};
use wadi_axum::WadiLayer;

use super::{attributes, counter, events, hold, list, login, metrics, socket};

/// What every handler may ask for.
#[derive(Clone, Debug)]
pub struct Shared {
    /// The layer, to learn when the node leaves.
    pub wadi: WadiLayer,
    /// The node's name, for answers.
    pub node: std::sync::Arc<str>,
}

/// The routes of the http listener.
pub fn app(wadi: &WadiLayer) -> Router {
    let shared = Shared {
        wadi: wadi.clone(),
        node: wadi.config().name().as_str().into(),
    };
    Router::new()
        .route("/counter", get(counter::read).post(counter::increment))
        .route("/list/{name}", get(list::read).post(list::append))
        .route(
            "/attr/{key}",
            put(attributes::put)
                .get(attributes::get)
                .delete(attributes::delete),
        )
        .route("/login", post(login::login))
        .route("/logout", post(login::logout))
        .route("/me", get(login::me))
        .route("/hold", get(hold::hold))
        .route("/events", get(events::events))
        .route("/ws", get(socket::socket))
        .route("/echo", post(echo))
        .layer(wadi.clone())
        .merge(wadi.health())
        .layer(axum::middleware::from_fn(metrics::measure))
        .with_state(shared)
}

/// Streams the request's body back as it comes.
async fn echo(headers: HeaderMap, body: Body) -> Response {
    let mut response = Response::new(body);
    if let Some(kind) = headers.get(CONTENT_TYPE) {
        response.headers_mut().insert(CONTENT_TYPE, kind.clone());
    }
    response
}
