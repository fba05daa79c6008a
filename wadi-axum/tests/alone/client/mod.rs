//! A small browser for tests: real sockets, one cookie, nothing hidden.

#![allow(dead_code, reason = "each test file uses its own part")]
#![allow(clippy::unwrap_used, reason = "a test fails so")]

use std::net::SocketAddr;
use std::sync::Mutex;

use bytes::Bytes;
use http::header::{COOKIE, SET_COOKIE};
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("the test's answers are text")
    }

    pub(crate) fn number(&self) -> u64 {
        let text = self.text();
        text.parse().unwrap_or_else(|_| panic!("{self:?}"))
    }

    /// `name=value` of the cookie that was set, if one was.
    pub(crate) fn cookie(&self) -> Option<String> {
        let set = self.headers.get(SET_COOKIE)?.to_str().ok()?;
        Some(set.split(';').next()?.to_owned())
    }
}

/// A client that keeps the last cookie it was given.
#[derive(Debug)]
pub(crate) struct Browser {
    client: Client<HttpConnector, Full<Bytes>>,
    node: SocketAddr,
    cookie: Mutex<Option<String>>,
}

impl Browser {
    pub(crate) fn new(node: SocketAddr) -> Self {
        Self {
            client: Client::builder(TokioExecutor::new()).build_http(),
            node,
            cookie: Mutex::new(None),
        }
    }

    /// The same cookie, for a second window.
    pub(crate) fn cookie(&self) -> Option<String> {
        self.cookie.lock().unwrap().clone()
    }

    pub(crate) fn set_cookie(&self, cookie: &str) {
        *self.cookie.lock().unwrap() = Some(cookie.to_owned());
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, "").await
    }

    pub(crate) async fn post(&self, path: &str) -> Answer {
        self.send(Method::POST, path, "").await
    }

    pub(crate) async fn send(&self, method: Method, path: &str, body: impl Into<Bytes>) -> Answer {
        let mut headers = HeaderMap::new();
        if let Some(cookie) = self.cookie() {
            headers.insert(COOKIE, HeaderValue::from_str(&cookie).unwrap());
        }
        let answer = self.send_with(method, path, headers, body).await;
        if let Some(cookie) = answer.cookie() {
            self.set_cookie(&cookie);
        }
        answer
    }

    /// Exactly these headers, whatever cookie is kept.
    pub(crate) async fn send_with(
        &self,
        method: Method,
        path: &str,
        headers: HeaderMap,
        body: impl Into<Bytes>,
    ) -> Answer {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("http://{}{path}", self.node))
            .body(Full::new(body.into()))
            .unwrap();
        request.headers_mut().extend(headers);
        let response = self.client.request(request).await.expect("an answer");
        let (head, body) = response.into_parts();
        Answer {
            status: head.status,
            headers: head.headers,
            body: body.collect().await.expect("a whole body").to_bytes(),
        }
    }
}
