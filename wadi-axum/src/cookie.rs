//! The session cookie: finding presented ids in a request, and writing `Set-Cookie`.
//!
//! Whatever is not an id of ours is passed over without a word. No value is ever printed.

use std::fmt;
use std::time::Duration;

use http::header::COOKIE;
use http::{HeaderMap, HeaderValue};
use memchr::memchr;
use serde::{Deserialize, Serialize};
use wadi_core::session::{ID_TEXT_LEN, IdText, PresentedId};

/// How many well-formed ids of one request are looked at; browsers send one.
pub const MAX_PRESENTED: usize = 4;

/// How many bytes of one `Cookie` header are looked at.
const MAX_HEADER: usize = 16 * 1024;

/// Which requests of other sites carry the cookie.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SameSite {
    /// None of them, not even a link.
    Strict,
    /// Links that are followed. The default.
    #[default]
    Lax,
    /// All of them; browsers then require `Secure`.
    None,
}

/// What is wrong with a cookie's settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CookieError {
    /// The name is not one that browsers take.
    #[error("a cookie's name is 1 to 64 letters, digits, `-`, `_` or `.`")]
    Name,
    /// The name begins with `__Host-` or `__Secure-`, which say how a cookie is set.
    #[error("leave the prefix out of the cookie's name: a secure one has `__Host-` added")]
    Prefix,
}

/// How the session cookie is named and marked.
///
/// The prefix `__Host-` makes browsers refuse it from any other host, with any path or domain, or
/// over plain http.
#[derive(Clone, PartialEq, Eq)]
pub struct Cookie {
    name: String,
    attributes: String,
    plain: bool,
}

impl Cookie {
    /// `__Host-<name>; Path=/; Secure; HttpOnly; SameSite=…`.
    ///
    /// # Errors
    ///
    /// [`CookieError`].
    pub fn secure(name: &str, same_site: SameSite) -> Result<Self, CookieError> {
        Ok(Self::new(
            format!("__Host-{}", checked(name)?),
            false,
            same_site,
        ))
    }

    /// For plain http, on one's own machine: without `Secure`, and so under a name of its own,
    /// `<name>-plain`. With [`SameSite::None`] browsers will not take it.
    ///
    /// # Errors
    ///
    /// [`CookieError`].
    pub fn plain(name: &str, same_site: SameSite) -> Result<Self, CookieError> {
        Ok(Self::new(
            format!("{}-plain", checked(name)?),
            true,
            same_site,
        ))
    }

    fn new(name: String, plain: bool, same_site: SameSite) -> Self {
        let secure = if plain { "" } else { "; Secure" };
        let same_site = match same_site {
            SameSite::Strict => "Strict",
            SameSite::Lax => "Lax",
            SameSite::None => "None",
        };
        Self {
            name,
            attributes: format!("; Path=/{secure}; HttpOnly; SameSite={same_site}"),
            plain,
        }
    }

    /// Its full name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether it is the variant for plain http.
    #[must_use]
    pub const fn is_plain(&self) -> bool {
        self.plain
    }

    /// Calls `found` with each well-formed id in the request's cookies, until it says `true` or
    /// [`MAX_PRESENTED`] were seen.
    pub fn presented(&self, headers: &HeaderMap, mut found: impl FnMut(PresentedId) -> bool) {
        let mut left = MAX_PRESENTED;
        for header in headers.get_all(COOKIE) {
            let header = header.as_bytes();
            let mut rest = &header[..header.len().min(MAX_HEADER)];
            while !rest.is_empty() {
                let (text, after) = self.next(rest);
                rest = after;
                let Some(presented) = text.and_then(PresentedId::parse) else {
                    continue;
                };
                left -= 1;
                if found(presented) || left == 0 {
                    return;
                }
            }
        }
    }

    /// The value of the first pair of `cookies` if it is this cookie's, and the pairs after it.
    fn next<'a>(&self, cookies: &'a [u8]) -> (Option<&'a [u8]>, &'a [u8]) {
        let pair = cookies.trim_ascii_start();
        let value = pair
            .strip_prefix(self.name.as_bytes())
            .and_then(|rest| rest.strip_prefix(b"="));
        // Most often an id stands here, and then its length says where the pair ends.
        if let Some(value) = value
            && let Some((text, after)) = value.split_at_checked(ID_TEXT_LEN)
            && let [] | [b';', ..] = after
        {
            return (Some(text), after.get(1..).unwrap_or_default());
        }
        let end = memchr(b';', pair).unwrap_or(pair.len());
        let after = pair.get(end + 1..).unwrap_or_default();
        // Whatever stands before the end of the pair is too long or too short, but for spaces.
        let value = value.map(|value| value[..end - (pair.len() - value.len())].trim_ascii_end());
        (value, after)
    }

    /// The header that sets it. A part of a second counts as a whole one.
    #[must_use]
    pub fn set(&self, text: &IdText, max_age: Duration) -> HeaderValue {
        let whole = max_age
            .as_secs()
            .saturating_add(u64::from(max_age.subsec_nanos() > 0));
        self.header(text.expose(), whole)
    }

    /// The header that removes it.
    #[must_use]
    pub fn clear(&self) -> HeaderValue {
        self.header("", 0)
    }

    fn header(&self, text: &str, seconds: u64) -> HeaderValue {
        let name = &self.name;
        let attributes = &self.attributes;
        let header = format!("{name}={text}{attributes}; Max-Age={seconds}");
        let mut header =
            HeaderValue::try_from(header).expect("a checked name, base64 and fixed words");
        header.set_sensitive(true);
        header
    }
}

fn checked(name: &str) -> Result<&str, CookieError> {
    let taken = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if !(1..=64).contains(&name.len()) || !name.bytes().all(taken) {
        return Err(CookieError::Name);
    }
    let lower = name.to_ascii_lowercase();
    if lower.starts_with("__host-") || lower.starts_with("__secure-") {
        return Err(CookieError::Prefix);
    }
    Ok(name)
}

impl Default for Cookie {
    fn default() -> Self {
        Self::secure("wadi", SameSite::Lax).expect("the default name is a good one")
    }
}

impl fmt::Debug for Cookie {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cookie({}{})", self.name, self.attributes)
    }
}

#[cfg(test)]
mod tests {
    use wadi_core::session::{ClusterKey, Keyring, SessionId};

    use super::*;

    fn text(byte: u8) -> IdText {
        let key = ClusterKey::from_secret(&[7; 32]).unwrap();
        Keyring::new(key).text(&SessionId::from_parts([byte; 16], 1))
    }

    fn seen(header: &str) -> Vec<u8> {
        let mut headers = HeaderMap::new();
        headers.insert(COOKIE, HeaderValue::try_from(header).unwrap());
        let mut seen = Vec::new();
        Cookie::default().presented(&headers, |id| {
            seen.push(id.unverified().random()[0]);
            false
        });
        seen
    }

    #[test]
    fn the_cookie_is_found_among_others() {
        let text = text(1);
        let text = text.expose();
        assert_eq!(seen(&format!("__Host-wadi={text}")), [1]);
        assert_eq!(seen(&format!("a=b;  __Host-wadi={text} ;c")), [1]);
        assert_eq!(seen(&format!("x__Host-wadi={text}")), [0_u8; 0]);
        assert_eq!(seen(&format!("__Host-wadi2={text}")), [0_u8; 0]);
        assert_eq!(seen(&format!("__Host-wadi={text}A")), [0_u8; 0]);
        assert_eq!(seen("__Host-wadi=; =; ;;;__Host-wadi"), [0_u8; 0]);
    }

    #[test]
    fn few_duplicates_are_tried_and_rubbish_does_not_count() {
        let pairs: Vec<_> = (1..=9)
            .map(|n| format!("__Host-wadi=rubbish; __Host-wadi={}", text(n).expose()))
            .collect();
        assert_eq!(seen(&pairs.join("; ")), [1, 2, 3, 4]);
    }

    #[test]
    fn the_header_carries_every_mark() {
        let header = Cookie::default().set(&text(1), Duration::from_secs(1800));
        let expected = format!(
            "__Host-wadi={}; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age=1800",
            text(1).expose()
        );
        assert_eq!(header, expected);
        assert!(header.is_sensitive());
        let plain = Cookie::plain("app", SameSite::Strict).unwrap();
        assert_eq!(
            plain.clear(),
            "app-plain=; Path=/; HttpOnly; SameSite=Strict; Max-Age=0"
        );
        assert!(plain.is_plain() && !Cookie::default().is_plain());
    }

    #[test]
    fn bad_names_are_refused() {
        for name in ["", "a b", "a;b", "a=b", "é", &"x".repeat(65)] {
            assert_eq!(Cookie::plain(name, SameSite::Lax), Err(CookieError::Name));
        }
        for name in ["__Host-x", "__host-", "__SECURE-x"] {
            assert_eq!(Cookie::plain(name, SameSite::Lax), Err(CookieError::Prefix));
            assert_eq!(
                Cookie::secure(name, SameSite::Lax),
                Err(CookieError::Prefix)
            );
        }
    }

    #[test]
    fn a_part_of_a_second_counts_as_a_whole_one() {
        let header = Cookie::default().set(&text(1), Duration::from_millis(900));
        assert!(header.to_str().unwrap().ends_with("; Max-Age=1"));
    }
}
