//! The WADI session layer and extractor for axum and tower. It knows no protocol.

mod commit;
pub mod cookie;
#[cfg(feature = "axum")]
mod extract;
mod future;
mod layer;
pub mod mode;
mod rejection;
mod service;
mod session;

pub use future::WadiFuture;
pub use layer::{Settings, WadiLayer};
pub use rejection::SessionRejection;
pub use service::WadiService;
pub use session::Session;
pub use wadi_core::session::{
    Attachment, Attribute, DetachedSession, Expiry, Limits, Origin, SessionError, SessionId,
    Storable,
};
