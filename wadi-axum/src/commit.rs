//! A request's way out: the second look at the lease, and the cookie where it is due.
//!
//! A response that carries a session's cookie is one client's own, and caches are told so.

use http::header::{CACHE_CONTROL, SET_COOKIE, VARY};
use http::{HeaderMap, HeaderName, HeaderValue, Response};
use wadi_core::session::{CookieChange, Origin, SessionError, Visit};

use crate::before_head::Unsettled;
use crate::cluster::Cluster;
use crate::rejection::unavailable;
use crate::served::How;
use crate::shared::Shared;
use crate::way::Way;

/// What the response says about the session's cookie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    Nothing,
    Set,
    Cleared,
    /// The response is a 503.
    Refused,
}

/// Ends the visit with this response head; a head that may not go out becomes a 503. `more_hops` were
/// taken since the handler was done, and the store was waited for where it is `copied`.
pub(crate) fn commit<B: Default>(
    visit: &Visit,
    response: &mut Response<B>,
    way: Option<&Way>,
    more_hops: u8,
    copied: bool,
    shared: &Shared,
) -> Result<(), Unsettled> {
    if let Some(tier) = &shared.tier
        && !copied
        && tier.holds_answers()
        && visit.session().is_some_and(|held| tier.lacks_copy(&held))
    {
        return Err(Unsettled::Uncopied);
    }
    let headers = response.headers_mut();
    let (mut how, hops) = way.map_or((How::Local, 0), |way| (way.how, way.hops));
    let hops = hops.saturating_add(more_hops);
    let (told, cookie) = match visit.commit_where(|| !is_for_everybody(headers)) {
        Ok(CookieChange::Keep) => (Told::Nothing, None),
        Ok(CookieChange::Set {
            text,
            max_age,
            created,
        }) => {
            if created {
                how = How::Created;
            }
            (Told::Set, Some(shared.cookie.set(&text, max_age)))
        }
        Ok(CookieChange::Clear) => (Told::Cleared, Some(shared.cookie.clear())),
        Err(SessionError::Unregistered) => return Err(Unsettled::Unregistered),
        Err(SessionError::Unconfirmed) => return Err(Unsettled::Unconfirmed),
        Err(_) => {
            *response = unavailable();
            (Told::Refused, None)
        }
    };
    let headers = response.headers_mut();
    shared.node.served.tell(headers, how, hops);
    if let Some(cookie) = cookie {
        headers.append(SET_COOKIE, cookie);
        keep_from_caches(headers);
    }
    if let Some(cluster) = &shared.cluster {
        if how == How::Created {
            cluster.counts().created.one();
        }
        in_cluster(cluster, headers, visit, way, told);
    }
    Ok(())
}

/// Tells the client which node serves it, where it does not know; and the node by which the request
/// came, how its session is used.
fn in_cluster(
    cluster: &Cluster,
    headers: &mut HeaderMap,
    visit: &Visit,
    way: Option<&Way>,
    told: Told,
) {
    let is_stray = way.is_some_and(|way| way.restick) && visit.origin() == Origin::Existing;
    match told {
        Told::Set => {
            headers.append(SET_COOKIE, cluster.route().set());
        }
        Told::Cleared => {
            headers.append(SET_COOKIE, cluster.route().clear());
        }
        Told::Nothing if is_stray && !is_for_everybody(headers) => {
            headers.append(SET_COOKIE, cluster.route().set());
            keep_from_caches(headers);
        }
        Told::Nothing | Told::Refused => {}
    }
    if let Some(way) = way {
        way.served(cluster);
    }
}

/// Whether `list`'s comma-separated words have one for which `wanted` holds, without its argument.
fn has(headers: &HeaderMap, list: HeaderName, wanted: impl Fn(&str) -> bool) -> bool {
    headers.get_all(list).iter().any(|header| {
        let text = header.to_str().unwrap_or_default();
        text.split(',')
            .any(|word| wanted(word.split('=').next().unwrap_or_default().trim()))
    })
}

/// Whether the application lets caches give this response to anybody.
fn is_for_everybody(headers: &HeaderMap) -> bool {
    has(headers, CACHE_CONTROL, |word| {
        word.eq_ignore_ascii_case("public") || word.eq_ignore_ascii_case("s-maxage")
    })
}

/// Says that the cookie on this response is for nobody else (RFC 9111, 5.2.2.4 and 5.2.2.7).
fn keep_from_caches(headers: &mut HeaderMap) {
    if !headers.contains_key(CACHE_CONTROL) {
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("private"));
    } else if !has(headers, CACHE_CONTROL, |word| {
        word.eq_ignore_ascii_case("no-store")
    }) {
        let unless_asked = HeaderValue::from_static("no-cache=\"set-cookie\"");
        headers.append(CACHE_CONTROL, unless_asked);
    }
    if !has(headers, VARY, |word| {
        word == "*" || word.eq_ignore_ascii_case("cookie")
    }) {
        headers.append(VARY, HeaderValue::from_static("cookie"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(given: &[(HeaderName, &'static str)]) -> (Vec<String>, Vec<String>) {
        let given = given.iter().cloned();
        let mut headers: HeaderMap = given
            .map(|(name, value)| (name, HeaderValue::from_static(value)))
            .collect();
        keep_from_caches(&mut headers);
        let all = |name| {
            let values = headers.get_all(name).iter();
            values
                .map(|value: &HeaderValue| value.to_str().unwrap().to_owned())
                .collect()
        };
        (all(CACHE_CONTROL), all(VARY))
    }

    #[test]
    fn a_cookie_is_kept_from_caches() {
        let only = |text: &str| vec![text.to_owned()];
        assert_eq!(kept(&[]), (only("private"), only("cookie")));
        let (control, vary) = kept(&[
            (CACHE_CONTROL, "Public, max-age=9"),
            (VARY, "Accept, Cookie"),
        ]);
        assert_eq!(control, ["Public, max-age=9", "no-cache=\"set-cookie\""]);
        assert_eq!(vary, ["Accept, Cookie"]);
        let (control, vary) = kept(&[(CACHE_CONTROL, "no-store"), (VARY, "accept")]);
        assert_eq!(control, ["no-store"]);
        assert_eq!(vary, ["accept", "cookie"]);
    }

    #[test]
    fn who_a_response_is_for() {
        for (text, everybody) in [
            ("public", true),
            ("max-age=1,S-MaxAge=60", true),
            ("max-age=60", false),
            ("private, x=\"public\"", false),
        ] {
            let headers = [(CACHE_CONTROL, HeaderValue::from_static(text))];
            assert_eq!(
                is_for_everybody(&HeaderMap::from_iter(headers)),
                everybody,
                "{text}"
            );
        }
    }
}
