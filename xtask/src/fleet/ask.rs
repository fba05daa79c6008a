//! Asks over HTTP, as a browser behind a balancer does: connections are kept, and every request is bounded.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::header::{CONTENT_TYPE, COOKIE, HeaderMap, HeaderValue, SET_COOKIE};
use hyper::{Method, Request, StatusCode};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

/// Asks any number of nodes; a clone shares the connections.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    inner: legacy::Client<HttpConnector, Full<Bytes>>,
}

/// A whole answer.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Trouble {
    /// No connection could be made, so nothing was sent.
    Refused,
    /// The connection ended before the answer did.
    Broken,
    /// There was no answer in time.
    TimedOut,
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Refused => "connection refused",
            Self::Broken => "connection broken",
            Self::TimedOut => "no answer in time",
        })
    }
}

impl Client {
    pub(crate) fn new() -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(Duration::from_secs(2)));
        let mut builder = legacy::Client::builder(TokioExecutor::new());
        builder.pool_idle_timeout(Duration::from_secs(20));
        builder.pool_max_idle_per_host(256);
        Self {
            inner: builder.build(connector),
        }
    }

    pub(crate) async fn get(
        &self,
        address: SocketAddr,
        path: &str,
        limit: Duration,
    ) -> Result<Answer, Trouble> {
        self.ask(address, (Method::GET, path), "", String::new(), limit)
            .await
    }

    /// Asks with this `Cookie` header, where it is not empty. A body is that of a form.
    pub(crate) async fn ask(
        &self,
        address: SocketAddr,
        (method, path): (Method, &str),
        cookie: &str,
        body: String,
        limit: Duration,
    ) -> Result<Answer, Trouble> {
        let mut request = Request::new(Full::new(Bytes::from(body)));
        *request.method_mut() = method;
        *request.uri_mut() = format!("http://{address}{path}")
            .parse()
            .expect("an address and a path of ours");
        let kind = HeaderValue::from_static("application/x-www-form-urlencoded");
        request.headers_mut().insert(CONTENT_TYPE, kind);
        if !cookie.is_empty() {
            let cookie = cookie.parse().map_err(|_| Trouble::Refused)?;
            request.headers_mut().insert(COOKIE, cookie);
        }
        let whole = async {
            let response = self.inner.request(request).await.map_err(|error| {
                if error.is_connect() {
                    Trouble::Refused
                } else {
                    Trouble::Broken
                }
            })?;
            let (head, body) = response.into_parts();
            let body = body.collect().await.map_err(|_| Trouble::Broken)?;
            Ok(Answer {
                status: head.status,
                headers: head.headers,
                body: body.to_bytes(),
            })
        };
        let answer = tokio::time::timeout(limit, whole).await;
        answer.unwrap_or(Err(Trouble::TimedOut))
    }
}

impl Answer {
    /// `name=value` of each cookie that is set; the value is empty where one is removed.
    pub(crate) fn cookies(&self) -> impl Iterator<Item = (&str, &str)> {
        let set = self.headers.get_all(SET_COOKIE).iter();
        set.filter_map(|set| {
            let mut parts = set.to_str().ok()?.split(';').map(str::trim);
            let (name, value) = parts.next()?.split_once('=')?;
            let removed = parts.any(|part| part.eq_ignore_ascii_case("max-age=0"));
            Some((name, if removed { "" } else { value }))
        })
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cookies_are_read_as_browsers_do() {
        let mut headers = HeaderMap::new();
        for set in [
            "a=1; Path=/; HttpOnly",
            "b=2; Path=/; Max-Age=0",
            "no cookie",
        ] {
            headers.append(SET_COOKIE, HeaderValue::from_static(set));
        }
        let answer = Answer {
            status: StatusCode::OK,
            headers,
            body: Bytes::new(),
        };
        let cookies: Vec<_> = answer.cookies().collect();
        assert_eq!(cookies, [("a", "1"), ("b", "")]);
    }
}
