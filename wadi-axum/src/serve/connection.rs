//! One client's connection, from its first byte to its last.
//!
//! It speaks HTTP/1.1 and HTTP/2, hands upgraded connections to the application, and says goodbye
//! as the node's life goes on. A connection on which no request is in flight does not stay for ever.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body as RequestBody;
use http::{Request, Response};
use http_body::Body;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tokio::io::{AsyncRead, AsyncWrite};
use tower_service::Service;

use crate::lifecycle::{Lifecycle, Phase};
use crate::served::Served;

use super::entrance::Entrance;
use super::flight::Flights;

/// How often an HTTP/2 connection on which nothing happens is asked whether its client still lives.
const PING_EVERY: Duration = Duration::from_secs(20);

/// Serves `app` on `io` until the client closes it, the node closes, or no request was in flight for
/// `keep_alive`.
pub(crate) async fn drive<I, S, A, B>(
    io: I,
    peer: A,
    app: S,
    lifecycle: Lifecycle,
    served: Served,
    keep_alive: Duration,
) where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    S: Service<Request<RequestBody>, Response = Response<B>> + Clone + Send + 'static,
    S::Error: Into<Box<dyn Error + Send + Sync>>,
    S::Future: Send,
    A: Clone + Send + Sync + 'static,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let flights = Arc::new(Flights::default());
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(keep_alive);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(PING_EVERY)
        .enable_connect_protocol();
    let entrance = Entrance {
        app,
        peer,
        lifecycle: lifecycle.clone(),
        served,
        flights: Arc::clone(&flights),
        patience: keep_alive,
    };
    let mut connection =
        std::pin::pin!(builder.serve_connection_with_upgrades(TokioIo::new(io), entrance));

    // HTTP/2 can say goodbye without losing a request that is on its way, so it does so early. A
    // silent HTTP/1.1 connection stays until closing: its next request is served and told to close.
    let goodbye = async {
        tokio::select! {
            () = async {
                lifecycle.reached(Phase::Leaving).await;
                flights.http2().await;
            } => {}
            () = lifecycle.reached(Phase::Closing) => {}
        }
    };
    let mut goodbye = std::pin::pin!(goodbye);
    let mut closed = std::pin::pin!(lifecycle.reached(Phase::Closed));
    let mut said_goodbye = false;
    loop {
        let silent = flights.silent_for(keep_alive);
        tokio::select! {
            ended = connection.as_mut() => {
                if let Err(error) = ended {
                    tracing::debug!(error, "a client's connection ended early");
                }
                return;
            }
            () = goodbye.as_mut(), if !said_goodbye => {
                said_goodbye = true;
                connection.as_mut().graceful_shutdown();
            }
            // Whoever does not go after a goodbye is cut off.
            () = silent, if !said_goodbye || flights.may_be_cut() => {
                if said_goodbye {
                    return;
                }
                said_goodbye = true;
                connection.as_mut().graceful_shutdown();
            }
            () = closed.as_mut() => return,
        }
    }
}
