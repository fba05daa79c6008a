//! The WADI session layer and extractor for axum and tower. It knows no protocol.

mod commit;
pub mod config;
pub mod cookie;
mod driver;
#[cfg(feature = "axum")]
mod extract;
#[cfg(feature = "axum")]
mod failure;
mod future;
#[cfg(feature = "serve")]
mod health;
mod layer;
mod lifecycle;
pub mod mode;
mod node;
mod rejection;
#[cfg(feature = "serve")]
mod serve;
mod served;
mod service;
mod session;
mod start;

pub use config::WadiConfig;
#[cfg(feature = "axum")]
pub use failure::SessionFailure;
pub use future::WadiFuture;
pub use layer::{Settings, WadiLayer};
pub use lifecycle::Phase;
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
