//! `/attr/{key}`: raw bytes in, raw bytes out.

use axum::extract::Path;
use axum::http::StatusCode;
use bytes::Bytes;
use wadi_axum::Session;

use super::failure::Failure;

fn key(name: &str) -> String {
    format!("attr.{name}")
}

pub async fn put(
    Path(name): Path<String>,
    session: Session,
    value: Bytes,
) -> Result<StatusCode, Failure> {
    // A copy of its own, because the body's buffer may be much larger than the value.
    session.insert(&key(&name), Bytes::copy_from_slice(&value))?;
    Ok(StatusCode::NO_CONTENT)
}

pub async fn get(Path(name): Path<String>, session: Session) -> Result<Bytes, Answer> {
    session.get(&key(&name))?.ok_or(Answer::Absent)
}

pub async fn delete(Path(name): Path<String>, session: Session) -> Result<StatusCode, Answer> {
    match session.remove::<Bytes>(&key(&name))? {
        Some(_) => Ok(StatusCode::NO_CONTENT),
        None => Err(Answer::Absent),
    }
}

/// Why there are no bytes.
#[derive(Debug)]
pub enum Answer {
    Absent,
    Failed(Failure),
}

impl<E: Into<Failure>> From<E> for Answer {
    fn from(error: E) -> Self {
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
