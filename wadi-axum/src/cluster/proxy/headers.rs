//! Headers that are about one connection, and so go no further (RFC 9110, 7.6.1).

use http::header::{CONNECTION, TE, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderMap, HeaderName, HeaderValue};

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");

/// Takes them off a response, and whatever the application's `Connection` names.
pub(crate) fn take_off_with_named(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .into_iter()
        .filter_map(|list| list.to_str().ok())
        .flat_map(|list| list.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in named {
        headers.remove(name);
    }
    take_off(headers);
}

/// Takes them off a request, but for the wish to have trailers. What a client's `Connection` names
/// stays: the application is to see it as it would have without another node between, and no
/// client says what other nodes, or layers outside the session's, have put there.
pub(super) fn take_off(headers: &mut HeaderMap) {
    let wants_trailers = has_word(headers, &TE, "trailers");
    for name in [
        CONNECTION,
        KEEP_ALIVE,
        PROXY_CONNECTION,
        TE,
        TRANSFER_ENCODING,
        UPGRADE,
    ] {
        headers.remove(name);
    }
    if wants_trailers {
        headers.insert(TE, HeaderValue::from_static("trailers"));
    }
}

/// Whether the comma-separated list has this word.
pub(crate) fn has_word(headers: &HeaderMap, list: &HeaderName, word: &str) -> bool {
    let mut lists = headers.get_all(list).into_iter();
    lists.any(|list| {
        let list = list.to_str().unwrap_or_default();
        list.split(',')
            .any(|given| given.trim().eq_ignore_ascii_case(word))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_about_the_connection_goes() {
        let given = [
            ("connection", "close, X-Mine"),
            ("x-mine", "1"),
            ("keep-alive", "timeout=5"),
            ("te", "gzip, trailers"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "h2c"),
            ("x-theirs", "2"),
        ];
        let mut headers: HeaderMap = given
            .into_iter()
            .map(|(name, value)| {
                (
                    HeaderName::from_static(name),
                    HeaderValue::from_static(value),
                )
            })
            .collect();
        let left = |headers: &HeaderMap| {
            let mut left: Vec<_> = headers.keys().map(|name| name.to_string()).collect();
            left.sort_unstable();
            left
        };
        let mut of_request = headers.clone();
        take_off(&mut of_request);
        assert_eq!(left(&of_request), ["te", "x-mine", "x-theirs"]);
        assert_eq!(of_request[TE], "trailers");
        take_off_with_named(&mut headers);
        assert_eq!(left(&headers), ["te", "x-theirs"]);
    }
}
