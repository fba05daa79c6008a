//! Sending a request to another node, and what comes back.
//!
//! It is never sent twice from here: whether it may be is its sender's affair, who is told whether
//! anything was.

use std::error::Error;
use std::sync::Arc;

use axum::body::Body;
use http::{Response, StatusCode, Version};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use wadi_core::member::Incarnation;
use wadi_core::transport::Streams;

use super::headers;
use super::hop::{Verdict, Wants};
use super::load::{Answer, Load, Manner};
use super::pool::{NotConnected, over_http2};
use crate::cluster::Cluster;

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
        let response = match load.manner() {
            Manner::Plain => {
                let is_member = |who| view.is_member(who);
                let line = self.pool.line(&*streams, to, address, is_member).await;
                let Ok(mut line) = line else {
                    return Sent::Unsent;
                };
                match line.try_send_request(load.outgoing(wants, hops)).await {
                    Ok(response) => response,
                    Err(mut refused) => {
                        if let Some(request) = refused.take_message() {
                            load.restore(request.into_body());
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
            manner => match self
                .send_apart(&*streams, load, (to, address), manner, wants, hops)
                .await
            {
                Ok(Some(response)) => response,
                Ok(None) => return Sent::Failed,
                Err(NotConnected) => return Sent::Unsent,
            },
        };
        received(response, load)
    }

    /// Over a stream of its own, which may be used for something else afterwards.
    async fn send_apart(
        &self,
        streams: &dyn Streams,
        load: &mut Load,
        (to, address): (Incarnation, &str),
        manner: Manner,
        wants: Wants,
        hops: u8,
    ) -> Result<Option<Response<Incoming>>, NotConnected> {
        let stream = self.pool.stream(streams, to, address).await?;
        if manner == Manner::Tunnel {
            let mut sender = over_http2(stream).await.ok_or(NotConnected)?;
            // Whether the other side takes such requests is known when it has answered once.
            sender.ready().await.map_err(|_| NotConnected)?;
            return Ok(sender.send_request(load.outgoing(wants, hops)).await.ok());
        }
        let handshake = http1::handshake(TokioIo::new(stream)).await;
        let (mut sender, connection) = handshake.map_err(|_| NotConnected)?;
        tokio::spawn(async move {
            if let Err(error) = connection.with_upgrades().await {
                tracing::debug!(%error, "an upgraded connection to another node ended early");
            }
        });
        sender.ready().await.map_err(|_| NotConnected)?;
        Ok(sender.send_request(load.outgoing(wants, hops)).await.ok())
    }
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

fn received(mut response: Response<Incoming>, load: &mut Load) -> Sent {
    let follow = match Verdict::read(response.headers_mut()) {
        None => false,
        Some(Verdict::Follow) => true,
        Some(verdict) => return Sent::Refused(verdict),
    };
    let switches = response.status() == StatusCode::SWITCHING_PROTOCOLS
        || (load.manner() == Manner::Tunnel && response.status().is_success());
    if !switches {
        headers::take_off(response.headers_mut());
    } else if let Some(client) = load.take_upgrade() {
        let holder = hyper::upgrade::on(&mut response);
        tokio::spawn(join(client, holder));
    }
    *response.version_mut() = Version::HTTP_11;
    let answer = Answer(response.map(Body::new));
    Sent::Answered { answer, follow }
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
