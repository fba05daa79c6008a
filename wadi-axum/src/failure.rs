//! The answer of a handler that could not use its session.

use axum_core::response::{IntoResponse, Response};
use http::StatusCode;
use wadi_core::session::SessionError;

use crate::rejection::unavailable;
use crate::seldom::Seldom;

/// A [`SessionError`] on its way to the client, so that handlers can use `?`:
/// `async fn visit(session: Session) -> Result<String, SessionFailure>`.
///
/// | cause | answer |
/// |---|---|
/// | it passes by itself: the session is busy or has just ended, the node is full | 503 with Retry-After |
/// | the session would grow over its budget | 413 |
/// | everything else, which is the program's mistake | 500, and an error in the log |
///
/// Log lines have the error's words, which hold no id and no value. A full node and a session over
/// its budget are warned about at most once a minute each; clients can cause no more than that.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(transparent)]
pub struct SessionFailure(#[from] pub SessionError);

static FULL: Seldom = Seldom::new();
static TOO_LARGE: Seldom = Seldom::new();

impl IntoResponse for SessionFailure {
    fn into_response(self) -> Response {
        let error = &self.0;
        match error {
            SessionError::TooManySessions { .. } if FULL.is_due() => {
                tracing::warn!(%error, "requests are refused because this node is full");
            }
            SessionError::TooLarge { .. } if TOO_LARGE.is_due() => {
                tracing::warn!(%error, "a request was refused because of its session's size");
            }
            SessionError::TooLarge { .. } => {
                tracing::debug!(%error, "a request was refused because of its session's size");
            }
            _ if error.is_passing() => {
                tracing::debug!(%error, "a request could not use its session now");
            }
            _ => tracing::error!(%error, "a handler could not use its session"),
        }
        match error {
            SessionError::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE.into_response(),
            _ if error.is_passing() => unavailable(),
            _ => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        }
    }
}
