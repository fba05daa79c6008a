//! Serving an application on a listener and leaving in good order.
//!
//! Nothing here knows what a session is; it moves the node's life forward and obeys it.

mod accept;
mod connection;
mod counted;
mod entrance;
mod flight;
mod guests;
mod leave;
mod on_layer;
mod request_body;
mod signal;

pub use on_layer::ServeError;
