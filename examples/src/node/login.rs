//! Logging in renews the session's id; logging out destroys the session.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::{Form, Json};
use serde::{Deserialize, Serialize};
use wadi_axum::{Session, SessionFailure};

use super::app::Shared;

const KEY: &str = "user";

#[derive(Debug, Deserialize)]
pub(super) struct Login {
    user: String,
}

#[derive(Debug, Serialize)]
pub(super) struct Me {
    user: Option<String>,
    node: Arc<str>,
}

pub(super) async fn login(
    State(shared): State<Shared>,
    session: Session,
    Form(login): Form<Login>,
) -> Result<Json<Me>, SessionFailure> {
    // First of all: whoever planted or saw the id of before the login is shut out by this, also with
    // a request in flight, and so never meets what is written after it.
    session.cycle_id().await?;
    session.insert(KEY, login.user.clone())?;
    Ok(Json(Me {
        user: Some(login.user),
        node: shared.node,
    }))
}

pub(super) async fn logout(session: Session) -> Result<StatusCode, SessionFailure> {
    session.flush().await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn me(
    State(shared): State<Shared>,
    session: Session,
) -> Result<Json<Me>, SessionFailure> {
    let user = session.get(KEY)?;
    Ok(Json(Me {
        user,
        node: shared.node,
    }))
}
