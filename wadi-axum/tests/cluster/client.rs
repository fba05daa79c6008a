//! A client with a cookie jar, that sends its requests to whichever node the test says.

use std::collections::BTreeMap;

use axum::body::Body;
use http::header::{COOKIE, SET_COOKIE};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::BodyExt;
use parking_lot::Mutex;
use wadi_axum::testing::Node;
use wadi_core::session::{PresentedId, SessionId};

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) fn ok(self) -> String {
        assert_eq!(self.status, StatusCode::OK, "{self:?}");
        self.text
    }

    /// How it was served: the header `x-wadi`.
    pub(crate) fn how(&self) -> &str {
        assert_eq!(self.status, StatusCode::OK, "{self:?}");
        self.headers["x-wadi"].to_str().unwrap()
    }

    pub(crate) fn sets(&self, cookie: &str) -> bool {
        let set = self.headers.get_all(SET_COOKIE).iter();
        let mut names = set.map(|set| set.to_str().unwrap().split('=').next().unwrap());
        names.any(|name| name == cookie)
    }
}

/// Keeps every cookie that it is given.
#[derive(Default)]
pub(crate) struct Client {
    jar: Mutex<BTreeMap<String, String>>,
}

impl Client {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn cookie(&self, name: &str) -> Option<String> {
        self.jar.lock().get(name).cloned()
    }

    pub(crate) fn forget(&self, name: &str) {
        self.jar.lock().remove(name);
    }

    /// As if a node had said that another one served it last.
    pub(crate) fn set(&self, name: &str, value: &str) {
        self.jar.lock().insert(name.to_owned(), value.to_owned());
    }

    pub(crate) fn id(&self) -> SessionId {
        let text = self.cookie("wadi-plain").expect("it has a session");
        *PresentedId::parse(text.as_bytes()).unwrap().unverified()
    }

    pub(crate) fn cookies(&self) -> String {
        let jar = self.jar.lock();
        let pairs: Vec<_> = jar
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        pairs.join("; ")
    }

    pub(crate) async fn get(&self, node: &Node, path: &str) -> Answer {
        self.send(
            node,
            self.request(Method::GET, path).body(Body::empty()).unwrap(),
        )
        .await
    }

    pub(crate) async fn post(&self, node: &Node, path: &str, body: impl Into<Body>) -> Answer {
        self.send(
            node,
            self.request(Method::POST, path).body(body.into()).unwrap(),
        )
        .await
    }

    /// A request with this client's cookies.
    pub(crate) fn request(&self, method: Method, path: &str) -> http::request::Builder {
        let request = Request::builder().method(method).uri(path);
        let cookies = self.cookies();
        if cookies.is_empty() {
            request
        } else {
            request.header(COOKIE, cookies)
        }
    }

    pub(crate) async fn send(&self, node: &Node, request: Request<Body>) -> Answer {
        let response = self.open(node, request).await;
        let (head, body) = response.into_parts();
        let body = body.collect().await.expect("a whole body").to_bytes();
        Answer {
            status: head.status,
            headers: head.headers,
            text: String::from_utf8(body.to_vec()).unwrap(),
        }
    }

    /// The response's head, with its body still to come.
    pub(crate) async fn open(&self, node: &Node, request: Request<Body>) -> Response<Body> {
        let response = node.request(request).await;
        self.keep(response.headers());
        response
    }

    pub(crate) fn keep(&self, headers: &HeaderMap) {
        for set in headers.get_all(SET_COOKIE) {
            let set = set.to_str().unwrap();
            let (pair, attributes) = set.split_once(';').unwrap();
            let (name, value) = pair.split_once('=').unwrap();
            if attributes.contains("Max-Age=0") {
                self.forget(name);
            } else {
                self.set(name, value);
            }
        }
    }
}
