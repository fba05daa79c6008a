//! One client of the reference nodes: its cookies, and one attribute that it wrote. It asks whichever node
//! it is told to, as a client behind any balancer may be.

use std::net::SocketAddr;
use std::time::Duration;

use hyper::Method;

use crate::fleet::{Answer, Client, Trouble};
use crate::report::{Failure, Stopwatch};

const SESSION: &str = "wadi-plain";
const ROUTE: &str = "wadi-route";
const ATTRIBUTE: &str = "/attr/profile";

/// See the module. A clone is the same client in another tab.
#[derive(Clone, Debug, Default)]
pub(super) struct Patron {
    session: String,
    route: String,
}

impl Patron {
    /// Creates its session at this node, with an attribute of so many bytes.
    pub(super) async fn create(
        client: &Client,
        at: SocketAddr,
        bytes: usize,
        limit: Duration,
    ) -> Result<(Self, Answer), Failure> {
        let mut patron = Self::default();
        let put = (Method::PUT, ATTRIBUTE);
        let answer = client.ask(at, put, "", "x".repeat(bytes), limit).await;
        let answer = answer.map_err(|trouble| Failure::failed(format!("creating: {trouble}")))?;
        if !answer.status.is_success() {
            let status = answer.status;
            return Err(Failure::failed(format!("creating a session: {status}")));
        }
        patron.keep(&answer);
        Ok((patron, answer))
    }

    /// Reads its attribute at this node, with or without the cookie that names where its session was.
    pub(super) async fn read(
        &mut self,
        client: &Client,
        at: SocketAddr,
        hinted: bool,
        limit: Duration,
    ) -> Result<Answer, Trouble> {
        let get = (Method::GET, ATTRIBUTE);
        let header = self.header(hinted);
        let answer = client.ask(at, get, &header, String::new(), limit).await?;
        self.keep(&answer);
        Ok(answer)
    }

    /// The same; anything but its attribute is a failure. How long it took.
    pub(super) async fn reads(
        &mut self,
        client: &Client,
        at: SocketAddr,
        hinted: bool,
        limit: Duration,
    ) -> Result<(Answer, Duration), Failure> {
        let stopwatch = Stopwatch::start();
        let answer = self.read(client, at, hinted, limit).await;
        let took = stopwatch.read();
        match answer {
            Ok(answer) if answer.status.is_success() => Ok((answer, took)),
            Ok(answer) => Err(Failure::failed(format!("reading: {}", answer.status))),
            Err(trouble) => Err(Failure::failed(format!("reading: {trouble}"))),
        }
    }

    fn header(&self, hinted: bool) -> String {
        let Self { session, route } = self;
        match (session.is_empty(), hinted) {
            (true, _) => String::new(),
            (false, true) => format!("{SESSION}={session}; {ROUTE}={route}"),
            (false, false) => format!("{SESSION}={session}"),
        }
    }

    fn keep(&mut self, answer: &Answer) {
        for (name, value) in answer.cookies() {
            match name {
                SESSION => self.session = value.to_owned(),
                ROUTE => self.route = value.to_owned(),
                _ => {}
            }
        }
    }
}
