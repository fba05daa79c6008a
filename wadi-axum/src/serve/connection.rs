//! One client's connection, from its first byte to its last.
//!
//! It speaks HTTP/1.1 and HTTP/2, hands upgraded connections to the application, and says goodbye
//! as the node's life goes on. A connection that sends no request does not stay for ever.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tokio::io::{AsyncRead, AsyncWrite};
use tower_service::Service;

use crate::lifecycle::{Lifecycle, Phase};

use super::entrance::{Entrance, Seen};

/// How often an HTTP/2 connection on which nothing happens is asked whether its client still lives.
const PING_EVERY: Duration = Duration::from_secs(20);

/// Serves `app` on `io` until the client closes it, the node closes, or nothing came for
/// `keep_alive`.
pub(crate) async fn drive<I, S, A, B>(
    io: I,
    peer: A,
    app: S,
    lifecycle: Lifecycle,
    keep_alive: Duration,
) where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
    S::Error: Into<Box<dyn Error + Send + Sync>>,
    S::Future: Send,
    A: Clone + Send + Sync + 'static,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let seen = Arc::new(Seen::default());
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
        seen: Arc::clone(&seen),
    };
    let mut connection =
        std::pin::pin!(builder.serve_connection_with_upgrades(TokioIo::new(io), entrance));

    let silent = async {
        if tokio::time::timeout(keep_alive, seen.any.notified())
            .await
            .is_ok()
        {
            std::future::pending::<()>().await;
        }
    };
    // HTTP/2 can say goodbye without losing a request that is on its way, so it does so early. A
    // silent HTTP/1.1 connection stays until closing: its next request is served and told to close.
    let goodbye = async {
        tokio::select! {
            () = async {
                lifecycle.reached(Phase::Leaving).await;
                seen.http2.notified().await;
            } => {}
            () = lifecycle.reached(Phase::Closing) => {}
        }
    };
    let mut silent = std::pin::pin!(silent);
    let mut goodbye = std::pin::pin!(goodbye);
    let mut closed = std::pin::pin!(lifecycle.reached(Phase::Closed));
    let mut said_goodbye = false;
    loop {
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
            () = silent.as_mut() => return,
            () = closed.as_mut() => return,
        }
    }
}
