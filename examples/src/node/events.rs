//! `/events?n=N&ms=M`: N server-sent events, M milliseconds apart, each counting in the session.
//!
//! The stream outlives its response head, so it uses the session through a detached handle.

use std::convert::Infallible;
use std::pin::Pin;
use std::time::Duration;

use axum::extract::{Query, State};
use axum::response::Sse;
use axum::response::sse::Event;
use futures_util::stream::{self, Stream};
use serde::Deserialize;
use wadi_axum::{DetachedSession, Session, SessionFailure};

use super::app::Shared;

const KEY: &str = "events";

#[derive(Clone, Copy, Debug, Deserialize)]
pub(super) struct Asked {
    n: u64,
    ms: u64,
}

struct Streaming {
    session: DetachedSession,
    leaving: Pin<Box<dyn Future<Output = ()> + Send>>,
    left: u64,
    pause: Duration,
}

pub(super) async fn events(
    State(shared): State<Shared>,
    Query(asked): Query<Asked>,
    session: Session,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, SessionFailure> {
    // A write before the head, so that there is a session and the client has its cookie.
    session.update(KEY, |_: &mut u64| ())?;
    let streaming = Streaming {
        session: session.detach(),
        leaving: Box::pin(shared.wadi.leaving()),
        left: asked.n,
        pause: Duration::from_millis(asked.ms),
    };
    Ok(Sse::new(stream::unfold(streaming, next)))
}

/// The next event; none when all were sent, the node leaves, or the session has ended.
async fn next(mut streaming: Streaming) -> Option<(Result<Event, Infallible>, Streaming)> {
    streaming.left = streaming.left.checked_sub(1)?;
    tokio::select! {
        () = tokio::time::sleep(streaming.pause) => {}
        () = streaming.leaving.as_mut() => return None,
    }
    let count = streaming
        .session
        .update(KEY, |count: &mut u64| {
            *count += 1;
            *count
        })
        .await
        .inspect_err(|error| tracing::info!(%error, "an event stream ends early"))
        .ok()?;
    Some((Ok(Event::default().data(count.to_string())), streaming))
}
