//! What two nodes tell each other with a proxied request, beside the request itself.
//!
//! It travels as headers, on streams of the cluster alone: there they are read and taken off, and
//! nowhere else does anybody look at them, so a client's own headers of these names mean nothing.

use std::net::SocketAddr;

use http::{HeaderMap, HeaderName, HeaderValue, Uri, Version, uri};
use wadi_core::member::Incarnation;
use wadi_core::session::Origin;

const HOP: HeaderName = HeaderName::from_static("wadi-hop");
/// The path, the scheme and the authority, with [`NONE`] where there is none: not every URI of a
/// request can be written in one piece (`OPTIONS *` over HTTP/2).
const URI: HeaderName = HeaderName::from_static("wadi-hop-uri");
const PEER: HeaderName = HeaderName::from_static("wadi-hop-peer");
const VERDICT: HeaderName = HeaderName::from_static("wadi-hop-verdict");

/// Neither a path nor a scheme nor an authority.
const NONE: &str = "-";

/// No header can carry it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unwritable;

/// What whoever proxies a request wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wants {
    /// The request's session, and the request back where it is not there.
    Session,
    /// A node that can create a session.
    Any,
}

/// What goes with a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Hop {
    pub(crate) wants: Wants,
    /// How far the request has come then.
    pub(crate) hops: u8,
    /// As the client's connection had it.
    pub(crate) version: Version,
    /// As it was before any router changed it.
    pub(crate) uri: Uri,
    /// The client's address, where it is known.
    pub(crate) peer: Option<SocketAddr>,
}

impl Hop {
    pub(crate) fn write(&self, headers: &mut HeaderMap) -> Result<(), Unwritable> {
        take_off(headers);
        let wants = match self.wants {
            Wants::Session => "session",
            Wants::Any => "any",
        };
        let version = match self.version {
            Version::HTTP_09 => "0.9",
            Version::HTTP_10 => "1.0",
            Version::HTTP_2 => "2",
            Version::HTTP_3 => "3",
            _ => "1.1",
        };
        let mut put = |name, text: String| {
            let value = HeaderValue::try_from(text).map_err(|_| Unwritable)?;
            headers.insert(name, value);
            Ok(())
        };
        put(HOP, format!("{wants} {} {version}", self.hops))?;
        put(URI, written(&self.uri)?)?;
        if let Some(peer) = self.peer {
            put(PEER, peer.to_string())?;
        }
        Ok(())
    }

    /// Reads it and takes it off; `None` where it is not as another node writes it.
    pub(crate) fn read(headers: &mut HeaderMap) -> Option<Self> {
        let hop = Self::parse(headers);
        take_off(headers);
        hop
    }

    fn parse(headers: &HeaderMap) -> Option<Self> {
        let mut words = headers.get(HOP)?.to_str().ok()?.split(' ');
        let wants = match words.next()? {
            "session" => Wants::Session,
            "any" => Wants::Any,
            _ => return None,
        };
        let hops = words.next()?.parse().ok()?;
        let version = match words.next()? {
            "0.9" => Version::HTTP_09,
            "1.0" => Version::HTTP_10,
            "1.1" => Version::HTTP_11,
            "2" => Version::HTTP_2,
            "3" => Version::HTTP_3,
            _ => return None,
        };
        let peer = headers.get(PEER).and_then(|peer| peer.to_str().ok());
        Some(Self {
            wants,
            hops,
            version,
            uri: parsed(headers.get(URI)?.as_bytes())?,
            peer: peer.and_then(|peer| peer.parse().ok()),
        })
    }
}

/// A host may be called as what is not there is written; such a request goes nowhere.
fn written(uri: &Uri) -> Result<String, Unwritable> {
    let path = uri.path_and_query().map(uri::PathAndQuery::as_str);
    let authority = uri.authority().map(uri::Authority::as_str);
    if [path, authority].contains(&Some(NONE)) {
        return Err(Unwritable);
    }
    let [path, authority] = [path, authority].map(|part| part.unwrap_or(NONE));
    let scheme = uri.scheme_str().unwrap_or(NONE);
    Ok(format!("{path} {scheme} {authority}"))
}

fn parsed(text: &[u8]) -> Option<Uri> {
    let mut words = text.split(|byte| *byte == b' ');
    let mut next = || {
        words
            .next()
            .map(|word| (word != NONE.as_bytes()).then_some(word))
    };
    let (path, scheme, authority) = (next()?, next()?, next()?);
    let mut parts = uri::Parts::default();
    parts.path_and_query = path.map(TryFrom::try_from).transpose().ok()?;
    parts.scheme = scheme.map(TryFrom::try_from).transpose().ok()?;
    parts.authority = authority.map(TryFrom::try_from).transpose().ok()?;
    Uri::from_parts(parts).ok()
}

/// What goes with the response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The session keeps being asked for by way of the asker: it had better have it.
    Follow,
    /// Nothing was done: that member holds the session.
    At(Incarnation),
    /// Nothing was done: the session is nowhere, and so it was.
    Absent(Origin),
    /// Nothing was done: nobody could say.
    Unavailable,
    /// Nothing was done: the node may not act any more.
    Unable,
}

impl Verdict {
    /// Of a session that is not here. Where the request shows no id at all that is this node's to read,
    /// the two nodes see different requests, and nothing is known.
    pub(crate) const fn of_missing(origin: Origin) -> Self {
        match origin {
            Origin::New | Origin::Existing => Self::Unavailable,
            origin => Self::Absent(origin),
        }
    }

    pub(crate) fn write(verdict: Option<Self>, headers: &mut HeaderMap) {
        take_off(headers);
        let text = match verdict {
            None => return,
            Some(Self::Follow) => "follow".to_owned(),
            Some(Self::At(holder)) => format!("at {}", holder.get()),
            Some(Self::Absent(Origin::Expired)) => "absent expired".to_owned(),
            Some(Self::Absent(Origin::Destroyed)) => "absent destroyed".to_owned(),
            Some(Self::Absent(_)) => "absent lost".to_owned(),
            Some(Self::Unavailable) => "unavailable".to_owned(),
            Some(Self::Unable) => "unable".to_owned(),
        };
        let text = HeaderValue::try_from(text).expect("words and digits");
        headers.insert(VERDICT, text);
    }

    /// Reads it and takes it off. What a later version may say and this one does not know counts as
    /// "nobody could say".
    pub(crate) fn read(headers: &mut HeaderMap) -> Option<Self> {
        let verdict = headers.remove(VERDICT);
        // Also where it says nothing: none of them is the client's.
        take_off(headers);
        let verdict = verdict?;
        let text = verdict.to_str().unwrap_or_default();
        let holder = text.strip_prefix("at ").and_then(|id| id.parse().ok());
        Some(match (text, holder) {
            (_, Some(holder)) => Self::At(Incarnation::new(holder)),
            ("follow", _) => Self::Follow,
            ("unable", _) => Self::Unable,
            ("absent expired", _) => Self::Absent(Origin::Expired),
            ("absent destroyed", _) => Self::Absent(Origin::Destroyed),
            ("absent lost", _) => Self::Absent(Origin::Lost),
            _ => Self::Unavailable,
        })
    }
}

fn take_off(headers: &mut HeaderMap) {
    for name in [HOP, URI, PEER, VERDICT] {
        headers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_taken_off() {
        for (wants, version, peer) in [
            (Wants::Session, Version::HTTP_11, None),
            (
                Wants::Any,
                Version::HTTP_2,
                Some(([10, 0, 0, 1], 80).into()),
            ),
        ] {
            let hop = Hop {
                wants,
                hops: 2,
                version,
                uri: "/a/b?c=d".parse().unwrap(),
                peer,
            };
            // Whatever a client called so is gone.
            let forged = [(PEER, HeaderValue::from_static("6.6.6.6:6"))];
            let mut headers = HeaderMap::from_iter(forged);
            hop.write(&mut headers).unwrap();
            assert_eq!(Hop::read(&mut headers), Some(hop));
            assert!(headers.is_empty());
        }
        let forged = [(HOP, HeaderValue::from_static("session x"))];
        let mut headers = HeaderMap::from_iter(forged);
        assert_eq!(Hop::read(&mut headers), None);
        assert!(headers.is_empty());
    }

    #[test]
    fn every_uri_of_a_request_is_carried() {
        let asterisk = Uri::builder()
            .scheme("http")
            .authority("example.com:80")
            .path_and_query("*");
        let hop = |uri| Hop {
            wants: Wants::Session,
            hops: 1,
            version: Version::HTTP_2,
            uri,
            peer: None,
        };
        for uri in [
            asterisk.build().unwrap(),
            Uri::from_static("*"),
            Uri::from_static("example.com:80"),
            Uri::from_static("https://example.com/-?a=%20"),
            Uri::from_static("/\u{e9}?\u{e9}"),
        ] {
            let mut headers = HeaderMap::new();
            let hop = hop(uri);
            hop.write(&mut headers).unwrap();
            assert_eq!(Hop::read(&mut headers), Some(hop));
        }
        for ambiguous in ["-", "http://-/a"] {
            let hop = hop(ambiguous.parse().unwrap());
            assert_eq!(hop.write(&mut HeaderMap::new()), Err(Unwritable));
        }
    }

    #[test]
    fn a_verdict_is_read_as_it_was_written() {
        for verdict in [
            Verdict::Follow,
            Verdict::At(Incarnation::new(7)),
            Verdict::Absent(Origin::Lost),
            Verdict::Absent(Origin::Expired),
            Verdict::Absent(Origin::Destroyed),
            Verdict::Unavailable,
            Verdict::Unable,
        ] {
            let mut headers = HeaderMap::new();
            Verdict::write(Some(verdict), &mut headers);
            assert_eq!(Verdict::read(&mut headers), Some(verdict));
            assert!(headers.is_empty());
        }
        let mut headers = HeaderMap::from_iter([(VERDICT, HeaderValue::from_static("follow"))]);
        Verdict::write(None, &mut headers);
        assert_eq!(
            Verdict::read(&mut headers),
            None,
            "the application has no say in it"
        );
        let mut headers = HeaderMap::from_iter([(HOP, HeaderValue::from_static("any 1 2"))]);
        assert_eq!(Verdict::read(&mut headers), None);
        assert!(headers.is_empty(), "nothing of it comes to the client");
        let mut headers = HeaderMap::from_iter([(VERDICT, HeaderValue::from_static("?"))]);
        assert_eq!(Verdict::read(&mut headers), Some(Verdict::Unavailable));
    }
}
