//! The table of options: one entry each, with its words, its type and its default.
//!
//! It checks nothing; `relations` does, once, in `build`.

use std::net::SocketAddr;
use std::time::Duration;

use serde::Deserialize;
use wadi_core::authority::OnQuorumLoss;
use wadi_core::bucket::BucketCount;
use wadi_core::session::{Keyring, Limits};

use super::error::ConfigError;
use wadi_core::tier::Copies;

use super::value::{CookieMode, OptionValue, Relocate, Scalar, StaleCopies};
use crate::cookie::SameSite;

macro_rules! options {
    ($($(#[doc = $doc:literal])* $name:ident: $kind:ty = $default:expr;)*) => {
        /// What a node is told about itself: every option, checked. Made by
        /// [`WadiConfig::builder`], by any serde format, or by [`WadiConfig::from_env`].
        ///
        /// `Debug` never shows a key, and a configuration cannot be serialised.
        #[derive(Clone, Debug, Deserialize)]
        #[serde(try_from = "WadiConfigBuilder")]
        pub struct WadiConfig { $($name: $kind,)* }

        impl WadiConfig {
            $($(#[doc = $doc])* #[must_use] pub fn $name(&self) -> $kind { self.$name.clone() })*
        }

        /// A configuration in the making. What is not set has its default.
        ///
        /// In a serde format the options have the names of the methods here. Durations are numbers
        /// of seconds, or texts such as `"30m"` or `"1h 30m"`. An unknown name is an error, and
        /// every error names the option.
        #[derive(Clone, Debug, Default)]
        pub struct WadiConfigBuilder { $($name: Option<$kind>,)* }

        impl WadiConfigBuilder {
            $($(#[doc = $doc])* #[must_use] pub fn $name(mut self, $name: impl Into<$kind>) -> Self {
                self.$name = Some($name.into());
                self
            })*

            /// The configuration as given, unchecked.
            pub(super) fn fill_in(self) -> WadiConfig {
                // In the table's order: a default may speak of the options above it.
                $(let $name = match self.$name { Some(given) => given, None => $default };)*
                WadiConfig { $($name,)* }
            }

            /// Every option's name.
            pub(super) const NAMES: &'static [&'static str] = &[$(stringify!($name),)*];

            /// Whether the option called `name` was set.
            pub(super) fn has(&self, name: &str) -> bool {
                match name {
                    $(stringify!($name) => self.$name.is_some(),)*
                    _ => false,
                }
            }

            /// Sets the option called `name`, one of [`Self::NAMES`].
            pub(super) fn set(&mut self, name: &str, to: Scalar) -> Result<(), String> {
                match name {
                    $(stringify!($name) => {
                        self.$name = Some(<$kind as OptionValue>::from_scalar(to)?);
                        Ok(())
                    })*
                    _ => Err("is no option".to_owned()),
                }
            }
        }
    };
}

options! {
    /// The node's name, for people: it stands in `x-wadi`, in log lines and on the status page. It
    /// says nothing about ownership.
    ///
    /// Default `node`. 1 to 63 letters, digits, `-`, `_` or `.`.
    name: String = "node".to_owned();

    /// How long a session lives without a request.
    ///
    /// Default 30 minutes. Sensible: a minute to a few days; at most `absolute_lifetime`. The
    /// cookie is sent again when a tenth of it has passed.
    idle_timeout: Duration = Limits::default().idle;

    /// How long a session lives at most, however much it is used.
    ///
    /// Default 24 hours, or `idle_timeout` where that is longer. Sensible: hours where money moves,
    /// weeks elsewhere; at least `idle_timeout`.
    absolute_lifetime: Duration = Limits::default().absolute.max(idle_timeout);

    /// How long a new session lives idle while its cookie never came back: crawlers and clients
    /// without cookies leave such sessions behind.
    ///
    /// Default 10 minutes, or `idle_timeout` where that is shorter. At most `idle_timeout`.
    unreturned_timeout: Duration = Limits::default().idle_unreturned.min(idle_timeout);

    /// How long a session is idle before its values are frozen into bytes, which saves memory and
    /// costs its next request one decoding per attribute read.
    ///
    /// Default 1 minute, or half of `idle_timeout` where that is shorter. At most `idle_timeout`:
    /// otherwise no session would ever freeze.
    freeze_after: Duration = Limits::default().freeze_after.min(idle_timeout / 2);

    /// How long a session is idle before it goes from memory to the store below, where the node, or its
    /// cluster, has one: its next request waits until it is read back.
    ///
    /// Default 5 minutes, or half of `idle_timeout` where that is shorter. At most `idle_timeout`. A node
    /// without a store has no use for it.
    demote_after: Duration = Duration::from_secs(300).min(idle_timeout / 2);

    /// Whether the store below has a copy of each session while it is in memory, too, so that it outlives a
    /// process that is killed. `never`: it has sessions that went down, and when the node leaves, all.
    /// `at-once`: a response that comes of a write waits until the store has it. A duration: some time after
    /// a write, about so long, and what was written since is lost with the process.
    ///
    /// Default `never`. Where the store fails, requests are answered all the same, and it has its copies
    /// later. A node without a store has no use for it. In a cluster only `never` is there so far.
    store_copies: Copies = Copies::Never;

    /// How many bytes one session's attributes may take, encoded.
    ///
    /// Default 1 MiB. Sensible: 1 KiB to 1 MiB; 256 bytes to 1 GiB are taken. A write that would
    /// go over it fails and changes nothing.
    max_session_bytes: usize = Limits::default().max_session_bytes;

    /// How many sessions this node holds at most. A request that would create one more fails.
    ///
    /// Default 10,000,000. At least 1. As many sessions of the usual size must fit in memory.
    max_sessions: usize = Limits::default().max_sessions;

    /// `secure`: the cookie has the prefix `__Host-` and travels over HTTPS only. `plain`: for HTTP
    /// on a developer's machine; any listener in between can steal the session.
    ///
    /// Default `secure`.
    cookie: CookieMode = CookieMode::Secure;

    /// The cookie's name, without the `__Host-` that `secure` puts before it and the `-plain` that
    /// `plain` puts after it.
    ///
    /// Default `wadi`. 1 to 64 letters, digits, `-`, `_` or `.`.
    cookie_name: String = "wadi".to_owned();

    /// The cookie's `SameSite`: `lax`, `strict` or `none`. `none` needs `cookie` to be `secure`,
    /// because browsers refuse it otherwise.
    ///
    /// Default `lax`.
    same_site: SameSite = SameSite::Lax;

    /// The secret that marks ids as ours. In a serde format and in `WADI_CLUSTER_KEY`: the path of
    /// a file with one secret per line; the first mints ids, all are accepted, so keys can be
    /// changed without logging anybody out. Lines that start with `#` are comments.
    ///
    /// In a cluster it is also what its nodes know each other by, and the same on all nodes.
    ///
    /// Default none. Alone, a node then draws one at random, so ids are good until this process ends,
    /// as its sessions are; in a cluster, nodes talk on loopback only, and anybody there can forge ids. Each
    /// secret has at least 32 characters. A line to make one: `head -c 32 /dev/urandom | base64`.
    cluster_key: Option<Keyring> = None;

    /// Where this node listens for the other nodes of its cluster, as address and port; port 0 picks a
    /// free one.
    ///
    /// Default none: the node is alone. On another address than loopback, `cluster_key` must be set.
    cluster: Option<SocketAddr> = None;

    /// Where the other nodes reach this one, as host and port; port 0 stands for the one that it
    /// listens at.
    ///
    /// Default: the address that `cluster` gives. To be set where that is `0.0.0.0` or `[::]`.
    advertise: Option<String> = None;

    /// The addresses of the cluster's nodes, as host and port, this one's among them; in one text,
    /// commas between. A cluster is founded by a majority of them; who finds one joins it. A node whose
    /// own address is not on its list never founds.
    ///
    /// Default none: the node founds a cluster alone, and others join it.
    join: Vec<String> = Vec::new();

    /// How many nodes there are at the beginning, where `join` names are looked up (DNS): each address
    /// behind a name is a node. A cluster is founded by a majority of this number.
    ///
    /// Default none: `join` is a list of addresses, and its length is the number.
    found_with: Option<usize> = None;

    /// What this node does when it cannot reach most of those who agree for longer than `lease`, and it is
    /// not proven that they are dead. `strict`: it answers 503 until it reaches them again, so a session
    /// is never served in two places. `available`: it goes on with whom it reaches. Where the others live
    /// and do the same, both sides serve, until they meet; then the nodes of one of the two clusters join
    /// the other, and bring their sessions along. Of a session that both have, the later wins.
    ///
    /// Default: `available` where `join` has two addresses, or `found_with` is two: then the loss of one
    /// node would be the end of both. Else `strict`. The same on all nodes.
    on_quorum_loss: OnQuorumLoss = if found_with.unwrap_or(join.len()) == 2 {
        OnQuorumLoss::Available
    } else {
        OnQuorumLoss::Strict
    };

    /// What becomes of the sessions of a node that was declared dead (it stood still, or was cut off) and
    /// comes back with them. `offer`: those that nobody else has serve again; until they come, for half a
    /// minute at most, their requests are answered 503. Where a copy may not be the newest, an event tells
    /// so. `drop`: they are dropped, each with an event, and are lost as soon as their node is declared
    /// dead, so no request waits for what comes back, and none is ever served by what may be old.
    ///
    /// Default `offer`. The same on all nodes. A policy of your own: `Settings::stale_copies`. A node that is
    /// alone has no use for it.
    stale_copies: StaleCopies = StaleCopies::Offer;

    /// The cluster's name; nodes of other clusters are refused.
    ///
    /// Default `wadi`. 1 to 63 letters, digits, `-`, `_` or `.`. The same on all nodes.
    cluster_name: String = "wadi".to_owned();

    /// How long a node may act without hearing from its cluster. When a node is lost, its sessions
    /// answer again after this time.
    ///
    /// Default 4 seconds. From 1 second to 5 minutes. The same on all nodes; what counts is what the
    /// founder has.
    lease: Duration = Duration::from_secs(4);

    /// Where a request and its session, which another node holds, come together. `adaptive`: the request
    /// is proxied to the session, and its client sent there from then on (by the cookie
    /// `<cookie_name>-route`); a session follows a client that keeps coming to another node.
    /// `migrate`: the session comes to the request. `proxy`: the request goes to the session.
    /// `redirect`: the client is told (307) to go to the session with its request, where that is a GET
    /// or HEAD and the session's node has a `public_url`; other requests are proxied. `none`: the
    /// request is refused (503), and its client told by the route cookie where to go.
    ///
    /// Default `adaptive`. What cannot be had (a session that is in use for long does not migrate; a
    /// node that runs without `serve` takes no proxied requests) becomes another one. A node that is
    /// alone has no use for it.
    relocate: Relocate = Relocate::Adaptive;

    /// Where clients reach this node: `http` or `https`, a host, perhaps a port, and nothing else. With
    /// `relocate` at `redirect` the other nodes send clients there.
    ///
    /// Default none: requests are proxied to this node, and none is redirected. Cookies go by the host,
    /// so the nodes have one host and a port each, or all have their balancer's URL, and the balancer
    /// goes by the route cookie; a request is redirected only to the host that its client has
    /// named. With a `secure` cookie it is `https`.
    public_url: Option<String> = None;

    /// How many buckets the id space is divided into. Part of a cluster's identity.
    ///
    /// Default 4096. 1 to 65,535; at least ten per node that there will ever be.
    buckets: BucketCount = BucketCount::DEFAULT;

    /// How long a request waits for a session that others hold; then it is answered 503.
    ///
    /// Default 5 seconds. Sensible: longer than a handler usually takes, and below your balancer's
    /// own timeout; above zero.
    lock_wait: Duration = Limits::default().lock_wait;

    /// Whether every response says in a header `x-wadi` how its session was served.
    ///
    /// Default `false`: it tells outsiders the node's name.
    x_wadi: bool = false;

    /// How long a leaving node is unready and still accepts, so that balancers notice first.
    ///
    /// Default 5 seconds. Sensible: twice the time between your balancer's probes; zero where there
    /// is none. Below `leave_timeout`.
    deregister_delay: Duration = Duration::from_secs(5);

    /// How long leaving takes at most; what is still in flight then is cut off.
    ///
    /// Default 25 seconds, or `deregister_delay` and 20 more. Above `deregister_delay`, and below
    /// what your supervisor allows before it kills (Kubernetes: 30 seconds).
    leave_timeout: Duration = Duration::from_secs(25)
        .max(deregister_delay.saturating_add(Duration::from_secs(20)));

    /// How long `serve` keeps a connection on which no request comes.
    ///
    /// It is also how long a client may leave a request's body, which the handler waits for, without
    /// a further byte; the body then ends with an error.
    ///
    /// Default 75 seconds. Longer than your balancer keeps idle connections to its servers (often
    /// 60 seconds), or it will now and then send a request into a connection that just closed.
    keep_alive: Duration = Duration::from_secs(75);
}

impl WadiConfig {
    /// A configuration in the making, every option at its default.
    #[must_use]
    pub fn builder() -> WadiConfigBuilder {
        WadiConfigBuilder::default()
    }
}

impl Default for WadiConfig {
    fn default() -> Self {
        Self::builder().build().expect("the defaults fit together")
    }
}

impl TryFrom<WadiConfigBuilder> for WadiConfig {
    type Error = ConfigError;

    fn try_from(builder: WadiConfigBuilder) -> Result<Self, ConfigError> {
        builder.build()
    }
}
