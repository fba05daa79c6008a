//! `/attr/{key}`: raw bytes in, raw bytes out.

use axum::extract::Path;
use axum::http::StatusCode;
use bytes::Bytes;
use wadi_axum::{Session, SessionError, SessionFailure};

fn key(name: &str) -> String {
    format!("attr.{name}")
}

pub(super) async fn put(
    Path(name): Path<String>,
    session: Session,
    value: Bytes,
) -> Result<StatusCode, SessionFailure> {
    // A copy of its own, because the body's buffer may be much larger than the value.
    session.insert(&key(&name), Bytes::copy_from_slice(&value))?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn get(Path(name): Path<String>, session: Session) -> Result<Bytes, Answer> {
    session.get(&key(&name))?.ok_or(Answer::Absent)
}

pub(super) async fn delete(
    Path(name): Path<String>,
    session: Session,
) -> Result<StatusCode, Answer> {
    match session.remove::<Bytes>(&key(&name))? {
        Some(_) => Ok(StatusCode::NO_CONTENT),
        None => Err(Answer::Absent),
    }
}

/// Why there are no bytes.
#[derive(Debug)]
pub(super) enum Answer {
    Absent,
    Failed(SessionFailure),
}

impl From<SessionError> for Answer {
    fn from(error: SessionError) -> Self {
        Self::Failed(error.into())
    }
}

impl axum::response::IntoResponse for Answer {
    fn into_response(self) -> axum::response::Response {
        match self {
            Self::Absent => StatusCode::NOT_FOUND.into_response(),
            Self::Failed(failure) => failure.into_response(),
        }
    }
}
