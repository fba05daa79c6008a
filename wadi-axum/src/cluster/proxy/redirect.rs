//! A client is told to go to its session's node with its request, where it will find its session there.
//!
//! Never twice in a row: the answer names that node in the route cookie, so who comes to a node that
//! its cookie names, or keeps no such cookie, is sent nowhere. Nothing was done with the request.

use std::fmt;
use std::time::Duration;

use axum::body::Body;
use http::header::{ACCEPT, CACHE_CONTROL, LOCATION, REFERER, SET_COOKIE};
use http::{HeaderName, HeaderValue, Method, Response, StatusCode};
use parking_lot::Mutex;
use wadi_core::member::Incarnation;
use wadi_core::relocate::Lately;
use wadi_core::session::SessionId;

use super::headers::has_word;
use super::load::{Answer, Load, Manner};
use crate::cluster::Cluster;
use crate::config::{CookieMode, WadiConfig};
use crate::public_url::{Believed, PublicUrl};
use crate::served::{How, Served};

const SEC_FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");

/// For how long a session's requests are redirected no second time by one node: a client may follow
/// and keep the cookies that it had.
const NOT_AGAIN_FOR: Duration = Duration::from_secs(5);
/// For how many sessions that is remembered.
const REMEMBERED: usize = 16 * 1024;

/// Whose requests were redirected lately, and whether their cookies travel over https only.
pub(crate) struct Redirected {
    lately: Mutex<Lately>,
    is_secure: bool,
}

impl Redirected {
    pub(crate) fn new(config: &WadiConfig) -> Self {
        Self {
            lately: Mutex::new(Lately::new(NOT_AGAIN_FOR, REMEMBERED)),
            is_secure: config.cookie() == CookieMode::Secure,
        }
    }
}

impl Cluster {
    /// Whether it is worth asking where this request could be redirected to.
    pub(crate) fn may_redirect(&self, load: &Load) -> bool {
        // A preflight must not be answered so, and a trace is about the way that it took.
        let is_odd = [Method::OPTIONS, Method::TRACE, Method::CONNECT].contains(load.method());
        !is_odd && load.manner() == Manner::Plain && self.route().is_wrong(load.headers())
    }

    /// Tells the client of this session to go to `holder`; `None` where the request does not allow it,
    /// or the client would not find its session there.
    pub(crate) async fn redirect(
        &self,
        load: &Load,
        id: SessionId,
        holder: Incarnation,
        served: &Served,
    ) -> Option<Answer> {
        let name = self.view()?.ready(holder)?;
        let url = self.public_url(holder).await?;
        let location = self.location(load, name.as_str(), &url)?;
        let route = self.route().set_to(name.as_str())?;
        let now = self.node().sessions().now();
        self.redirected.lately.lock().may(id, now).then_some(())?;
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::TEMPORARY_REDIRECT;
        let headers = response.headers_mut();
        headers.insert(LOCATION, location);
        headers.append(SET_COOKIE, route);
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        served.tell(headers, How::Redirected, 0);
        self.counts().redirected.one();
        Some(Answer(response))
    }

    fn location(&self, load: &Load, name: &str, url: &PublicUrl) -> Option<HeaderValue> {
        let headers = load.headers();
        let believed = Believed::of(load.received(), headers)?;
        let is_there = url.is(&believed);
        let knows = self.route().said(headers) == Some(name.as_bytes());
        let comes_with_its_cookies =
            url.shares_cookies_with(&believed) && (url.is_https() || !self.redirected.is_secure);
        // A script's request that goes on to another origin is cut off by its browser.
        let bound = match headers.get(SEC_FETCH_MODE).map(HeaderValue::as_bytes) {
            Some(mode) => [b"cors" as &[u8], b"same-origin"].contains(&mode),
            // Over plain http no browser says so: what a page asks for and is no page may be a script's.
            None => headers.contains_key(REFERER) && !has_word(headers, &ACCEPT, "text/html"),
        };
        let goes = comes_with_its_cookies && !(is_there && knows) && (is_there || !bound);
        goes.then(|| url.with(load.received()))?
    }
}

impl fmt::Debug for Redirected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Redirected")
    }
}
