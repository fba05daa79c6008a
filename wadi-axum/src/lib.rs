//! The WADI session layer and extractor for axum and tower. It knows no protocol.
//!
//! ```no_run
//! use axum::{Router, routing::get};
//! use wadi_axum::{Session, SessionFailure, WadiConfig, WadiLayer};
//!
//! async fn visit(session: Session) -> Result<String, SessionFailure> {
//!     let visits = session.update("visits", |visits: &mut u32| {
//!         *visits += 1;
//!         *visits
//!     })?;
//!     Ok(format!("Visit number {visits}."))
//! }
//!
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let wadi = WadiLayer::new(WadiConfig::default());
//! let app = Router::new()
//!     .route("/", get(visit))
//!     .layer(wadi.clone())
//!     .merge(wadi.health());
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
//! wadi.serve(listener, app).await?;
//! # Ok(())
//! # }
//! ```
//!
//! Whoever knows tower-sessions reads [`coming_from_tower_sessions`] next.

#[doc = include_str!("../docs/coming_from_tower_sessions.md")]
pub mod coming_from_tower_sessions {}
mod before_head;
mod below;
mod cluster;
mod commit;
pub mod config;
pub mod cookie;
mod declaring;
mod driver;
mod elsewhere;
#[cfg(feature = "axum")]
mod extract;
#[cfg(feature = "axum")]
mod failure;
#[cfg(all(any(test, fuzzing), feature = "serve"))]
#[doc(hidden)]
pub mod fuzzing {
    //! What the fuzz target calls.

    pub use crate::cluster::proxy::fuzzing::{
        a_body, a_key_file, from_a_client, from_a_member, where_to,
    };
}
mod future;
#[cfg(feature = "serve")]
mod health;
mod layer;
mod layer_id;
mod lifecycle;
pub mod mode;
mod node;
mod proxied;
mod public_url;
mod rejection;
mod route;
mod seldom;
#[cfg(feature = "serve")]
mod serve;
mod served;
mod service;
mod session;
mod shared;
mod start;
#[cfg(feature = "serve")]
pub mod status;
#[cfg(feature = "test-util")]
pub mod testing;
mod watched;
mod way;
mod why;

pub use cluster::{JoinError, RequestCounts};
pub use config::WadiConfig;
pub use declaring::DeclareDeadError;
#[cfg(feature = "axum")]
pub use failure::SessionFailure;
pub use future::WadiFuture;
pub use layer::{Settings, WadiLayer};
pub use lifecycle::Phase;
pub use proxied::Proxied;
pub use rejection::SessionRejection;
#[cfg(feature = "serve")]
pub use serve::ServeError;
pub use service::WadiService;
pub use session::Session;
pub use start::StartError;
pub use wadi_core::session::{
    Attachment, Attribute, DetachedSession, Expiry, Limits, Origin, SessionError, SessionId,
    Storable,
};
