//! The route cookie: the name of the node that served a client last.
//!
//! Balancers may read it, and a node that does not have a session asks the named one first. It holds
//! no secret and is believed in nothing: whatever it says, a session is found all the same.

use std::fmt;

use http::header::COOKIE;
use http::{HeaderMap, HeaderValue};

use crate::config::{CookieMode, SameSite, WadiConfig, is_node_name};

/// How many bytes of one `Cookie` header are looked at.
const MAX_HEADER: usize = 16 * 1024;

/// The cookie `<cookie_name>-route`.
pub(crate) struct Route {
    name: String,
    node: String,
    attributes: String,
    set: HeaderValue,
    clear: HeaderValue,
}

impl Route {
    pub(crate) fn new(config: &WadiConfig) -> Self {
        let name = format!("{}-route", config.cookie_name());
        let node = config.name();
        let secure = match config.cookie() {
            CookieMode::Secure => "; Secure",
            CookieMode::Plain => "",
        };
        let same_site = match config.same_site() {
            SameSite::Strict => "Strict",
            SameSite::Lax => "Lax",
            SameSite::None => "None",
        };
        let attributes = format!("; Path=/{secure}; HttpOnly; SameSite={same_site}");
        let header = |value: &str, end: &str| {
            HeaderValue::try_from(format!("{name}={value}{attributes}{end}"))
                .expect("checked names and fixed words")
        };
        Self {
            set: header(&node, ""),
            clear: header("", "; Max-Age=0"),
            name,
            node,
            attributes,
        }
    }

    /// The name of the node that served this client last, on the client's word alone.
    pub(crate) fn said<'a>(&self, headers: &'a HeaderMap) -> Option<&'a [u8]> {
        let pairs = headers.get_all(COOKIE).into_iter().flat_map(|header| {
            let header = header.as_bytes();
            header[..header.len().min(MAX_HEADER)].split(|byte| *byte == b';')
        });
        pairs
            .filter_map(|pair| {
                let pair = pair.trim_ascii();
                pair.strip_prefix(self.name.as_bytes())?.strip_prefix(b"=")
            })
            .next()
    }

    /// Whether the client believes that it is another node.
    pub(crate) fn is_wrong(&self, headers: &HeaderMap) -> bool {
        self.said(headers)
            .is_some_and(|node| node != self.node.as_bytes())
    }

    /// Whether the client does not know that it is this node.
    pub(crate) fn is_due(&self, headers: &HeaderMap) -> bool {
        self.said(headers) != Some(self.node.as_bytes())
    }

    pub(crate) fn set(&self) -> HeaderValue {
        self.set.clone()
    }

    /// Names another node to the client; `None` where that node's name is none that a node may have.
    pub(crate) fn set_to(&self, node: &str) -> Option<HeaderValue> {
        is_node_name(node).then_some(())?;
        HeaderValue::try_from(format!("{}={node}{}", self.name, self.attributes)).ok()
    }

    pub(crate) fn clear(&self) -> HeaderValue {
        self.clear.clone()
    }
}

impl fmt::Debug for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Route({}={})", self.name, self.node)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route() -> Route {
        let config = WadiConfig::builder().name("n1".to_owned());
        Route::new(&config.build().unwrap())
    }

    fn said(cookies: &'static str) -> Option<String> {
        let headers = HeaderMap::from_iter([(COOKIE, HeaderValue::from_static(cookies))]);
        let said = route().said(&headers)?.to_vec();
        Some(String::from_utf8(said).unwrap())
    }

    #[test]
    fn it_is_found_among_others() {
        let n2 = Some("n2".to_owned());
        assert_eq!(said("a=b; wadi-route=n2; __Host-wadi=x"), n2);
        assert_eq!(said("wadi-route=n2"), n2);
        assert_eq!(said("my-wadi-route=n2; wadi-router=n3; wadi-route"), None);
    }

    #[test]
    fn it_is_due_where_the_client_does_not_know() {
        let is_due = |cookies: &'static str| {
            route().is_due(&HeaderMap::from_iter([(
                COOKIE,
                HeaderValue::from_static(cookies),
            )]))
        };
        assert!(!is_due("wadi-route=n1"));
        assert!(is_due("wadi-route=n2"));
        assert!(is_due("a=b"));
        let is_wrong = |cookies: &'static str| {
            let cookies = HeaderValue::from_static(cookies);
            route().is_wrong(&HeaderMap::from_iter([(COOKIE, cookies)]))
        };
        assert!(is_wrong("wadi-route=n2"));
        assert!(!is_wrong("wadi-route=n1") && !is_wrong("a=b"));
        let set = route().set();
        assert_eq!(set, "wadi-route=n1; Path=/; Secure; HttpOnly; SameSite=Lax");
        let other = route().set_to("n2").unwrap();
        assert_eq!(
            other,
            "wadi-route=n2; Path=/; Secure; HttpOnly; SameSite=Lax"
        );
        for odd in [
            "",
            "n2; Domain=evil.com",
            "n2\r\nx: y",
            "é",
            &"n".repeat(64),
        ] {
            assert_eq!(route().set_to(odd), None);
        }
    }
}
