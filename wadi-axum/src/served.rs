//! The header `x-wadi`: how a request was served, for people who ask why.
//!
//! It is off unless configured, because it tells outsiders the node's name. It holds no id.

use std::borrow::Cow;

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::why::Why;

const X_WADI: HeaderName = HeaderName::from_static("x-wadi");

/// How a request was served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum How {
    /// Here, with a session that was here, or with none.
    Local,
    /// Here, and it created its session.
    Created,
    /// Here, where its session came out of a store for it.
    Promoted,
    /// Here, where its session came for it.
    Migrated,
    /// Here, where it came by way of another node.
    Proxied,
    /// Not at all: its client is to send it to another node.
    #[cfg(feature = "serve")]
    Redirected,
}

/// What a node's responses say of it; nothing where that is off. The common ones are written out once.
#[derive(Clone, Debug)]
pub(crate) struct Served(Option<Words>);

#[derive(Clone, Debug)]
struct Words {
    node: String,
    local: HeaderValue,
    created: HeaderValue,
}

impl Served {
    /// For a node of this name, which was checked.
    pub(crate) fn by(name: &str, said: bool) -> Self {
        Self(said.then(|| Words {
            node: name.to_owned(),
            local: words("local", name, 0),
            created: words("created", name, 0),
        }))
    }

    /// Says how, and after how many hops, unless something closer to the session has said it.
    pub(crate) fn tell(&self, headers: &mut HeaderMap, how: How, hops: u8) {
        if let Some(words) = &self.0 {
            headers
                .entry(X_WADI)
                .or_insert_with(|| words.of(how, hops).into_owned());
        }
    }

    /// Says that the request was refused, and why.
    pub(crate) fn refuse(&self, headers: &mut HeaderMap, why: Option<Why>) {
        let (Some(words), Some(why)) = (&self.0, why) else {
            return self.tell(headers, How::Local, 0);
        };
        let (node, why) = (&words.node, why.as_str());
        headers.entry(X_WADI).or_insert_with(|| {
            HeaderValue::try_from(format!("local; node={node}; hops=0; why={why}"))
                .expect("a checked name and fixed words")
        });
    }
}

impl Words {
    fn of(&self, how: How, hops: u8) -> Cow<'_, HeaderValue> {
        let how = match (how, hops) {
            (How::Local, 0) => return Cow::Borrowed(&self.local),
            (How::Created, 0) => return Cow::Borrowed(&self.created),
            (How::Local, _) => "local",
            (How::Created, _) => "created",
            (How::Promoted, _) => "promoted",
            (How::Migrated, _) => "migrated",
            (How::Proxied, _) => "proxied",
            #[cfg(feature = "serve")]
            (How::Redirected, _) => "redirected",
        };
        Cow::Owned(words(how, &self.node, hops))
    }
}

fn words(how: &str, node: &str, hops: u8) -> HeaderValue {
    HeaderValue::try_from(format!("{how}; node={node}; hops={hops}"))
        .expect("a checked name and fixed words")
}
