//! Carries messages between nodes over TCP, authenticated and encrypted, and hands out raw
//! authenticated streams. It does not know what a session is, and it decides nothing: what a message
//! means, and whether a peer may act, is the business of whoever stands above.
//!
//! [`Tcp`] is the network that a node is given. What it is made of can be used by itself: an
//! [`Endpoint`] listens and dials. A [`Link`] carries messages one way, to one peer; what it
//! cannot carry now it refuses, so whoever sends asks again by itself. A message may be lost; it is
//! never repeated, and never overtakes another on the same connection, but that small ones do not
//! wait for large ones.

mod admission;
pub mod config;
mod connection;
mod dial;
mod dns;
pub mod endpoint;
pub mod farewell;
pub mod frame;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
mod greeting;
pub mod handshake;
mod inbox;
mod journal;
pub mod link;
mod listener;
pub mod medium;
pub mod members;
mod network;
pub mod notice;
mod outgoing;
pub mod peer;
pub mod security;
mod shared;
pub mod stream;
mod wire;
mod witness;

pub use config::{Config, ConfigError, Limits};
pub use dial::DialError;
pub use dns::Dns;
pub use endpoint::{Endpoint, Incoming, ShutdownError, StartError, Taken};
pub use farewell::Farewell;
pub use handshake::{Purpose, Refusal, Versions};
pub use link::{Link, LinkState};
pub use members::Members;
pub use network::Tcp;
pub use notice::{Ended, Notice, Observe};
pub use outgoing::SendError;
pub use peer::{Cluster, Membership, Peer};
pub use security::{Files, Security, SecurityError, TransportKey};
pub use stream::{Audience, Stream, Streams};
