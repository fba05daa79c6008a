//! A request that may be sent to another node, and is kept as it is until it was.
//!
//! A body that is small is read first, so that it can be sent again; of any other what was read is
//! kept for a while, so that it can be taken back.

use std::any::{Any, TypeId};
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes};
use axum::extract::{ConnectInfo, OriginalUri};
use http::header::{CONNECTION, UPGRADE};
use http::request::Parts;
use http::{HeaderMap, Method, Request, StatusCode, Uri, Version};
use http_body::{Frame, SizeHint};
use http_body_util::{BodyExt, Limited};
use hyper::ext::Protocol;
use hyper::upgrade::OnUpgrade;

use super::headers;
use super::hop::{Hop, Unwritable, Wants};
use super::lent::Lendable;

/// A body up to this size is read before it is sent.
const SMALL: usize = 16 * 1024;

/// A request that may be sent to another node.
pub(crate) struct Load {
    parts: Parts,
    cargo: Cargo,
}

/// On a request: its URI before anything of the application has seen it.
#[derive(Clone, Debug)]
pub(crate) struct Received(pub(crate) Uri);

enum Cargo {
    /// All of it; it can be sent as often as one likes.
    Whole(Whole),
    /// It is read while it is sent, and can be taken back while not much of it was read.
    Stream(Lendable),
}

/// How a request wants its connection to be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Manner {
    /// As usual.
    Plain,
    /// Over HTTP/1.1, for something else afterwards.
    Upgrade,
    /// Over HTTP/2, one stream for something else (RFC 8441).
    Tunnel,
}

/// The client's body cannot be read.
#[derive(Debug)]
pub(crate) struct Unreadable;

impl Load {
    /// Takes a request that can be proxied, which is one whose body, and that of the response to it, are
    /// the ones that travel; else gives it back.
    pub(crate) fn take<Req: 'static, Res: 'static>(
        request: Request<Req>,
    ) -> (Option<Self>, Option<Request<Req>>) {
        let is_tunnel = request.extensions().get::<Protocol>().is_some();
        let is_odd = request.method() == Method::CONNECT && !is_tunnel;
        if is_odd || TypeId::of::<Res>() != TypeId::of::<Body>() {
            return (None, Some(request));
        }
        let (parts, body) = request.into_parts();
        match same::<Req, Body>(body) {
            Ok(body) => {
                let cargo = Cargo::Stream(Lendable::new(body));
                (Some(Self { parts, cargo }), None)
            }
            Err(body) => (None, Some(Request::from_parts(parts, body))),
        }
    }

    /// The request as it was; `None` when too much of its body was read.
    pub(crate) fn give_back<Req: 'static>(self) -> Option<Request<Req>> {
        let body = match self.cargo {
            Cargo::Whole(whole) => Body::new(whole),
            Cargo::Stream(body) if body.is_whole() => body.give(),
            Cargo::Stream(_) => return None,
        };
        let body = same::<Body, Req>(body).ok()?;
        Some(Request::from_parts(self.parts, body))
    }

    /// Reads the body if it is small; whether the request can be sent more than once.
    pub(crate) async fn can_be_repeated(&mut self) -> Result<bool, Unreadable> {
        let Cargo::Stream(body) = &self.cargo else {
            return Ok(true);
        };
        let is_small = |most| most <= SMALL as u64;
        if self.parts.extensions.get::<Protocol>().is_some() || !body.upper().is_some_and(is_small)
        {
            return Ok(false);
        }
        let collected = Limited::new(body.lend(), SMALL).collect().await;
        let collected = collected.map_err(|_| Unreadable)?;
        let trailers = collected.trailers().cloned();
        let data = collected.to_bytes();
        self.cargo = Cargo::Whole(Whole { data, trailers });
        Ok(true)
    }

    /// Whether too much of its body was read for it to be sent again.
    pub(crate) fn is_spent(&self) -> bool {
        match &self.cargo {
            Cargo::Whole(_) => false,
            Cargo::Stream(body) => !body.is_whole(),
        }
    }

    /// It was served where it was sent.
    pub(super) fn is_served(&mut self) {
        if let Cargo::Stream(body) = &self.cargo {
            body.let_go();
        }
    }

    pub(super) fn manner(&self) -> Manner {
        let headers = &self.parts.headers;
        if self.parts.extensions.get::<Protocol>().is_some() {
            Manner::Tunnel
        } else if self.parts.version == Version::HTTP_11
            && headers.contains_key(UPGRADE)
            && headers::has_word(headers, &CONNECTION, "upgrade")
        {
            Manner::Upgrade
        } else {
            Manner::Plain
        }
    }

    pub(super) const fn method(&self) -> &Method {
        &self.parts.method
    }

    pub(super) const fn headers(&self) -> &HeaderMap {
        &self.parts.headers
    }

    /// The request's URI, as it was before anything of the application changed it.
    pub(super) fn received(&self) -> &Uri {
        let extensions = &self.parts.extensions;
        let received = extensions.get::<Received>().map(|received| &received.0);
        let original = || extensions.get::<OriginalUri>().map(|original| &original.0);
        received.or_else(original).unwrap_or(&self.parts.uri)
    }

    /// The client's connection, to be used for something else once the response allows it.
    pub(super) fn take_upgrade(&mut self) -> Option<OnUpgrade> {
        self.parts.extensions.remove()
    }

    /// The request as it travels; its body is lent to it.
    pub(super) fn outgoing(&mut self, wants: Wants, hops: u8) -> Result<Request<Body>, Unwritable> {
        let manner = self.manner();
        let mut headers = self.parts.headers.clone();
        if manner != Manner::Upgrade {
            headers::take_off(&mut headers);
        }
        self.hop(wants, hops).write(&mut headers)?;
        let body = match &self.cargo {
            Cargo::Whole(whole) => Body::new(whole.clone()),
            Cargo::Stream(body) => Body::new(body.lend()),
        };
        let mut request = Request::new(body);
        *request.method_mut() = self.parts.method.clone();
        // Where it goes everybody knows, and what it asks for goes with the hop.
        *request.uri_mut() = match manner {
            Manner::Upgrade => Uri::from_static("/"),
            Manner::Plain | Manner::Tunnel => Uri::from_static("http://wadi/"),
        };
        *request.headers_mut() = headers;
        if let Some(protocol) = self.parts.extensions.get::<Protocol>() {
            request.extensions_mut().insert(protocol.clone());
        }
        Ok(request)
    }

    fn hop(&self, wants: Wants, hops: u8) -> Hop {
        let peer = self.parts.extensions.get::<ConnectInfo<SocketAddr>>();
        Hop {
            wants,
            hops,
            version: self.parts.version,
            uri: self.received().clone(),
            peer: peer.map(|peer| peer.0),
        }
    }
}

/// The same body, where the two types are the same one.
fn same<A: 'static, B: 'static>(body: A) -> Result<B, A> {
    let mut body = Some(body);
    let same = (&mut body as &mut dyn Any).downcast_mut::<Option<B>>();
    match same.and_then(Option::take) {
        Some(body) => Ok(body),
        None => Err(body.expect("it was not taken")),
    }
}

/// What is answered in the place of the request's own node, in the body type of its service.
pub(crate) struct Answer(pub(super) http::Response<Body>);

impl Answer {
    /// The client's own fault.
    pub(crate) fn unreadable() -> Self {
        let mut response = http::Response::new(Body::empty());
        *response.status_mut() = StatusCode::BAD_REQUEST;
        Self(response)
    }

    /// `None` where the body is not of the type that a [`Load`] was taken for.
    pub(crate) fn into_response<Res: 'static>(self) -> Option<http::Response<Res>> {
        let (parts, body) = self.0.into_parts();
        let body = same::<Body, Res>(body).ok()?;
        Some(http::Response::from_parts(parts, body))
    }
}

/// A body that was read.
#[derive(Clone, Debug)]
struct Whole {
    data: Bytes,
    trailers: Option<HeaderMap>,
}

impl http_body::Body for Whole {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let data = std::mem::take(&mut self.data);
        let frame = if data.is_empty() {
            self.trailers.take().map(Frame::trailers)
        } else {
            Some(Frame::data(data))
        };
        Poll::Ready(frame.map(Ok))
    }

    fn is_end_stream(&self) -> bool {
        self.data.is_empty() && self.trailers.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.data.len() as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_goes_with_the_uri_that_was_received() {
        let mut request = Request::new(Body::empty());
        *request.uri_mut() = Uri::from_static("/c");
        let uri = |request: &Request<Body>| {
            let mut again = Request::new(Body::empty());
            *again.uri_mut() = request.uri().clone();
            *again.extensions_mut() = request.extensions().clone();
            let load = Load::take::<Body, Body>(again).0.unwrap();
            load.hop(Wants::Session, 1).uri
        };
        assert_eq!(uri(&request), "/c");
        let original = OriginalUri(Uri::from_static("/b/c"));
        request.extensions_mut().insert(original);
        assert_eq!(uri(&request), "/b/c");
        let received = Received(Uri::from_static("/a/b/c"));
        request.extensions_mut().insert(received);
        assert_eq!(uri(&request), "/a/b/c");
    }
}
