//! `Cookie` headers as clients send them: several, malformed, oversized, with duplicates.
//!
//! Each line of the input is one header.

use std::sync::LazyLock;

use http::header::COOKIE;
use http::{HeaderMap, HeaderValue};
use wadi_axum::cookie::{Cookie, MAX_PRESENTED};
use wadi_core::session::{ClusterKey, Keyring, SessionId};

static RING: LazyLock<Keyring> = LazyLock::new(|| {
    Keyring::new(ClusterKey::from_secret(&[1; ClusterKey::MIN_BYTES]).expect("it is long enough"))
});

/// One input.
pub fn target(data: &[u8]) {
    let cookie = Cookie::default();
    let mut headers = HeaderMap::new();
    for line in data.split(|byte| *byte == b'\n') {
        if let Ok(value) = HeaderValue::from_bytes(line) {
            headers.append(COOKIE, value);
        }
    }

    let mut seen = 0;
    cookie.presented(&headers, |presented| {
        seen += 1;
        if let Some(id) = RING.verify(&presented) {
            let text = RING.text(&id);
            let text = text.expose().as_bytes();
            assert!(
                data.windows(text.len()).any(|window| window == text),
                "an id came out of nowhere"
            );
        }
        false
    });
    assert!(
        seen <= MAX_PRESENTED,
        "more ids were looked at than there may be"
    );

    // Whatever else a client sends, its own cookie is found: rubbish never hides it.
    if seen < MAX_PRESENTED {
        let id = SessionId::from_parts([7; 16], 7);
        let own = format!("{}={}", cookie.name(), RING.text(&id).expose());
        headers.append(
            COOKIE,
            HeaderValue::try_from(own).expect("a name and base64"),
        );
        let mut found = false;
        cookie.presented(&headers, |presented| {
            found = RING.verify(&presented) == Some(id);
            found
        });
        assert!(found, "a well-formed cookie was overlooked");
    }
}
