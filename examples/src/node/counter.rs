//! `/counter`: an atomic increment, and what it came to.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use wadi_axum::Session;

use super::app::Shared;
use super::failure::Failure;

const KEY: &str = "counter";

#[derive(Debug, Serialize)]
pub struct Count {
    count: u64,
    node: Arc<str>,
}

/// Overlapping increments all count.
pub async fn increment(
    State(shared): State<Shared>,
    session: Session,
) -> Result<Json<Count>, Failure> {
    let count = session.update(KEY, |count: &mut u64| {
        *count += 1;
        *count
    })?;
    Ok(Json(Count {
        count,
        node: shared.node,
    }))
}

/// Only reading creates no session.
pub async fn read(State(shared): State<Shared>, session: Session) -> Result<Json<Count>, Failure> {
    let count = session.get(KEY)?.unwrap_or_default();
    Ok(Json(Count {
        count,
        node: shared.node,
    }))
}
