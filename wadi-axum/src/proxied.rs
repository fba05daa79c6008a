//! What handlers and layers are told of a request that came by way of another node.

use wadi_core::member::NodeName;

/// In the extensions of a request that another node of the cluster has proxied to this one.
///
/// Layers outside the session layer run on both nodes: whoever counts or limits requests there may
/// want to pass over those that carry it. No client can forge it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proxied {
    by: NodeName,
}

impl Proxied {
    #[cfg(feature = "serve")]
    pub(crate) const fn new(by: NodeName) -> Self {
        Self { by }
    }

    /// The name of the node that the client sent the request to.
    #[must_use]
    pub fn by(&self) -> &str {
        self.by.as_str()
    }
}
