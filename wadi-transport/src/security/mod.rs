//! Who may speak: TLS 1.3 from the first byte, both sides authenticated.
//!
//! There is nothing weaker to fall back to. Without a key, nodes speak only where nobody else can
//! listen in, on loopback.

mod files;
mod guard;
mod key;
mod objection;
mod renewal;
mod tls;

use std::path::PathBuf;
use std::time::Duration;

use rustls::client::danger::HandshakeSignatureValid;

pub(crate) use guard::Guard;
pub use key::TransportKey;
pub(crate) use objection::Objection;
pub(crate) use renewal::Renewal;

/// How connections are authenticated and encrypted.
#[derive(Clone, Debug)]
pub enum Security {
    /// Not at all, so only between loopback addresses of one machine.
    Loopback,
    /// By a key that every node of the cluster has. The first is used, all are accepted. To change
    /// it: give every node `[old, new]`, then `[new, old]`, then `[new]`, one node after the other.
    Keys(Vec<TransportKey>),
    /// By certificates of the cluster's own certification authority.
    Files(Files),
}

/// Where certificates are, in PEM. They are read at the start, and again when a file has changed: a new
/// certificate or another authority counts for connections that are made from then on, and what cannot be
/// used is told in the log and changes nothing. To change the authority itself: give every node both, then
/// a certificate of the new one, then take the old one away.
#[derive(Clone, Debug)]
pub struct Files {
    /// The authority's certificates. Whoever has a certificate of it is taken for a member, so it is
    /// to be the cluster's own authority, or [`Files::member_name`] is to be set.
    pub authority: PathBuf,
    /// This node's certificate, then those that lead to the authority. It is shown when dialling and
    /// when accepting, so where it limits its use, it allows both client and server authentication.
    pub certificate: PathBuf,
    /// This node's private key.
    pub key: PathBuf,
    /// A DNS name that every member's certificate bears, checked on both sides. Addresses are not
    /// looked for in certificates, because a node's address may change.
    pub member_name: Option<String>,
    /// How often to look whether a file has changed; [`Files::LOOK_AGAIN`] is sensible.
    pub look_again: Duration,
}

impl Files {
    /// Soon enough for whoever renews certificates before they run out, and nothing that costs.
    pub const LOOK_AGAIN: Duration = Duration::from_secs(30);
}

/// Keys or certificates that cannot be used. Nothing was opened.
#[derive(Debug, thiserror::Error)]
pub enum SecurityError {
    /// There is not one key in the list.
    #[error("the list of cluster keys is empty: give at least one")]
    NoKey,
    /// A file cannot be read, or holds something else.
    #[error("{what} in {path} cannot be read ({cause}): give a readable file in PEM")]
    File {
        /// What should be in it.
        what: &'static str,
        /// The file.
        path: String,
        /// Why not.
        cause: String,
    },
    /// The member name is no DNS name.
    #[error("{0:?} is no DNS name: give a name that every member's certificate bears")]
    MemberName(String),
    /// TLS will not take them, for instance because key and certificate are not of one pair.
    #[error("the key or the certificates cannot be used: {0}")]
    Tls(#[from] rustls::Error),
    /// The authority's certificates cannot be used to verify.
    #[error("the authority's certificates cannot be used: {0}")]
    Authority(#[from] rustls::server::VerifierBuilderError),
}

/// Only TLS 1.3 is configured, so this cannot be reached by a peer.
fn no_tls12() -> Result<HandshakeSignatureValid, rustls::Error> {
    Err(rustls::PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme.into())
}
