//! How the reference node answers when a session could not be used.

use axum::response::{IntoResponse, Response};
use wadi_axum::SessionError;

/// A handler's failure. WADI knows the right answer: 503 with Retry-After for what passes, 500 for
/// what the program did wrong.
#[derive(Debug)]
pub struct Failure(SessionError);

impl From<SessionError> for Failure {
    fn from(error: SessionError) -> Self {
        Self(error)
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        tracing::warn!(error = %self.0, "a session could not be used");
        self.0.into_response()
    }
}
