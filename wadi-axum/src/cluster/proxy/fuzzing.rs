//! What the fuzz target calls: all that is read of another node and of a client about where a request
//! goes, with what must hold.
//!
//! Only in test and fuzz builds. Each function takes any bytes and panics when a promise is broken.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use axum::body::{Body, Bytes};
use axum::extract::ConnectInfo;
use http::header::{CONNECTION, COOKIE, HOST, TE, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, Version, uri};
use http_body::{Body as _, Frame, SizeHint};

use super::hop::{Hop, Verdict, Wants};
use super::lent::{FRAMES, KEPT, Lendable, Lent};
use super::load::{Load, Manner, Received};
use super::take_off_hop_by_hop;
use crate::config::{WadiConfig, check_key_file};
use crate::public_url::{Believed, LONGEST, PublicUrl};
use crate::route::Route;

/// Headers, one a line, each `name: value`; what cannot be one is passed over.
fn headers(lines: &[u8]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for line in lines.split(|byte| *byte == b'\n') {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else {
            continue;
        };
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        let name = HeaderName::from_bytes(name);
        if let (Ok(name), Ok(value)) = (name, HeaderValue::from_bytes(value)) {
            headers.append(name, value);
        }
    }
    headers
}

fn is_ours(name: &HeaderName) -> bool {
    [
        "wadi-hop",
        "wadi-hop-uri",
        "wadi-hop-peer",
        "wadi-hop-verdict",
    ]
    .contains(&name.as_str())
}

fn assert_none_of_ours(headers: &HeaderMap) {
    let left = headers.keys().find(|name| is_ours(name));
    assert!(left.is_none(), "{left:?} goes on");
}

/// A request's head and a response's head as another node may send them: read or refused, and nothing
/// that is between the two nodes goes on to the application, or to the client.
pub fn from_a_member(head: &[u8]) {
    let given = headers(head);

    let mut of_request = given.clone();
    let hop = Hop::read(&mut of_request);
    assert_none_of_ours(&of_request);
    if let Some(hop) = hop {
        let before = of_request.clone();
        hop.write(&mut of_request).expect("it was read");
        assert_eq!(Hop::read(&mut of_request), Some(hop));
        assert_eq!(of_request, before);
    }

    let mut of_response = given;
    let verdict = Verdict::read(&mut of_response);
    assert_none_of_ours(&of_response);
    Verdict::write(verdict, &mut of_response);
    assert_eq!(Verdict::read(&mut of_response), verdict);
    assert_none_of_ours(&of_response);
    take_off_hop_by_hop(&mut of_response);
    for name in [CONNECTION, TRANSFER_ENCODING, UPGRADE] {
        assert!(!of_response.contains_key(&name), "{name} goes on");
    }
}

/// A request as a client may send it, on its way to another node: that one reads what this one
/// says, whatever the client calls the same, and everything else as the client has sent it.
/// The input: a byte, the URI in a line, and headers.
pub fn from_a_client(input: &[u8]) {
    let Some((kind, rest)) = input.split_first() else {
        return;
    };
    let mut lines = rest.splitn(2, |byte| *byte == b'\n');
    let uri = lines.next().and_then(|uri| Uri::try_from(uri).ok());
    let Some(uri) = uri else { return };
    let given = headers(lines.next().unwrap_or_default());

    let mut request = Request::new(Body::empty());
    *request.headers_mut() = given.clone();
    *request.method_mut() = if kind & 1 == 0 {
        Method::GET
    } else {
        Method::POST
    };
    *request.version_mut() = if kind & 2 == 0 {
        Version::HTTP_11
    } else {
        Version::HTTP_2
    };
    request.extensions_mut().insert(Received(uri.clone()));
    let peer = (kind & 4 != 0).then(|| ([10, 0, 0, 1], 80).into());
    if let Some(peer) = peer {
        request.extensions_mut().insert(ConnectInfo(peer));
    }
    let version = request.version();
    let mut load = Load::take::<Body, Body>(request)
        .0
        .expect("it can be proxied");
    let manner = load.manner();
    let wants = if kind & 8 == 0 {
        Wants::Session
    } else {
        Wants::Any
    };
    // What cannot be written is not sent.
    let Ok(outgoing) = load.outgoing(wants, 2) else {
        return;
    };
    let mut sent = outgoing.headers().clone();
    for name in [
        "wadi-hop",
        "wadi-hop-uri",
        "wadi-hop-peer",
        "wadi-hop-verdict",
    ] {
        assert!(sent.get_all(name).into_iter().count() <= 1, "{name}");
    }
    let hop = Hop {
        wants,
        hops: 2,
        version,
        uri,
        peer,
    };
    assert_eq!(Hop::read(&mut sent), Some(hop));

    let mut expected = HeaderMap::new();
    let about_the_connection = [
        CONNECTION.as_str(),
        "keep-alive",
        "proxy-connection",
        TE.as_str(),
        TRANSFER_ENCODING.as_str(),
        UPGRADE.as_str(),
    ];
    for (name, value) in &given {
        let stays_here = manner != Manner::Upgrade && about_the_connection.contains(&name.as_str());
        if !is_ours(name) && !stays_here {
            expected.append(name.clone(), value.clone());
        }
    }
    let trailers = sent.get(TE).cloned();
    if manner != Manner::Upgrade {
        sent.remove(TE);
        assert!(trailers.is_none_or(|te| te == "trailers"));
    }
    assert_eq!(sent, expected);
}

/// A `Cookie` header and a request's URI and `Host` from a client, and a URL from another node: where the
/// client is sent is said by that node, and by nobody else. The input: four lines.
pub fn where_to(input: &[u8]) {
    let mut lines = input.splitn(4, |byte| *byte == b'\n');
    let mut next = || lines.next().unwrap_or_default();
    let (cookies, uri, host, url) = (next(), next(), next(), next());
    let mut headers = HeaderMap::new();
    for (name, value) in [(COOKIE, cookies), (HOST, host)] {
        if let Ok(value) = HeaderValue::from_bytes(value) {
            headers.append(name, value);
        }
    }

    let config = WadiConfig::builder().name("n1".to_owned()).build();
    let route = Route::new(&config.expect("a good name"));
    let said = route.said(&headers).map(<[u8]>::to_vec);
    match &said {
        Some(said) => {
            assert!(!said.contains(&b';') && cookies.len() >= said.len());
            assert_eq!(route.is_wrong(&headers), said != b"n1");
            assert_eq!(route.is_due(&headers), said != b"n1");
        }
        None => {
            assert!(!route.is_wrong(&headers) && route.is_due(&headers));
            headers.append(COOKIE, HeaderValue::from_static("a=b; wadi-route=n7"));
            assert_eq!(route.said(&headers), Some(&b"n7"[..]), "it was overlooked");
        }
    }
    if let Some(said) = said.and_then(|said| String::from_utf8(said).ok())
        && let Some(set) = route.set_to(&said)
    {
        let set = set.to_str().expect("plain text");
        let marks = "; Path=/; Secure; HttpOnly; SameSite=Lax";
        assert_eq!(set, format!("wadi-route={said}{marks}"));
        assert!(!said.contains([';', ',', ' ', '=', '\r', '\n']));
    }

    let Some(url) = std::str::from_utf8(url).ok().and_then(PublicUrl::parse) else {
        return;
    };
    let text = url.as_str();
    assert!(text.len() <= LONGEST && text.is_ascii());
    assert_eq!(PublicUrl::parse(text).as_ref(), Some(&url));
    let (scheme, authority) = text.split_once("://").expect("it has a scheme");
    assert_eq!(scheme == "https", url.is_https());
    // As HTTP/1.1 and HTTP/2 have it.
    for uri in [Uri::try_from(uri).ok(), of_parts(uri)]
        .into_iter()
        .flatten()
    {
        if let Some(believed) = Believed::of(&uri, &headers) {
            assert!(!url.is(&believed) || url.shares_cookies_with(&believed));
        }
        let Some(location) = url.with(&uri) else {
            continue;
        };
        let location = location.to_str().expect("plain text");
        // As browsers read it, to whom a backslash is a slash.
        let rest = location.strip_prefix(scheme);
        let rest = rest.and_then(|rest| rest.strip_prefix("://"));
        let rest = rest.expect("the same scheme");
        let host = rest.split(['/', '\\', '?', '#']).next();
        assert_eq!(host, Some(authority), "{location}");
        let target = uri.path_and_query().expect("it has one");
        assert_eq!(&rest[authority.len()..], target.as_str());
    }
}

fn of_parts(path: &[u8]) -> Option<Uri> {
    let mut parts = uri::Parts::default();
    parts.scheme = Some(uri::Scheme::HTTP);
    parts.authority = Some(uri::Authority::from_static("evil.com"));
    parts.path_and_query = Some(path.try_into().ok()?);
    Uri::from_parts(parts).ok()
}

/// A body of these sizes, whose bytes count on.
struct Parts {
    sizes: VecDeque<usize>,
    given: usize,
}

impl Parts {
    fn byte(place: usize) -> u8 {
        (place % 251) as u8
    }
}

impl http_body::Body for Parts {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let Some(size) = self.sizes.pop_front() else {
            return Poll::Ready(None);
        };
        let data: Vec<u8> = (self.given..self.given + size).map(Self::byte).collect();
        self.given += size;
        Poll::Ready(Some(Ok(Frame::data(data.into()))))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.sizes.iter().sum::<usize>() as u64)
    }
}

/// Who has borrowed the body, and how far it has come.
struct Reader {
    lent: Lent,
    read: usize,
    turn: usize,
}

/// A client's body while it is lent, read, taken back and lent again: only the latest borrower reads, from
/// the beginning, and what is kept for that is bounded. The input: what is done, a byte each, and
/// the sizes of its frames.
pub fn a_body(input: &[u8]) {
    let (steps, sizes) = input.split_at(input.len().min(64) / 2);
    let sizes: VecDeque<usize> = sizes.iter().map(|size| usize::from(*size).pow(2)).collect();
    let (frames, all) = (sizes.len(), sizes.iter().sum::<usize>());
    let lendable = Lendable::new(Body::new(Parts { sizes, given: 0 }));
    let mut readers: Vec<Reader> = Vec::new();
    let (mut turn, mut most, mut let_go) = (0, 0, false);
    for step in steps {
        if step % 8 == 0 && lendable.is_whole() {
            turn += 1;
            let lent = lendable.lend();
            assert_eq!(lent.size_hint().exact(), Some(all as u64));
            readers.push(Reader {
                lent,
                read: 0,
                turn,
            });
        } else if step % 8 == 1 && readers.len() > 1 {
            readers.remove(usize::from(*step) % readers.len());
        } else if step % 8 == 2 && step / 8 % 4 == 0 {
            let_go = true;
            lendable.let_go();
        } else if !readers.is_empty() {
            let who = usize::from(step / 8) % readers.len();
            let is_latest = readers[who].turn == turn;
            readers[who].reads(is_latest);
            if is_latest {
                most = most.max(readers[who].read);
            }
        }
        let (bytes, kept) = lendable.kept();
        assert!(bytes <= KEPT && kept <= FRAMES, "{bytes} bytes are kept");
        let too_much = most > KEPT || frames > FRAMES;
        assert!(lendable.is_whole() || let_go || too_much);
    }
    if lendable.is_whole() {
        let mut last = Reader {
            lent: lendable.lend(),
            read: 0,
            turn: 0,
        };
        while last.reads(true) {}
        assert_eq!(last.read, all, "it comes back whole");
    }
}

impl Reader {
    /// One frame; whether there was one.
    fn reads(&mut self, is_latest: bool) -> bool {
        let context = &mut Context::from_waker(Waker::noop());
        let Poll::Ready(frame) = Pin::new(&mut self.lent).poll_frame(context) else {
            panic!("the body never waits");
        };
        match frame {
            Some(Err(_)) => {
                assert!(!is_latest, "who has it reads it");
                false
            }
            Some(Ok(frame)) => {
                assert!(is_latest, "it was taken back");
                let data = frame.into_data().unwrap_or_default();
                for byte in &data {
                    assert_eq!(*byte, Parts::byte(self.read));
                    self.read += 1;
                }
                true
            }
            None => {
                assert!(is_latest, "it was taken back");
                false
            }
        }
    }
}

/// The cluster's key file as it may be on disc.
pub fn a_key_file(bytes: &[u8]) {
    if let Ok(text) = std::str::from_utf8(bytes) {
        check_key_file(text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_target_begins_with_holds() {
        from_a_member(b"wadi-hop: session 1 1.1\nwadi-hop-uri: /a http example.com\nwadi-hop-peer: 1.2.3.4:5\nx: y");
        from_a_member(b"wadi-hop-verdict: at 7\nconnection: close, x\nx: y\nwadi-hop: 1");
        from_a_member(b"wadi-hop: any 1 2\nx: y");
        from_a_client(b"\x04/a?b\nwadi-hop-peer: 6.6.6.6:6\nte: trailers\nhost: a");
        from_a_client(b"\x00*\nconnection: upgrade\nupgrade: websocket\nwadi-hop: any 0 2");
        where_to(
            b"a=b; wadi-route=n2\n//evil.com/\\\nn1.example.com\nhttps://n1.example.com:8443/",
        );
        where_to(b"\nhttp://evil.com/a\n\nhttp://[::1]");
        a_key_file(b"# none\n\n 0123456789abcdef0123456789abcdef \nshort");
        a_body(&[0, 3, 3, 0, 11, 3, 0, 4, 255, 255, 1, 0, 9]);
        a_body(&[0, 3, 3, 3, 2, 0, 3, 3, 255, 255, 255, 255, 1, 0]);
    }
}
