//! `/hold?ms=N`: uses the session, keeps its lock for N milliseconds, answers.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{Query, State};
use serde::{Deserialize, Serialize};
use wadi_axum::{Session, SessionFailure};

use super::app::Shared;

/// Nobody holds a session for longer than a minute.
const LONGEST: Duration = Duration::from_secs(60);

#[derive(Debug, Deserialize)]
pub(super) struct Asked {
    ms: u64,
}

#[derive(Debug, Serialize)]
pub(super) struct Held {
    held_ms: u64,
    holds: u64,
    node: Arc<str>,
}

pub(super) async fn hold(
    State(shared): State<Shared>,
    Query(asked): Query<Asked>,
    session: Session,
) -> Result<Json<Held>, SessionFailure> {
    let time = Duration::from_millis(asked.ms).min(LONGEST);
    let holds = session.update("holds", |holds: &mut u64| {
        *holds += 1;
        *holds
    })?;
    tokio::time::sleep(time).await;
    let held_ms = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    Ok(Json(Held {
        held_ms,
        holds,
        node: shared.node,
    }))
}
