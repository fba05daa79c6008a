//! What a user calls on the layer to have an application served.
//!
//! It ties the configuration, the listener and the node's life together, and does nothing itself.

use std::error::Error;
use std::future::Future;
use std::io;
use std::time::Duration;

use axum::Router;
use axum::body::Body as RequestBody;
use axum::serve::Listener;
use http::{Request, Response};
use http_body::Body;
use tower_service::Service;

use crate::start::StartError;
use crate::{WadiLayer, health};

use super::accept::{Listening, serve};
use super::leave::{Times, leave_when_asked};
use super::signal::Signals;

/// What the last step takes at most: telling the cluster, the replacement of a vote included, or having the
/// last sessions go into the store.
const LONGEST_FAREWELL: Duration = Duration::from_secs(4);

/// An application could not be served.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// The node could not be started; nothing was served.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The process cannot listen for the signals that ask it to leave; nothing was served.
    #[error("cannot listen for SIGTERM and SIGINT: {0}")]
    Signals(#[source] io::Error),
}

impl WadiLayer {
    /// Starts this node, serves `app` on `listener` over HTTP/1.1 and HTTP/2 with upgrades, and
    /// leaves in good order when SIGTERM or SIGINT comes or [`WadiLayer::leave`] is called.
    ///
    /// Leaving: readiness turns 503 and clients are asked to close idle connections, while
    /// everything is still served for `deregister_delay`; then the listener closes; then requests
    /// in flight are finished and upgraded connections (WebSockets) wait to be let go, until
    /// `leave_timeout` has passed since the signal; what is left is cut off. A second signal stops at
    /// once.
    ///
    /// `app` finds its peer's address as `ConnectInfo`. A connection without a request in flight
    /// ends after `keep_alive`; so does the body of a request whose client sends no more of it
    /// while `app` waits for it and sends no response, with an error.
    ///
    /// In a cluster, `app` also serves the requests that other nodes proxy to this one, as their clients
    /// sent them: with the original URI, version and headers, the client's address as
    /// `ConnectInfo<SocketAddr>` where it is a socket address, and [`Proxied`](crate::Proxied) among
    /// their extensions.
    ///
    /// `app` is any tower service; an axum `Router` with its state is one. Its readiness is waited
    /// for per request, so a service that is never ready stalls only that request.
    ///
    /// # Errors
    ///
    /// [`ServeError`], before anything was served. Once serving, it ends only by leaving.
    ///
    /// # Cancellation safety
    ///
    /// Dropping the future closes the listener and every connection at once; an upgraded one, whose
    /// reads and writes are errors from then on, goes as soon as the application uses it.
    pub async fn serve<L, S, B>(&self, listener: L, app: S) -> Result<(), ServeError>
    where
        L: Listener,
        L::Addr: Clone + Sync + 'static,
        S: Service<Request<RequestBody>, Response = Response<B>> + Clone + Send + 'static,
        S::Error: Into<Box<dyn Error + Send + Sync>>,
        S::Future: Send,
        B: Body + Send + 'static,
        B::Data: Send,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let signals = Signals::listen().map_err(ServeError::Signals)?;
        self.begin().await?;
        let config = self.config();
        let times = Listening {
            keep_alive: config.keep_alive(),
            leaving: self.leaving_times(),
        };
        let cluster = self.cluster().map(|cluster| (cluster, self.id()));
        serve(listener, app, self.node(), cluster, signals, times).await;
        self.close();
        self.put_down(LONGEST_FAREWELL / 2).await;
        Ok(())
    }

    /// A future for your own loop's graceful shutdown: it waits for SIGTERM, SIGINT or
    /// [`WadiLayer::leave`], turns readiness to 503, and resolves after `deregister_delay`, when the
    /// sessions have moved to the other nodes of a cluster, or at once on a second signal. How long
    /// requests in flight then have is your loop's affair. In a cluster, or with a store, call
    /// [`WadiLayer::depart`] after it.
    ///
    /// ```no_run
    /// # use wadi_axum::{WadiConfig, WadiLayer};
    /// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
    /// let wadi = WadiLayer::new(WadiConfig::default());
    /// let app = axum::Router::new().layer(wadi.clone());
    /// let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
    /// wadi.start().await?;
    /// axum::serve(listener, app)
    ///     .with_graceful_shutdown(wadi.leave_on_signal()?)
    ///     .await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// When the process cannot listen for signals.
    pub fn leave_on_signal(&self) -> io::Result<impl Future<Output = ()> + Send + 'static> {
        let mut signals = Signals::listen()?;
        let (wadi, times) = (self.clone(), self.leaving_times());
        Ok(async move {
            let lifecycle = &wadi.node().lifecycle;
            leave_when_asked(lifecycle, &mut signals, wadi.cluster(), times).await;
        })
    }

    fn leaving_times(&self) -> Times {
        let config = self.config();
        let (deregister_delay, in_all) = (config.deregister_delay(), config.leave_timeout());
        let farewell = (in_all - deregister_delay) / 4;
        let tells = self.cluster().is_some() || self.store_below().is_some();
        let farewell = tells.then(|| farewell.min(LONGEST_FAREWELL));
        Times {
            deregister_delay,
            in_all,
            farewell: farewell.unwrap_or_default(),
        }
    }

    /// `GET /healthz`, which says that the process answers, and `GET /readyz`, which says whether
    /// balancers should send requests: 200, or 503 before `start` and while leaving.
    ///
    /// Merge it after `.layer(…)`, so that a probe passes no session layer:
    /// `Router::new().route(…).layer(wadi.clone()).merge(wadi.health())`.
    pub fn health<T>(&self) -> Router<T>
    where
        T: Clone + Send + Sync + 'static,
    {
        health::routes(self.clone())
    }
}
