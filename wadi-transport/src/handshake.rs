//! The first two frames of a connection: what the dialler says, and what the acceptor answers.
//!
//! Only text and bytes here; nothing waits, and nothing is believed before it is checked. These two
//! frames are read by every version, so fields are only ever added, and a missing one is an error.

use bytes::Bytes;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Serialize};
use wadi_core::bucket::BucketCount;
use wadi_core::member::Incarnation;

use crate::frame::{self, FrameError};
use crate::peer::{Cluster, Membership, Peer, is_plain};

/// The longest frame of a handshake, in bytes.
pub const LIMIT: usize = 4096;

/// What a handshake's frame begins with: a name, and the format of the rest.
const MAGIC: &[u8] = b"WADI\x01";

/// The versions of the protocol that a node speaks, from the lowest to the highest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Versions {
    /// The lowest.
    pub min: u16,
    /// The highest.
    pub max: u16,
}

impl Versions {
    /// What this build speaks. From version 2 on, who takes messages says why it ends a connection
    /// for them.
    pub const SUPPORTED: Self = Self { min: 1, max: 2 };

    /// The highest that both speak.
    #[must_use]
    pub fn highest_common(self, other: Self) -> Option<u16> {
        let highest = self.max.min(other.max);
        (highest >= self.min.max(other.min)).then_some(highest)
    }
}

impl std::fmt::Display for Versions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} to {}", self.min, self.max)
    }
}

/// What a connection is for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Purpose {
    /// Messages, from the dialler to the acceptor.
    Messages,
    /// A raw stream of bytes, both ways.
    Stream {
        /// Which listener on the other side is to have it.
        kind: String,
    },
}

/// What the dialler says first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// The versions that it speaks.
    pub versions: Versions,
    /// The name of its cluster.
    pub cluster: String,
    /// The buckets of its cluster.
    pub buckets: BucketCount,
    /// Who it is.
    pub peer: Peer,
    /// Whom it wants to reach, of its own cluster; `None` where anybody at this address will do.
    pub sought: Option<Incarnation>,
    /// What the connection is for.
    pub purpose: Purpose,
}

/// What the acceptor answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// It agrees.
    Welcome {
        /// The version that is spoken from now on.
        version: u16,
        /// Who it is.
        peer: Peer,
    },
    /// It does not, and closes the connection.
    Refused(Refusal),
}

/// Why an acceptor will not have a connection. Nothing was carried. Both sides are told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Refusal {
    /// The two nodes belong to clusters of different names.
    #[error(
        "it is of cluster {accepting:?}, and {dialling:?} dialled: give both nodes the same cluster name, or dial a node of {dialling:?}"
    )]
    OtherCluster {
        /// The acceptor's cluster.
        accepting: String,
        /// The dialler's cluster.
        dialling: String,
    },
    /// The two nodes count buckets differently.
    #[error(
        "it has {accepting} buckets, and the dialling node {dialling}: their number is part of the cluster's identity, so give both nodes the same"
    )]
    OtherBuckets {
        /// The acceptor's buckets.
        accepting: u16,
        /// The dialler's buckets.
        dialling: u16,
    },
    /// There is no version of the protocol that both speak.
    #[error(
        "it speaks protocol {accepting}, and the dialling node {dialling}: upgrade the older one, in steps that overlap"
    )]
    NoCommonVersion {
        /// What the acceptor speaks.
        accepting: Versions,
        /// What the dialler speaks.
        dialling: Versions,
    },
    /// The node at this address is not the one that was sought: it has started again, or the address
    /// is somebody else's now. Look at the layout again.
    #[error("it is {accepting:?}, and {sought:?} was sought")]
    SomebodyElse {
        /// Who the acceptor is; `None` when it has not joined.
        accepting: Option<Incarnation>,
        /// Who was sought.
        sought: Incarnation,
    },
    /// The node at this address is in a cluster that was founded at another time: with the same numbers,
    /// but somebody else. Look at the layout again.
    #[error(
        "it is of another founding of the cluster than the dialling node, and {sought:?} was sought"
    )]
    OtherFounding {
        /// Who was sought.
        sought: Incarnation,
    },
    /// The dialler reached itself: the address is its own, or somebody leads its connections back.
    #[error("it is the dialling node itself: take its own address off the list of others")]
    Itself,
    /// Nobody there listens for streams of this kind (yet). Ask again later, or upgrade that node.
    #[error("nobody there listens for streams of kind {kind:?}")]
    NoSuchKind {
        /// The kind that was asked for.
        kind: String,
    },
    /// The stream is for members, and the dialler has not joined, or is no member any more. Join, and
    /// ask again.
    #[error("it lets members only have such a stream, and the dialling node is none")]
    NoMember,
    /// It has as many connections, or waiting streams, as it may have. Ask again later.
    #[error("it has as many connections as it may have: ask again later, or raise its limit")]
    Full,
    /// It is closing. Look at the layout again.
    #[error("it is closing")]
    Closing,
    /// For a reason that this version does not know.
    #[error("{told}")]
    Unknown {
        /// What the acceptor says of it, without control characters.
        told: String,
    },
}

/// The longest text that a refusal is told with, in bytes.
const LONGEST_TEXT: usize = 1024;

/// An answer as it is written. A refusal has its text beside it, for who does not know its reason.
#[derive(Serialize)]
enum Telling<'a> {
    Welcome { version: u16, peer: &'a Peer },
    Refused { why: &'a Refusal, told: String },
}

/// An answer as it is read.
#[derive(Deserialize)]
enum Told {
    Welcome { version: u16, peer: Peer },
    Refused { why: Reason, told: String },
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Reason {
    Known(Refusal),
    Unknown(IgnoredAny),
}

/// Bytes that are no frame of a handshake. The connection is of no use.
#[derive(Debug, thiserror::Error)]
pub enum Malformed {
    /// They do not begin as ours do: something else speaks, or a format that is not known here.
    #[error("it does not begin as a frame of WADI's handshake does")]
    Magic,
    /// They are longer than [`LIMIT`].
    #[error("its length of {0} bytes is over the handshake's limit of {LIMIT}")]
    TooLong(usize),
    /// They are of TLS, which this side does not speak, having no key.
    #[error("it has a key, and this node has none: give all nodes the same cluster key")]
    Tls,
    /// What follows is not what should.
    #[error(transparent)]
    Body(#[from] FrameError),
    /// A name or an address in it is empty, over 255 bytes, or has control characters.
    #[error("a name or an address in it is empty, too long, or has control characters")]
    Text,
    /// The welcome names a version that was not offered.
    #[error("it names version {0}, which was not offered")]
    Version(u16),
}

impl Hello {
    /// Its frame's body.
    ///
    /// # Errors
    ///
    /// When the names in it make it longer than [`LIMIT`], which checked ones do not.
    pub fn encode(&self) -> Result<Bytes, Malformed> {
        encode(self)
    }

    /// From a frame's body.
    ///
    /// # Errors
    ///
    /// When the bytes are not exactly one well-formed greeting.
    pub fn decode(body: &[u8]) -> Result<Self, Malformed> {
        let hello: Self = decode(body)?;
        let kind_is_plain = match &hello.purpose {
            Purpose::Messages => true,
            Purpose::Stream { kind } => is_plain(kind),
        };
        if kind_is_plain && is_plain(&hello.cluster) && hello.peer.is_well_formed() {
            Ok(hello)
        } else {
            Err(Malformed::Text)
        }
    }

    /// The version to speak with this dialler, as the node `us` of `cluster` sees it.
    ///
    /// # Errors
    ///
    /// The reason that the dialler is to be told.
    pub fn judge(&self, cluster: &Cluster, us: &Peer, versions: Versions) -> Result<u16, Refusal> {
        let common = self.versions.highest_common(versions);
        let version = common.ok_or(Refusal::NoCommonVersion {
            accepting: versions,
            dialling: self.versions,
        })?;
        if self.cluster != cluster.name {
            return Err(Refusal::OtherCluster {
                accepting: cluster.name.clone(),
                dialling: self.cluster.clone(),
            });
        }
        if self.buckets != cluster.buckets {
            return Err(Refusal::OtherBuckets {
                accepting: cluster.buckets.get(),
                dialling: self.buckets.get(),
            });
        }
        if self.peer.start == us.start {
            return Err(Refusal::Itself);
        }
        let Some(sought) = self.sought else {
            return Ok(version);
        };
        us.membership.judge(sought, &self.peer.membership)?;
        Ok(version)
    }
}

impl Reply {
    /// Its frame's body.
    ///
    /// # Errors
    ///
    /// When the names in it make it longer than [`LIMIT`], which checked ones do not.
    pub fn encode(&self) -> Result<Bytes, Malformed> {
        encode(&match self {
            Self::Welcome { version, peer } => Telling::Welcome {
                version: *version,
                peer,
            },
            Self::Refused(why) => Telling::Refused {
                why,
                told: shortened(&why.to_string()),
            },
        })
    }

    /// From a frame's body.
    ///
    /// # Errors
    ///
    /// When the bytes are not exactly one well-formed answer.
    pub fn decode(body: &[u8]) -> Result<Self, Malformed> {
        let (reply, texts_are_plain) = match decode(body)? {
            Told::Welcome { version, peer } => {
                let is_plain = peer.is_well_formed();
                (Self::Welcome { version, peer }, is_plain)
            }
            Told::Refused { why, told } => {
                let why = match why {
                    Reason::Known(why) => why,
                    Reason::Unknown(_) => Refusal::Unknown { told },
                };
                let is_plain = why.is_well_formed();
                (Self::Refused(why), is_plain)
            }
        };
        if texts_are_plain {
            Ok(reply)
        } else {
            Err(Malformed::Text)
        }
    }
}

impl Membership {
    /// Whether it is the one that was `sought` by a node of this membership. Who has not joined knows of
    /// no founding, and is given nothing that is for members.
    ///
    /// # Errors
    ///
    /// Why it is not.
    pub(crate) fn judge(&self, sought: Incarnation, by: &Self) -> Result<(), Refusal> {
        let accepting = self.incarnation;
        if accepting != Some(sought) {
            return Err(Refusal::SomebodyElse { accepting, sought });
        }
        if by.founding.is_some() && !self.is_with(by) {
            return Err(Refusal::OtherFounding { sought });
        }
        Ok(())
    }
}

impl Refusal {
    /// Whether its texts may stand in a log line.
    fn is_well_formed(&self) -> bool {
        match self {
            Self::OtherCluster {
                accepting,
                dialling,
            } => is_plain(accepting) && is_plain(dialling),
            Self::NoSuchKind { kind } => is_plain(kind),
            Self::Unknown { told } => {
                told.len() <= LONGEST_TEXT && !told.chars().any(char::is_control)
            }
            _ => true,
        }
    }

    /// Whether somebody has to mend something before asking again is of use.
    #[must_use]
    pub fn needs_a_hand(&self) -> bool {
        matches!(
            self,
            Self::OtherCluster { .. }
                | Self::OtherBuckets { .. }
                | Self::NoCommonVersion { .. }
                | Self::Unknown { .. }
        )
    }
}

fn shortened(text: &str) -> String {
    let ends = text
        .char_indices()
        .map(|(start, char)| start + char.len_utf8());
    let end = ends.take_while(|end| *end <= LONGEST_TEXT).last();
    text[..end.unwrap_or(0)].to_owned()
}

fn encode<T: Serialize>(value: &T) -> Result<Bytes, Malformed> {
    let mut body = MAGIC.to_vec();
    body.extend_from_slice(&frame::encode_named(value)?);
    if body.len() > LIMIT {
        return Err(Malformed::TooLong(body.len()));
    }
    Ok(body.into())
}

fn decode<T: DeserializeOwned>(body: &[u8]) -> Result<T, Malformed> {
    if body.len() > LIMIT {
        return Err(Malformed::TooLong(body.len()));
    }
    let rest = body.strip_prefix(MAGIC).ok_or(Malformed::Magic)?;
    Ok(frame::decode(rest)?)
}

#[cfg(test)]
mod tests {
    use wadi_core::member::{Founding, NodeName};

    use super::*;

    fn peer(name: &str, start: u64, incarnation: u64) -> Peer {
        Peer {
            node: NodeName::new(name),
            membership: Membership {
                generation: 1,
                incarnation: Some(Incarnation::new(incarnation)),
                founding: Some(Founding::new(5)),
            },
            start,
            advertised: "10.0.0.1:7000".to_owned(),
        }
    }

    fn hello() -> Hello {
        Hello {
            versions: Versions { min: 1, max: 3 },
            cluster: "shop".to_owned(),
            buckets: BucketCount::DEFAULT,
            peer: peer("n1", 1, 1),
            sought: Some(Incarnation::new(2)),
            purpose: Purpose::Messages,
        }
    }

    fn judged(hello: &Hello) -> Result<u16, Refusal> {
        let cluster = Cluster {
            name: "shop".to_owned(),
            buckets: BucketCount::DEFAULT,
        };
        hello.judge(&cluster, &peer("n2", 2, 2), Versions { min: 2, max: 5 })
    }

    #[test]
    fn both_frames_come_out_as_they_went_in() {
        let stream = Hello {
            purpose: Purpose::Stream {
                kind: "http".to_owned(),
            },
            ..hello()
        };
        for hello in [hello(), stream] {
            assert_eq!(Hello::decode(&hello.encode().unwrap()).unwrap(), hello);
        }
        let welcome = Reply::Welcome {
            version: 3,
            peer: peer("n2", 2, 2),
        };
        let unknown = Refusal::Unknown {
            told: "it is asleep".to_owned(),
        };
        let refused = [Refusal::Full, judged(&hello()).err().unwrap_or(unknown)];
        let refused = refused.map(Reply::Refused);
        for reply in refused.into_iter().chain([welcome]) {
            assert_eq!(Reply::decode(&reply.encode().unwrap()).unwrap(), reply);
        }
    }

    #[test]
    fn the_longest_names_still_fit() {
        let long = "n".repeat(255);
        let mut hello = hello();
        hello.cluster = long.clone();
        hello.peer.node = NodeName::new(long.as_str());
        hello.peer.advertised = long.clone();
        hello.purpose = Purpose::Stream { kind: long };
        assert!(hello.encode().unwrap().len() < LIMIT);
        // The text quotes both names, with every character of them escaped.
        let long = "\u{200b}".repeat(85);
        let refusal = Refusal::OtherCluster {
            accepting: long.clone(),
            dialling: long,
        };
        assert!(Reply::Refused(refusal).encode().unwrap().len() < LIMIT);
    }

    #[test]
    fn the_highest_common_version_is_spoken() {
        assert_eq!(judged(&hello()), Ok(3));
        let old = Versions { min: 1, max: 1 };
        let refusal = judged(&Hello {
            versions: old,
            ..hello()
        });
        let accepting = Versions { min: 2, max: 5 };
        assert_eq!(
            refusal,
            Err(Refusal::NoCommonVersion {
                accepting,
                dialling: old
            })
        );
    }

    #[test]
    fn whoever_does_not_belong_here_is_told_why() {
        let mut other = hello();
        other.cluster = "bank".to_owned();
        let told = judged(&other).unwrap_err().to_string();
        assert!(told.contains("shop") && told.contains("bank"), "{told}");
        let mut other = hello();
        other.buckets = BucketCount::new(64).unwrap();
        assert!(matches!(judged(&other), Err(Refusal::OtherBuckets { .. })));
        let mut other = hello();
        other.sought = Some(Incarnation::new(9));
        assert!(matches!(judged(&other), Err(Refusal::SomebodyElse { .. })));
        let mut other = hello();
        other.peer.start = 2;
        assert_eq!(judged(&other), Err(Refusal::Itself));
    }

    #[test]
    fn a_later_version_may_add_a_field() {
        #[derive(Serialize)]
        struct Later {
            #[serde(flatten)]
            hello: Hello,
            mood: &'static str,
        }
        let later = Later {
            hello: hello(),
            mood: "fine",
        };
        assert_eq!(Hello::decode(&encode(&later).unwrap()).unwrap(), hello());
    }

    #[test]
    fn every_reason_that_is_known_is_understood_as_itself() {
        let versions = Versions { min: 1, max: 3 };
        let reasons = [
            Refusal::OtherCluster {
                accepting: "shop".to_owned(),
                dialling: "bank".to_owned(),
            },
            Refusal::OtherBuckets {
                accepting: 4096,
                dialling: 64,
            },
            Refusal::NoCommonVersion {
                accepting: versions,
                dialling: versions,
            },
            Refusal::SomebodyElse {
                accepting: None,
                sought: Incarnation::new(3),
            },
            Refusal::SomebodyElse {
                accepting: Some(Incarnation::new(4)),
                sought: Incarnation::new(3),
            },
            Refusal::Itself,
            Refusal::NoSuchKind {
                kind: "http".to_owned(),
            },
            Refusal::NoMember,
            Refusal::Closing,
        ];
        for reply in reasons.map(Reply::Refused) {
            assert_eq!(Reply::decode(&reply.encode().unwrap()).unwrap(), reply);
        }
    }

    #[test]
    fn a_reason_of_a_later_version_is_told_in_its_own_words() {
        #[derive(Serialize)]
        enum Later {
            Refused { why: Why, told: String },
        }
        #[derive(Serialize)]
        enum Why {
            Asleep,
            Elsewhere { nodes: Vec<String> },
        }
        let nodes = vec!["n1".to_owned(), "n2".to_owned()];
        for why in [Why::Asleep, Why::Elsewhere { nodes }] {
            let told = "it sleeps until Monday".to_owned();
            let later = Later::Refused { why, told };
            let reply = Reply::decode(&encode(&later).unwrap()).unwrap();
            let told = "it sleeps until Monday".to_owned();
            assert_eq!(reply, Reply::Refused(Refusal::Unknown { told }));
        }
        let told = "it sleeps\nERROR a forged line".to_owned();
        let why = Why::Asleep;
        let forged = encode(&Later::Refused { why, told }).unwrap();
        assert!(matches!(Reply::decode(&forged), Err(Malformed::Text)));
    }

    #[test]
    fn what_is_no_greeting_is_refused() {
        assert!(matches!(
            Hello::decode(b"GET / HTTP/1.1"),
            Err(Malformed::Magic)
        ));
        assert!(matches!(
            Hello::decode(&[0; LIMIT + 1]),
            Err(Malformed::TooLong(_))
        ));
        assert!(matches!(Hello::decode(MAGIC), Err(Malformed::Body(_))));
        let mut forged = hello();
        forged.peer.node = NodeName::new("n1\nERROR forged line");
        let body = forged.encode().unwrap();
        assert!(matches!(Hello::decode(&body), Err(Malformed::Text)));
    }
}
