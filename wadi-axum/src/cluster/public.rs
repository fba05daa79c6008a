//! Where the others' clients reach them: asked once of each incarnation, over the cluster's streams.
//!
//! A node that has such a URL writes it on every stream of this kind and closes it; others take none. What
//! comes is read as if a stranger had written it.

use std::collections::HashMap;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use wadi_core::clock::Moment;
use wadi_core::member::Incarnation;

use super::Cluster;
use crate::lifecycle::{Lifecycle, Phase};
use crate::public_url::{LONGEST, PublicUrl};

/// Streams on which a node says where clients reach it.
const KIND: &str = "public-url";

/// How long it may take to be asked, and to be told.
const WITHIN: Duration = Duration::from_secs(1);
/// How long a node that did not say is not asked again.
const NOT_AGAIN_FOR: Duration = Duration::from_secs(10);

/// What is known of other nodes' public URLs.
#[derive(Debug, Default)]
pub(super) struct Known(Mutex<HashMap<Incarnation, Answer>>);

#[derive(Clone, Debug)]
enum Answer {
    At(PublicUrl),
    /// It did not say, or is being asked, and is not asked again before then.
    NotBefore(Moment),
}

impl Known {
    /// What is known; `None` where the caller is to ask, which nobody else does meanwhile.
    fn of(&self, who: Incarnation, now: Moment) -> Option<Answer> {
        let mut known = self.0.lock();
        match known.get(&who) {
            Some(Answer::NotBefore(moment)) if now >= *moment => {}
            Some(answer) => return Some(answer.clone()),
            None => {}
        }
        known.insert(who, Answer::NotBefore(now + WITHIN));
        None
    }

    fn is(&self, who: Incarnation, answer: Answer, is_member: impl Fn(Incarnation) -> bool) {
        let mut known = self.0.lock();
        known.retain(|who, _| is_member(*who));
        known.insert(who, answer);
    }
}

impl Cluster {
    /// Where that member's clients reach it; `None` where it has no such URL, or has not said so yet.
    pub(crate) async fn public_url(&self, of: Incarnation) -> Option<PublicUrl> {
        let now = || self.node.sessions().now();
        let url = match self.known.of(of, now()) {
            Some(Answer::At(url)) => return Some(url),
            Some(Answer::NotBefore(_)) => return None,
            None => tokio::time::timeout(WITHIN, self.ask(of))
                .await
                .ok()
                .flatten(),
        };
        let answer = match &url {
            Some(url) => Answer::At(url.clone()),
            None => Answer::NotBefore(now() + NOT_AGAIN_FOR),
        };
        let view = self.view();
        let is_member = |who| view.as_ref().is_some_and(|view| view.is_member(who));
        self.known.is(of, answer, is_member);
        url
    }

    async fn ask(&self, of: Incarnation) -> Option<PublicUrl> {
        let view = self.view()?;
        let streams = self.streams()?;
        let stream = streams.dial(of, view.address(of)?, KIND, WITHIN).await;
        let mut text = Vec::new();
        // One byte more shows that it is too long.
        let mut stream = stream.ok()?.take(LONGEST as u64 + 1);
        stream.read_to_end(&mut text).await.ok()?;
        PublicUrl::parse(std::str::from_utf8(&text).ok()?)
    }

    /// Says where this node's clients reach it, to whoever asks, until the node is closing.
    pub(crate) fn announce(&self, url: PublicUrl, lifecycle: &Lifecycle) {
        let Some(streams) = self.streams().cloned() else {
            return;
        };
        let closing = lifecycle.reached(Phase::Closing);
        tokio::spawn(async move {
            let tell = async {
                while let Some((_, mut stream)) = streams.accept(KIND).await {
                    // So little never waits for its reader.
                    let told = async {
                        stream.write_all(url.as_str().as_bytes()).await?;
                        stream.shutdown().await
                    };
                    let _ = tokio::time::timeout(WITHIN, told).await;
                }
            };
            tokio::select! {
                () = closing => {}
                () = tell => {}
            }
        });
    }
}
