//! `/counter`: an atomic increment, and what it came to.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use wadi_axum::{Session, SessionFailure};

use super::app::Shared;

const KEY: &str = "counter";

#[derive(Debug, Serialize)]
pub(super) struct Count {
    count: u64,
    node: Arc<str>,
}

/// Overlapping increments all count.
pub(super) async fn increment(
    State(shared): State<Shared>,
    session: Session,
) -> Result<Json<Count>, SessionFailure> {
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
pub(super) async fn read(
    State(shared): State<Shared>,
    session: Session,
) -> Result<Json<Count>, SessionFailure> {
    let count = session.get(KEY)?.unwrap_or_default();
    Ok(Json(Count {
        count,
        node: shared.node,
    }))
}
