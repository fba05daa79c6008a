//! The answer of a handler that could not use its session.

use axum_core::response::{IntoResponse, Response};
use http::StatusCode;
use wadi_core::session::SessionError;

use crate::rejection::unavailable;

/// A [`SessionError`] on its way to the client, so that handlers can use `?`:
/// `async fn visit(session: Session) -> Result<String, SessionFailure>`.
///
/// What passes by itself (a busy session, a full node) is 503 with Retry-After. Everything else is
/// the program's mistake: it is logged with its words, which hold no id and no value, and the
/// client is told 500 and nothing more.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(transparent)]
pub struct SessionFailure(#[from] pub SessionError);

impl IntoResponse for SessionFailure {
    fn into_response(self) -> Response {
        if self.0.is_passing() {
            tracing::debug!(error = %self.0, "a request could not use its session now");
            return unavailable();
        }
        tracing::error!(error = %self.0, "a handler could not use its session");
        StatusCode::INTERNAL_SERVER_ERROR.into_response()
    }
}
