//! `/ws`: a WebSocket that echoes each message with its count in the session.

use axum::extract::State;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade, close_code};
use axum::response::Response;
use wadi_axum::{DetachedSession, Session, SessionFailure};

use super::app::Shared;

const KEY: &str = "messages";
const LARGEST_MESSAGE: usize = 64 * 1024;

pub(super) async fn socket(
    State(shared): State<Shared>,
    session: Session,
    upgrade: WebSocketUpgrade,
) -> Result<Response, SessionFailure> {
    // A write before the head, so that there is a session and the client has its cookie.
    session.update(KEY, |_: &mut u64| ())?;
    let session = session.detach();
    Ok(upgrade
        .max_message_size(LARGEST_MESSAGE)
        .on_upgrade(move |socket| echo(socket, session, shared)))
}

/// Ends when the client does, the node leaves, or the session has ended.
async fn echo(mut socket: WebSocket, session: DetachedSession, shared: Shared) {
    let mut leaving = std::pin::pin!(shared.wadi.leaving());
    loop {
        let message = tokio::select! {
            message = socket.recv() => message,
            () = leaving.as_mut() => return close(socket, close_code::AWAY, "leaving").await,
        };
        let text = match message {
            Some(Ok(Message::Text(text))) => text,
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => continue,
            Some(Ok(Message::Binary(_))) => {
                return close(socket, close_code::UNSUPPORTED, "text only").await;
            }
            Some(Ok(Message::Close(_)) | Err(_)) | None => return,
        };
        let counted = session
            .update(KEY, |count: &mut u64| {
                *count += 1;
                *count
            })
            .await;
        let answer = match counted {
            Ok(count) => format!("{count}: {text}"),
            Err(error) => {
                tracing::info!(%error, "a WebSocket ends early");
                return close(socket, close_code::ERROR, "the session has ended").await;
            }
        };
        if socket.send(Message::text(answer)).await.is_err() {
            return;
        }
    }
}

/// Says why, and does not mind when the client is gone already.
async fn close(mut socket: WebSocket, code: u16, reason: &'static str) {
    let reason = reason.into();
    let _ = socket
        .send(Message::Close(Some(CloseFrame { code, reason })))
        .await;
}
