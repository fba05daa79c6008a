//! The WADI session layer and extractor for axum and tower. It knows no protocol.

mod health;
mod lifecycle;
mod serve;

pub use lifecycle::Phase;
