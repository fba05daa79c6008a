//! Sending a request to another node, and what comes back.
//!
//! It is never sent twice from here: whether it may be is its sender's affair, who is told whether
//! anything was.

use std::error::Error;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes};
use http::{Response, StatusCode, Version};
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use pin_project_lite::pin_project;
use wadi_core::member::Incarnation;
use wadi_core::node::Node;
use wadi_core::transport::Bytestream;

use super::headers;
use super::hop::{Verdict, Wants};
use super::load::{Answer, Load, Manner};
use super::pool::{NotConnected, Place, over_http2};
use crate::cluster::Cluster;

/// How long the answer to a request that wants a connection of its own may take: such a connection
/// is not asked whether anybody is there.
const HEAD_WITHIN: Duration = Duration::from_secs(30);
/// How often what became of a connection is compared with who is a member.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// What became of a request that was to be sent to another node.
pub(crate) enum Sent {
    /// It was served there; `follow` when its session had better come here.
    Answered { answer: Answer, follow: bool },
    /// Nothing was done there.
    Refused(Verdict),
    /// It was not sent, and is as it was.
    Unsent,
    /// It may have been executed, and there is no answer.
    Failed,
}

impl Cluster {
    /// Sends a request to that member and waits for the head of its response; dropping the future
    /// gives the request up there, too.
    pub(crate) async fn send(
        &self,
        load: &mut Load,
        to: Incarnation,
        wants: Wants,
        hops: u8,
    ) -> Sent {
        let Some((streams, view)) = self.streams().zip(self.view()) else {
            return Sent::Unsent;
        };
        let Some(address) = view.address(to) else {
            return Sent::Unsent;
        };
        let streams = Arc::clone(streams);
        self.counts.proxied_out.one();
        let is_member = |who| view.is_member(who);
        let (response, place) = match load.manner() {
            Manner::Plain => {
                let line = self.pool.line(&*streams, to, address, is_member).await;
                let Ok((mut line, place)) = line else {
                    return Sent::Unsent;
                };
                let Ok(outgoing) = load.outgoing(wants, hops) else {
                    return Sent::Unsent;
                };
                match line.try_send_request(outgoing).await {
                    Ok(response) => (response, Some(place)),
                    Err(mut refused) => {
                        if refused.take_message().is_some() {
                            return Sent::Unsent;
                        }
                        let error = refused.into_error();
                        tracing::debug!(?to, %error, "a proxied request has no answer");
                        return if was_not_processed(&error) {
                            Sent::Refused(Verdict::Unable)
                        } else {
                            Sent::Failed
                        };
                    }
                }
            }
            manner => {
                let stream = self.pool.stream(&*streams, to, address, is_member).await;
                let Ok(stream) = stream else {
                    return Sent::Unsent;
                };
                match send_apart(stream, load, manner, wants, hops).await {
                    Ok(Some(response)) => (response, None),
                    Ok(None) => return Sent::Failed,
                    Err(NotConnected) => return Sent::Unsent,
                }
            }
        };
        received(response, place, load, (&self.node, to))
    }
}

/// Over a stream of its own, which may be used for something else afterwards; `None` where there is no
/// answer.
async fn send_apart(
    stream: Box<dyn Bytestream>,
    load: &mut Load,
    manner: Manner,
    wants: Wants,
    hops: u8,
) -> Result<Option<Response<Incoming>>, NotConnected> {
    let mut outgoing = || load.outgoing(wants, hops).map_err(|_| NotConnected);
    let answered = if manner == Manner::Tunnel {
        let mut sender = over_http2(stream).await.ok_or(NotConnected)?;
        // Whether the other side takes such requests is known when it has answered once.
        sender.ready().await.map_err(|_| NotConnected)?;
        let outgoing = outgoing()?;
        tokio::time::timeout(HEAD_WITHIN, sender.send_request(outgoing)).await
    } else {
        let handshake = http1::handshake(TokioIo::new(stream)).await;
        let (mut sender, connection) = handshake.map_err(|_| NotConnected)?;
        tokio::spawn(async move {
            if let Err(error) = connection.with_upgrades().await {
                tracing::debug!(%error, "an upgraded connection to another node ended early");
            }
        });
        sender.ready().await.map_err(|_| NotConnected)?;
        let outgoing = outgoing()?;
        tokio::time::timeout(HEAD_WITHIN, sender.send_request(outgoing)).await
    };
    Ok(answered.ok().and_then(Result::ok))
}

/// Whether the other side said that it never looked at the request: its connection was on the way
/// out (RFC 9113, 6.8 and 8.7).
fn was_not_processed(error: &hyper::Error) -> bool {
    let source = error
        .source()
        .and_then(|error| error.downcast_ref::<h2::Error>());
    source.is_some_and(|error| {
        let is = |reason| error.is_remote() && error.reason() == Some(reason);
        (error.is_go_away() && is(h2::Reason::NO_ERROR))
            || (error.is_reset() && is(h2::Reason::REFUSED_STREAM))
    })
}

fn received(
    mut response: Response<Incoming>,
    place: Option<Place>,
    load: &mut Load,
    (node, from): (&Node, Incarnation),
) -> Sent {
    let follow = match Verdict::read(response.headers_mut()) {
        None => false,
        Some(Verdict::Follow) => true,
        Some(verdict) => return Sent::Refused(verdict),
    };
    load.is_served();
    let switches = response.status() == StatusCode::SWITCHING_PROTOCOLS
        || (load.manner() == Manner::Tunnel && response.status().is_success());
    if !switches {
        headers::take_off_with_named(response.headers_mut());
    } else if let Some(client) = load.take_upgrade() {
        let holder = hyper::upgrade::on(&mut response);
        let node = node.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = join(client, holder) => {}
                () = parted(node, from) => {}
            }
        });
    }
    *response.version_mut() = Version::HTTP_11;
    let answer = Answer(response.map(|body| {
        Body::new(Placed {
            body,
            _place: place,
        })
    }));
    Sent::Answered { answer, follow }
}

/// Until that node is no member any more.
async fn parted(node: Node, from: Incarnation) {
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let layout = node.status().layout;
        if layout.is_some_and(|layout| !layout.is_member(from)) {
            return;
        }
    }
}

pin_project! {
    /// A response's body, whose request has its place on a connection until it ends.
    struct Placed {
        #[pin]
        body: Incoming,
        _place: Option<Place>,
    }
}

impl http_body::Body for Placed {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        self.project().body.poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Carries bytes both ways until either side ends, or both have said that they send no more.
async fn join(client: OnUpgrade, holder: OnUpgrade) {
    if let (Ok(client), Ok(holder)) = tokio::join!(client, holder) {
        let (mut client, mut holder) = (TokioIo::new(client), TokioIo::new(holder));
        let carried = tokio::io::copy_bidirectional(&mut client, &mut holder).await;
        if let Err(error) = carried {
            tracing::debug!(%error, "a proxied connection ended early");
        }
    }
}
