//! The header `x-wadi`: how a request was served, for people who ask why.
//!
//! It is off unless configured, because it tells outsiders the node's name. It holds no id.

use http::{HeaderMap, HeaderName, HeaderValue};

const X_WADI: HeaderName = HeaderName::from_static("x-wadi");

/// How a request was served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum How {
    /// Here, with a session that was here, or with none.
    Local,
    /// Here, and it created its session.
    Created,
}

/// What a node's responses say of it, each way written out once; nothing where that is off.
#[derive(Clone, Debug)]
pub(crate) struct Served(Option<[HeaderValue; 2]>);

impl Served {
    /// For a node of this name, which was checked.
    pub(crate) fn by(name: &str, said: bool) -> Self {
        Self(said.then(|| {
            ["local", "created"].map(|how| {
                HeaderValue::try_from(format!("{how}; node={name}; hops=0"))
                    .expect("a checked name and fixed words")
            })
        }))
    }

    /// Says how, unless something closer to the session has said it.
    pub(crate) fn tell(&self, headers: &mut HeaderMap, how: How) {
        if let Some([local, created]) = &self.0 {
            headers.entry(X_WADI).or_insert_with(|| match how {
                How::Local => local.clone(),
                How::Created => created.clone(),
            });
        }
    }
}
