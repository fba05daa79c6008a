//! Logging in renews the session's id; logging out destroys the session.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::{Form, Json};
use serde::{Deserialize, Serialize};
use wadi_axum::Session;

use super::app::Shared;
use super::failure::Failure;

const KEY: &str = "user";

#[derive(Debug, Deserialize)]
pub struct Login {
    user: String,
}

#[derive(Debug, Serialize)]
pub struct Me {
    user: Option<String>,
    node: Arc<str>,
}

pub async fn login(
    State(shared): State<Shared>,
    session: Session,
    Form(login): Form<Login>,
) -> Result<Json<Me>, Failure> {
    session.insert(KEY, login.user.clone())?;
    // Whoever planted or saw the id of before the login gains nothing by it.
    session.cycle_id()?;
    Ok(Json(Me {
        user: Some(login.user),
        node: shared.node,
    }))
}

pub async fn logout(session: Session) -> Result<StatusCode, Failure> {
    session.flush()?;
    Ok(StatusCode::NO_CONTENT)
}

pub async fn me(State(shared): State<Shared>, session: Session) -> Result<Json<Me>, Failure> {
    let user = session.get(KEY)?;
    Ok(Json(Me {
        user,
        node: shared.node,
    }))
}
