//! A browser's way in: the balancer picks the node, the answer is read without knowing any inside.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use hyper::{Method, StatusCode};
use serde::Deserialize;

use super::check::{Asked, Event, Span, Told};
use super::ledger::Ledger;
use super::tally::{Cause, Failed};
use crate::fleet::{Answer, Balancer, Client};

/// The reference node's session cookie over plain HTTP.
pub(super) const SESSION_COOKIE: &str = "wadi-plain";
/// Longer than any node may take for anything.
const LIMIT: Duration = Duration::from_secs(15);

/// Shared by all browsers.
#[derive(Debug)]
pub(super) struct Door {
    pub(super) balancer: Arc<Balancer>,
    pub(super) client: Client,
    pub(super) ledger: Arc<Ledger>,
    /// Node names to indices.
    pub(super) nodes: BTreeMap<String, usize>,
}

/// One request, before it is sent.
#[derive(Clone, Debug)]
pub(super) struct Request {
    pub(super) asked: Asked,
    /// `browser.session`
    pub(super) session: String,
    /// The whole `Cookie` header, and the session's id in it, unless that has ended.
    pub(super) cookie: String,
    pub(super) id: Option<String>,
    /// The node to ask; none when none is ready.
    pub(super) to: Option<usize>,
}

/// One request and its answer, as its browser sees them.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) event: Event,
    /// Cookies that were set; empty where removed.
    pub(super) cookies: Vec<(String, String)>,
}

#[derive(Deserialize)]
struct Body {
    node: String,
    count: Option<u64>,
    list: Option<Vec<String>>,
    #[serde(default)]
    user: Option<String>,
}

impl Door {
    /// Asks once: nothing is sent again.
    pub(super) async fn ask(&self, request: Request) -> Reply {
        let began = self.ledger.now();
        let mut event = Event {
            asked: request.asked.clone(),
            told: Told::NotSent,
            span: Span {
                began,
                ended: began,
            },
            to: request.to.unwrap_or(usize::MAX),
            at: None,
        };
        let Some(to) = request.to else {
            self.failed(&request, event.span, Cause::NoNode, None);
            return Reply {
                event,
                cookies: Vec::new(),
            };
        };
        let (method, path, body) = line(&request);
        let address = self.balancer.address(to);
        let line = (method, path.as_str());
        let answer = self
            .client
            .ask(address, line, &request.cookie, body, LIMIT)
            .await;
        event.span.ended = self.ledger.now();
        let answer = match answer {
            Ok(answer) => answer,
            Err(trouble) => {
                if trouble != crate::fleet::Trouble::Refused {
                    event.told = Told::Unknown;
                }
                self.failed(&request, event.span, Cause::Trouble(trouble), None);
                return Reply {
                    event,
                    cookies: Vec::new(),
                };
            }
        };
        match read(&request, &answer) {
            Ok((told, node)) => {
                event.told = told;
                event.at = node.and_then(|node| self.nodes.get(&node).copied());
                let took = event.span.ended - began;
                let mut seen = self.ledger.seen();
                let x_wadi = answer.header("x-wadi");
                seen.tally.answered(x_wadi, took);
                seen.tally.was_slow(took, || {
                    let (asked, session) = (&request.asked, &request.session);
                    let (at, x_wadi) = (began.as_secs_f64(), x_wadi.unwrap_or("unsaid"));
                    format!(
                        "at {at:.3} s, asked of n{}: {asked:?} of session {session} ({x_wadi})",
                        to + 1
                    )
                });
            }
            Err(cause) => {
                event.told = Told::Unknown;
                self.failed(&request, event.span, cause, answer.header("x-wadi"));
            }
        }
        let cookies = answer.cookies();
        Reply {
            event,
            cookies: cookies
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect(),
        }
    }

    fn failed(&self, request: &Request, span: Span, cause: Cause, x_wadi: Option<&str>) {
        let said = x_wadi.map_or(String::new(), |said| format!(" ({said})"));
        self.ledger.seen().tally.failed.push(Failed {
            cause,
            span,
            to: request.to,
            session: request.session.clone(),
            of_ended: request.id.is_none() && !request.cookie.is_empty(),
            what: format!("{:?}{said}", request.asked),
        });
    }
}

/// Method, path and body.
fn line(request: &Request) -> (Method, String, String) {
    let session = &request.session;
    let (method, path, body) = match &request.asked {
        Asked::Increment => (Method::POST, "/counter".to_owned(), String::new()),
        Asked::Count => (Method::GET, "/counter".to_owned(), String::new()),
        Asked::Append { list, value } => {
            let value = format!("{session}.{value}");
            (Method::POST, format!("/list/l{list}"), value)
        }
        Asked::List { list } => (Method::GET, format!("/list/l{list}"), String::new()),
        Asked::Login => (Method::POST, "/login".to_owned(), user(session)),
        Asked::Me => (Method::GET, "/me".to_owned(), String::new()),
        Asked::Logout => (Method::POST, "/logout".to_owned(), String::new()),
    };
    (method, path, body)
}

/// A login's form.
fn user(session: &str) -> String {
    format!("user={session}")
}

/// What an answer tells, and which node's handler gave it.
fn read(request: &Request, answer: &Answer) -> Result<(Told, Option<String>), Cause> {
    if !answer.status.is_success() {
        return Err(Cause::Status(answer.status.as_u16()));
    }
    let said_created = answer
        .header("x-wadi")
        .is_some_and(|said| said.starts_with("created"));
    if answer.status == StatusCode::NO_CONTENT {
        return Ok((Told::Done, None));
    }
    let body: Body = serde_json::from_slice(&answer.body).map_err(|_| Cause::Unreadable)?;
    let told = match &request.asked {
        Asked::Increment | Asked::Count => body.count.map(Told::Count),
        Asked::Append { .. } | Asked::List { .. } => body.list.map(|list| {
            let own = |value: &String| {
                let value = value.strip_prefix(request.session.as_str())?;
                value.strip_prefix('.')?.parse().ok()
            };
            Told::List(list.iter().map(own).collect())
        }),
        Asked::Me => Some(Told::Me {
            logged_in: body.user.as_deref() == Some(request.session.as_str()),
        }),
        Asked::Login | Asked::Logout => Some(Told::Done),
    };
    let told = told.ok_or(Cause::Unreadable)?;
    let given = answer
        .cookies()
        .find(|(name, value)| *name == SESSION_COOKIE && !value.is_empty());
    let other_id = match (&request.id, given) {
        (Some(id), Some((_, given))) => request.asked != Asked::Login && id != given,
        _ => false,
    };
    if request.id.is_some() && (said_created || other_id) {
        return Ok((Told::Fresh, Some(body.node)));
    }
    Ok((told, Some(body.node)))
}

#[cfg(test)]
mod tests {
    use hyper::header::{HeaderMap, HeaderName, HeaderValue, SET_COOKIE};

    use super::*;

    fn request(asked: Asked) -> Request {
        Request {
            asked,
            session: "3.1".to_owned(),
            cookie: "wadi-plain=abc".to_owned(),
            id: Some("abc".to_owned()),
            to: Some(0),
        }
    }

    fn answer(x_wadi: &'static str, cookie: &'static str, body: &'static str) -> Answer {
        let mut headers = HeaderMap::new();
        let name = HeaderName::from_static("x-wadi");
        headers.insert(name, HeaderValue::from_static(x_wadi));
        if !cookie.is_empty() {
            headers.insert(SET_COOKIE, HeaderValue::from_static(cookie));
        }
        Answer {
            status: StatusCode::OK,
            headers,
            body: bytes::Bytes::from_static(body.as_bytes()),
        }
    }

    #[test]
    fn an_answer_is_read_as_what_it_is() {
        let count = answer("local; node=n1; hops=0", "", r#"{"count":4,"node":"n1"}"#);
        let read_count = read(&request(Asked::Increment), &count).expect("it is 200");
        assert_eq!(read_count, (Told::Count(4), Some("n1".to_owned())));
        let list = answer("local", "", r#"{"list":["3.1.7","9.1.7"],"node":"n2"}"#);
        let read_list = read(&request(Asked::List { list: 0 }), &list).expect("it is 200");
        assert_eq!(read_list.0, Told::List(vec![Some(7), None]));
        let unreadable = answer("local", "", "no JSON");
        assert!(read(&request(Asked::Count), &unreadable).is_err());
    }

    #[test]
    fn an_answer_of_another_session_is_fresh() {
        let body = r#"{"count":1,"node":"n1"}"#;
        let told = |answer: Answer, asked| read(&request(asked), &answer).expect("it is 200").0;
        let created = answer("created; node=n1; hops=0", "", body);
        assert_eq!(told(created, Asked::Increment), Told::Fresh);
        let other = answer("local", "wadi-plain=def; Path=/", body);
        assert_eq!(told(other, Asked::Increment), Told::Fresh);
        // The same id, kept for longer.
        let same = answer("local", "wadi-plain=abc; Path=/", body);
        assert_eq!(told(same, Asked::Increment), Told::Count(1));
        let login = answer(
            "local",
            "wadi-plain=def; Path=/",
            r#"{"user":"3.1","node":"n1"}"#,
        );
        assert_eq!(told(login, Asked::Login), Told::Done);
    }
}
