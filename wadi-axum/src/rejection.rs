//! What a request gets instead of its session.

use http::header::RETRY_AFTER;
use http::{HeaderValue, Response, StatusCode};

/// 503 with Retry-After: the outcome is unknown, or the session is in use or on its way.
pub(crate) fn unavailable<B: Default>() -> Response<B> {
    let mut response = Response::new(B::default());
    *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    let headers = response.headers_mut();
    headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
    response
}

/// 421 (RFC 9110, 15.5.20): the node that sent this request here is told where it should go. No client
/// sees it.
pub(crate) fn misdirected<B: Default>() -> Response<B> {
    let mut response = Response::new(B::default());
    *response.status_mut() = StatusCode::MISDIRECTED_REQUEST;
    response
}

/// A handler asks for a session, and no layer gave its request one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SessionRejection {
    /// The layer is missing, or does not cover the route.
    #[error(
        "no session: add the layer with `.layer(wadi)` after the routes that use `Session` (a \
         layer covers only the routes added before it), and see that the route does not bypass it"
    )]
    MissingLayer,
}

#[cfg(feature = "axum")]
impl axum_core::response::IntoResponse for SessionRejection {
    fn into_response(self) -> axum_core::response::Response {
        // The mistake is the program's: its author is told, its clients are not.
        tracing::error!("{self}");
        StatusCode::INTERNAL_SERVER_ERROR.into_response()
    }
}
