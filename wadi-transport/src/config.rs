//! What an endpoint is told at its start, and the bounds that it keeps.
//!
//! Every wait and every queue of this crate has its limit here.

use std::net::SocketAddr;
use std::time::Duration;

use wadi_core::bucket::BucketCount;
use wadi_core::member::NodeName;

use crate::handshake::Versions;
use crate::outgoing::Room;
use crate::peer::{Cluster, Membership, is_plain};
use crate::security::Security;

/// Who the node is, where it listens, and whom it lets in.
#[derive(Clone, Debug)]
pub struct Config {
    /// The cluster; nodes of others are refused.
    pub cluster: Cluster,
    /// The node's name: 1 to 255 bytes without control characters.
    pub node: NodeName,
    /// Its place with the authority at the start; [`crate::Endpoint::join`] changes it.
    pub membership: Membership,
    /// Where it listens; port 0 picks a free one.
    pub bind: SocketAddr,
    /// Where others reach it, as host and port; port 0 stands for the one it listens at. Without it,
    /// the address it listens at, which must then not be `0.0.0.0` or `::`.
    pub advertise: Option<String>,
    /// How connections are authenticated and encrypted.
    pub security: Security,
    /// Whether a refused connection to another host proves that who listened there has ended, once an
    /// authenticated connection to it had been open. Only where nothing between nodes refuses for a node
    /// that lives: no proxy, no balancer, no firewall that resets.
    pub trusts_refusals: bool,
    /// Times, sizes and numbers that are not exceeded.
    pub limits: Limits,
    /// The versions it speaks. Narrower than [`Versions::SUPPORTED`] only to hold a new build back
    /// to what the old ones speak.
    pub versions: Versions,
}

/// Times, sizes and numbers that an endpoint does not exceed.
#[derive(Clone, Debug)]
pub struct Limits {
    /// The longest message, encoded. Default 16 MiB. The same on all nodes: a longer one is refused
    /// where it is sent, and ends the connection where it is received.
    pub frame_bytes: usize,
    /// From the first byte of a connection to the end of its handshake; for who dials, from the
    /// look-up of the name. Default 5 s.
    pub handshake: Duration,
    /// Connections that are in their handshake. When there are as many, a further one gets the place
    /// of the oldest of those that come from the same address as most do. Default 256.
    pub handshakes: usize,
    /// Accepted connections, streams included; further ones are refused with a reason. Streams of
    /// members leave a quarter of them to messages and questions. Default 1024.
    pub connections: usize,
    /// Links to other nodes. Default 1024.
    pub links: usize,
    /// Messages that wait in one link: so many of up to 512 bytes, encoded, and so many larger ones.
    /// Default 16,384.
    pub queue_messages: usize,
    /// Bytes that wait in one link, of each of the two sorts, besides what is being written; at least
    /// `frame_bytes`. Default 32 MiB.
    pub queue_bytes: usize,
    /// Received messages that wait for the node, of all peers together; when there are as many,
    /// nothing more is read from the sockets. Default 1024.
    pub incoming_messages: usize,
    /// Their bytes; at least `frame_bytes`. Default 64 MiB.
    pub incoming_bytes: usize,
    /// Accepted streams of one kind that wait to be taken; further ones are refused. Default 64.
    pub streams: usize,
    /// The longest question, and the longest answer to one. Default 3 MiB, above what the authority
    /// among nodes says at a time. The same on all nodes.
    pub question_bytes: usize,
    /// Streams for questions to one address, each for one question at a time; further questions wait.
    /// Default 16.
    pub questions_each: usize,
    /// Such streams in all; at least `questions_each`. Default 256.
    pub questions: usize,
    /// How long such a stream is kept without a question; the other side keeps it three times as
    /// long, so about the same on all nodes. Default 10 s.
    pub question_idle: Duration,
    /// How long the answer to a question may take here; it is for whoever asks to wait less long.
    /// Default 30 s.
    pub answer: Duration,
    /// How often a quiet connection for messages shows that its end is alive. Default 2 s.
    pub sign_of_life: Duration,
    /// How long the next message, or sign of life, may take to come in full before a connection for
    /// messages is given up; at least twice the `sign_of_life` of all nodes. Default 8 s.
    pub silence: Duration,
    /// How long one write may take, of up to 64 KiB. Default 8 s.
    pub write: Duration,
    /// The wait before a link dials again, doubled after each failure. Default 50 ms.
    pub retry_first: Duration,
    /// The longest such wait. Each is shortened by up to half at random. Default 2 s.
    pub retry_longest: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            frame_bytes: 16 << 20,
            handshake: Duration::from_secs(5),
            handshakes: 256,
            connections: 1024,
            links: 1024,
            queue_messages: 16_384,
            queue_bytes: 32 << 20,
            incoming_messages: 1024,
            incoming_bytes: 64 << 20,
            streams: 64,
            question_bytes: 3 << 20,
            questions_each: 16,
            questions: 256,
            question_idle: Duration::from_secs(10),
            answer: Duration::from_secs(30),
            sign_of_life: Duration::from_secs(2),
            silence: Duration::from_secs(8),
            write: Duration::from_secs(8),
            retry_first: Duration::from_millis(50),
            retry_longest: Duration::from_secs(2),
        }
    }
}

/// A configuration that cannot work. Nothing was opened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// A text that other nodes would refuse.
    #[error("{what} {value:?} must have 1 to 255 bytes and no control characters")]
    Text {
        /// Which text.
        what: &'static str,
        /// What it is.
        value: String,
    },
    /// The versions are none, or not such as this build speaks.
    #[error("versions {0} are not within {supported}, which this build speaks", supported = Versions::SUPPORTED)]
    Versions(Versions),
    /// A limit that would let nothing through.
    #[error("{0} must not be 0")]
    Zero(&'static str),
    /// Two limits that do not go together.
    #[error("{greater} must be at least {than}")]
    Order {
        /// The limit that is too low.
        greater: &'static str,
        /// What it must reach.
        than: &'static str,
    },
    /// A limit that is higher than can be counted.
    #[error("{0} must not be over 1 GiB or 1,000,000")]
    TooHigh(&'static str),
}

const MOST_BYTES: usize = 1 << 30;
const MOST: usize = 1_000_000;

impl Config {
    /// A node of the cluster `name` with the default limits and number of buckets, on loopback at a
    /// free port and without a key: for tests and for first steps.
    #[must_use]
    pub fn on_loopback(name: &str, node: &str) -> Self {
        Self {
            cluster: Cluster {
                name: name.to_owned(),
                buckets: BucketCount::DEFAULT,
            },
            node: NodeName::new(node),
            membership: Membership::default(),
            bind: SocketAddr::from(([127, 0, 0, 1], 0)),
            advertise: None,
            security: Security::Loopback,
            trusts_refusals: false,
            limits: Limits::default(),
            versions: Versions::SUPPORTED,
        }
    }

    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        let texts = [
            ("the cluster's name", self.cluster.name.as_str()),
            ("the node's name", self.node.as_str()),
            (
                "the advertised address",
                self.advertise.as_deref().unwrap_or("none"),
            ),
        ];
        if let Some((what, value)) = texts.into_iter().find(|(_, value)| !is_plain(value)) {
            let value = value.to_owned();
            return Err(ConfigError::Text { what, value });
        }
        let (speaks, can) = (self.versions, Versions::SUPPORTED);
        if speaks.min > speaks.max || speaks.min < can.min || speaks.max > can.max {
            return Err(ConfigError::Versions(speaks));
        }
        self.limits.check()
    }
}

impl Limits {
    /// What may wait in one link.
    pub(crate) fn room(&self) -> Room {
        Room {
            frame_bytes: self.frame_bytes,
            messages: self.queue_messages,
            bytes: self.queue_bytes,
        }
    }

    fn check(&self) -> Result<(), ConfigError> {
        let bytes = [
            ("frame_bytes", self.frame_bytes),
            ("queue_bytes", self.queue_bytes),
            ("incoming_bytes", self.incoming_bytes),
            ("question_bytes", self.question_bytes),
        ];
        let numbers = [
            ("handshakes", self.handshakes),
            ("connections", self.connections),
            ("links", self.links),
            ("queue_messages", self.queue_messages),
            ("incoming_messages", self.incoming_messages),
            ("streams", self.streams),
            ("questions_each", self.questions_each),
            ("questions", self.questions),
        ];
        let times = [
            ("handshake", self.handshake),
            ("sign_of_life", self.sign_of_life),
            ("silence", self.silence),
            ("write", self.write),
            ("retry_first", self.retry_first),
            ("question_idle", self.question_idle),
            ("answer", self.answer),
        ];
        let none = |(name, number): &(&'static str, usize)| (*number == 0).then_some(*name);
        let zero = bytes.iter().chain(&numbers).find_map(none);
        let zero = zero.or_else(|| {
            times
                .iter()
                .find(|time| time.1.is_zero())
                .map(|time| time.0)
        });
        if let Some(name) = zero {
            return Err(ConfigError::Zero(name));
        }
        let high = |most: usize| move |limit: &&(&'static str, usize)| limit.1 > most;
        let too_high = bytes.iter().find(high(MOST_BYTES));
        if let Some((name, _)) = too_high.or_else(|| numbers.iter().find(high(MOST))) {
            return Err(ConfigError::TooHigh(name));
        }
        let orders = [
            (
                self.questions >= self.questions_each,
                "questions",
                "questions_each",
            ),
            (
                self.queue_bytes >= self.frame_bytes,
                "queue_bytes",
                "frame_bytes",
            ),
            (
                self.incoming_bytes >= self.frame_bytes,
                "incoming_bytes",
                "frame_bytes",
            ),
            (
                self.silence >= self.sign_of_life * 2,
                "silence",
                "twice sign_of_life",
            ),
            (
                self.retry_longest >= self.retry_first,
                "retry_longest",
                "retry_first",
            ),
        ];
        match orders.into_iter().find(|(holds, _, _)| !holds) {
            Some((_, greater, than)) => Err(ConfigError::Order { greater, than }),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_go_together() {
        assert_eq!(Config::on_loopback("shop", "n1").check(), Ok(()));
    }

    #[test]
    fn what_cannot_work_is_named() {
        let limits = |change: fn(&mut Limits)| {
            let mut config = Config::on_loopback("shop", "n1");
            change(&mut config.limits);
            config.check().unwrap_err().to_string()
        };
        let told = limits(|limits| limits.queue_bytes = 1);
        assert_eq!(told, "queue_bytes must be at least frame_bytes");
        let told = limits(|limits| limits.silence = limits.sign_of_life);
        assert_eq!(told, "silence must be at least twice sign_of_life");
        assert_eq!(limits(|limits| limits.links = 0), "links must not be 0");
        let told = limits(|limits| limits.frame_bytes = usize::MAX);
        assert!(told.starts_with("frame_bytes must not be over"), "{told}");
        assert!(Config::on_loopback("", "n1").check().is_err());
        assert!(Config::on_loopback("shop", "n\n1").check().is_err());
        let mut config = Config::on_loopback("shop", "n1");
        config.versions.max += 1;
        assert!(matches!(config.check(), Err(ConfigError::Versions(_))));
    }
}
