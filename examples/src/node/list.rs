//! `/list/{name}`: values appended one by one, so that a test can see which writes survived.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use serde::Serialize;
use wadi_axum::{Session, SessionFailure};

use super::app::Shared;

#[derive(Debug, Serialize)]
pub(super) struct List {
    list: Vec<String>,
    node: Arc<str>,
}

fn key(name: &str) -> String {
    format!("list.{name}")
}

/// The body is one value.
pub(super) async fn append(
    State(shared): State<Shared>,
    Path(name): Path<String>,
    session: Session,
    value: String,
) -> Result<Json<List>, SessionFailure> {
    let list = session.update(&key(&name), |list: &mut Vec<String>| {
        list.push(value);
        list.clone()
    })?;
    Ok(Json(List {
        list,
        node: shared.node,
    }))
}

pub(super) async fn read(
    State(shared): State<Shared>,
    Path(name): Path<String>,
    session: Session,
) -> Result<Json<List>, SessionFailure> {
    let list = session.get(&key(&name))?.unwrap_or_default();
    Ok(Json(List {
        list,
        node: shared.node,
    }))
}
