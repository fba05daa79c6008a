//! A client that keeps the session cookie, and a layer whose clock the test moves.

#![allow(dead_code, reason = "each test file uses its own part")]
#![allow(unreachable_pub, reason = "each test file is a crate of its own")]

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use http::header::{COOKIE, SET_COOKIE};
use http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt;
use tower::ServiceExt;
use wadi_axum::cookie::{Cookie, SameSite};
use wadi_axum::{Limits, Settings, WadiLayer};
use wadi_core::clock::{Clock, ManualClock};
use wadi_core::lease::LeaseGate;
use wadi_core::session::{ClusterKey, Keyring, Sessions};

pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub text: String,
}

/// Keeps the last cookie that it was sent.
#[derive(Clone)]
pub struct Browser {
    app: Router,
    pub cookie: Option<String>,
}

impl Browser {
    pub fn new(app: &Router) -> Self {
        Self {
            app: app.clone(),
            cookie: None,
        }
    }

    pub async fn get(&mut self, path: &str) -> Answer {
        let answer = self.peek(path).await;
        if let Some(set) = answer.headers.get(SET_COOKIE) {
            let set = set.to_str().unwrap();
            let pair = set.split(';').next().unwrap().to_owned();
            self.cookie = (!set.contains("Max-Age=0")).then_some(pair);
        }
        answer
    }

    /// Like `get`, and forgets the answer's cookie.
    pub async fn peek(&self, path: &str) -> Answer {
        let mut request = Request::builder().uri(path);
        if let Some(cookie) = &self.cookie {
            request = request.header(COOKIE, cookie);
        }
        let request = request.body(Body::empty()).unwrap();
        let response = self.app.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        Answer {
            status: parts.status,
            headers: parts.headers,
            text: String::from_utf8(bytes.to_vec()).unwrap(),
        }
    }
}

pub struct Bench {
    pub wadi: WadiLayer,
    pub clock: Arc<ManualClock>,
    pub gate: Arc<LeaseGate>,
}

pub fn bench(limits: Limits) -> Bench {
    let clock = Arc::new(ManualClock::new());
    let gate = Arc::new(LeaseGate::solo());
    let sessions = Sessions::builder(Keyring::new(ClusterKey::random()))
        .limits(limits)
        .clock(Arc::clone(&clock) as Arc<dyn Clock>)
        .gate(Arc::clone(&gate))
        .build();
    let cookie = Cookie::plain("wadi", SameSite::Lax).unwrap();
    let wadi = WadiLayer::new(Settings::new(sessions, cookie));
    wadi.open();
    Bench { wadi, clock, gate }
}
