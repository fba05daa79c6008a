//! Where clients reach a node, and whether a request may be sent there by its client.
//!
//! What clients are told comes from nodes' configurations alone; of a request only its path and query are
//! written, as they came. What a request says of itself is compared, and can only keep it here.

use std::fmt;
use std::net::Ipv6Addr;

use http::uri::Authority;

/// How long one is at most.
pub(crate) const LONGEST: usize = 300;

/// The beginning of a node's URLs: a scheme, a host and perhaps a port.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct PublicUrl {
    /// Without a slash at its end.
    text: String,
    authority: Authority,
    is_https: bool,
}

impl PublicUrl {
    /// `None` where it is anything else, or longer than [`LONGEST`].
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let text = text.strip_suffix('/').unwrap_or(text);
        let (is_https, authority) = match text.split_once("://")? {
            ("https", authority) => (true, authority),
            ("http", authority) => (false, authority),
            _ => return None,
        };
        let authority: Authority = authority.parse().ok()?;
        let host = authority.host();
        // Neither a name with a password, nor a port that is none.
        let whole = match authority.port_u16() {
            Some(port) => format!("{host}:{port}"),
            None => host.to_owned(),
        };
        let is_good = whole == authority.as_str() && is_host(host) && text.len() <= LONGEST;
        is_good.then(|| Self {
            text: text.to_owned(),
            authority,
            is_https,
        })
    }

    #[cfg(any(test, feature = "serve"))]
    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether browsers send a cookie there that is marked as secure.
    pub(crate) const fn is_https(&self) -> bool {
        self.is_https
    }
}

fn is_host(host: &str) -> bool {
    if let Some(literal) = host.strip_prefix('[') {
        let literal = literal.strip_suffix(']');
        return literal.is_some_and(|literal| literal.parse::<Ipv6Addr>().is_ok());
    }
    let letter = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    !host.is_empty() && host.bytes().all(letter)
}

impl fmt::Debug for PublicUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(feature = "serve")]
mod of_requests {
    use http::{HeaderMap, HeaderValue, Uri, header};

    use super::{Authority, PublicUrl};

    /// Where a client believes that it has sent a request to.
    #[derive(Clone, Debug)]
    pub(crate) struct Believed(Authority);

    impl Believed {
        /// By the request's URI as it was received, else by its header `Host` (RFC 9112, 3.2.2).
        pub(crate) fn of(uri: &Uri, headers: &HeaderMap) -> Option<Self> {
            if let Some(authority) = uri.authority() {
                return Some(Self(authority.clone()));
            }
            let mut hosts = headers.get_all(header::HOST).into_iter();
            match (hosts.next(), hosts.next()) {
                (Some(host), None) => Authority::try_from(host.as_bytes()).ok().map(Self),
                _ => None,
            }
        }
    }

    impl PublicUrl {
        /// Whether cookies that a client shows there are shown here, too: they go by the host, and
        /// by no port (RFC 6265, 8.5).
        pub(crate) fn shares_cookies_with(&self, believed: &Believed) -> bool {
            self.authority
                .host()
                .eq_ignore_ascii_case(believed.0.host())
        }

        /// Whether the client believes that it is there already.
        pub(crate) fn is(&self, believed: &Believed) -> bool {
            let usual = if self.is_https { 443 } else { 80 };
            let port = |authority: &Authority| authority.port_u16().unwrap_or(usual);
            self.shares_cookies_with(believed) && port(&self.authority) == port(&believed.0)
        }

        /// This path and query here; `None` where they are not those of a URL that everybody reads
        /// in the same way.
        pub(crate) fn with(&self, uri: &Uri) -> Option<HeaderValue> {
            let target = uri.path_and_query()?.as_str();
            let is_plain = target.starts_with('/') && target.bytes().all(|c| c.is_ascii_graphic());
            is_plain.then_some(())?;
            HeaderValue::try_from(format!("{}{target}", self.text)).ok()
        }
    }
}

#[cfg(feature = "serve")]
pub(crate) use of_requests::Believed;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_scheme_a_host_and_a_port_are_taken() {
        for good in [
            "https://n1.example.com",
            "http://10.0.0.1:8080",
            "https://[::1]:8443",
            "https://app_1.example.com:1",
        ] {
            let url = PublicUrl::parse(good).unwrap();
            assert_eq!(url.as_str(), good);
            assert_eq!(url.is_https(), good.starts_with("https"));
            assert_eq!(PublicUrl::parse(&format!("{good}/")), Some(url));
        }
        let long = format!("https://{}", "a".repeat(LONGEST));
        for bad in [
            "",
            "n1",
            "n1:80",
            "//n1",
            "ftp://n1",
            "HTTPS://n1",
            "https://",
            "https:///",
            "https://n1//",
            "https://n1/a",
            "https://n1?",
            "https://n1/?a",
            "https://n1#a",
            "https://a@n1",
            "https://a:b@n1",
            "https://n1:",
            "https://n1:x",
            "https://n1:70000",
            "https://n1:080",
            "https://n 1",
            "https://n1\\evil",
            "https://n1\r\nx: y",
            "https://[::1",
            "https://é",
            "https://n1,n2",
            &long,
        ] {
            assert_eq!(PublicUrl::parse(bad), None, "{bad:?}");
        }
    }
}

#[cfg(all(test, feature = "serve"))]
mod tests_of_requests {
    use http::{HeaderMap, Uri, header};

    use super::*;

    fn url(text: &str) -> PublicUrl {
        PublicUrl::parse(text).expect("it is one")
    }

    #[test]
    fn only_the_path_and_the_query_of_a_request_are_written() {
        let n1 = url("https://n1.example.com:8443/");
        let with = |uri: &str| {
            let uri: Uri = uri.parse().unwrap();
            let location = n1.with(&uri)?;
            Some(location.to_str().unwrap().to_owned())
        };
        let at_n1 = |rest: &str| Some(format!("https://n1.example.com:8443{rest}"));
        assert_eq!(with("/a/b?c=%0d%0a&d"), at_n1("/a/b?c=%0d%0a&d"));
        assert_eq!(with("//evil.com/x"), at_n1("//evil.com/x"));
        assert_eq!(with("/\\evil.com"), at_n1("/\\evil.com"));
        assert_eq!(with("http://evil.com/a?b"), at_n1("/a?b"));
        assert_eq!(with("http://evil.com"), at_n1("/"));
        // As HTTP/2 may have it.
        for path in [".evil.com/", "@evil.com", "443/"] {
            let odd = Uri::builder().scheme("http").authority("n1.example.com");
            let odd = odd.path_and_query(path).build();
            assert_eq!(odd.ok().and_then(|odd| n1.with(&odd)), None, "{path}");
        }
        for nowhere in ["*", "evil.com:80", "http://evil.com?a", "/é"] {
            assert_eq!(with(nowhere), None, "{nowhere}");
        }
    }

    #[test]
    fn cookies_go_by_the_host_that_the_client_believes_in() {
        let n1 = url("http://Example.com:8081");
        let believed = |uri: &str, hosts: &[&str]| {
            let uri: Uri = uri.parse().unwrap();
            let hosts = hosts.iter().map(|host| host.parse().unwrap());
            let headers: HeaderMap = hosts.map(|host| (header::HOST, host)).collect();
            Believed::of(&uri, &headers)
        };
        let seen = |uri: &str, hosts: &[&str]| {
            let believed = believed(uri, hosts)?;
            Some((n1.shares_cookies_with(&believed), n1.is(&believed)))
        };
        assert_eq!(seen("/", &["example.com:8080"]), Some((true, false)));
        assert_eq!(seen("/", &["example.COM:8081"]), Some((true, true)));
        assert_eq!(seen("/", &["example.com"]), Some((true, false)));
        assert_eq!(seen("/", &["n1.example.com:8081"]), Some((false, false)));
        assert_eq!(
            seen("http://evil.com/", &["example.com"]),
            Some((false, false))
        );
        for nobody in [&[] as &[&str], &["a", "a"], &["a b"], &[""]] {
            assert_eq!(seen("/", nobody), None, "{nobody:?}");
        }
        let usual = url("https://example.com");
        assert!(usual.is(&believed("/", &["example.com:443"]).unwrap()));
        assert!(!usual.is(&believed("/", &["example.com:80"]).unwrap()));
    }
}
