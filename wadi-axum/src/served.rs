//! The header `x-wadi`: how a request was served, for people who ask why.
//!
//! It is off unless configured, because it tells outsiders the node's name. It holds no id.

use http::{HeaderMap, HeaderName, HeaderValue};
use wadi_core::session::{Origin, Visit};

use crate::node::Node;

const X_WADI: HeaderName = HeaderName::from_static("x-wadi");

/// What `x-wadi` is going to say. Found out before the visit ends, which forgets it.
pub(crate) fn before_commit(visit: &Visit, node: &Node) -> Option<HeaderValue> {
    node.config.x_wadi().then(|| {
        let created = visit.origin() != Origin::Existing && visit.id().is_some();
        let how = if created { "created" } else { "local" };
        let name = node.config.name();
        HeaderValue::try_from(format!("{how}; node={name}; hops=0"))
            .expect("a checked name and fixed words")
    })
}

/// Says it, where it is to be said.
pub(crate) fn tell(headers: &mut HeaderMap, said: Option<HeaderValue>) {
    if let Some(said) = said {
        headers.insert(X_WADI, said);
    }
}
