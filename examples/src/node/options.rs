//! The reference node's command line and environment.
//!
//! Every flag is honoured; options without a flag can still be set as `WADI_…`. A variable
//! of that kind that is no option is a mistake, and refused.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::CommandFactory;
use wadi_axum::config::{
    ConfigError, CookieMode, Copies, OnQuorumLoss, Relocate, StaleCopies, WadiConfig,
    WadiConfigBuilder, copies_from_text, duration_from_text, keys_from_file, keys_kept_at,
};

use super::SharedStore;

/// In the data directory: the keys of the ids, where no others are given.
const KEYS: &str = "ids.keys";

/// The reference node of WADI: an application with every endpoint a node can serve.
#[derive(Clone, Debug, clap::Parser)]
#[command(name = "node", version)]
#[command(group = clap::ArgGroup::new("below").args(["data_dir", "shared_store"]).multiple(true))]
pub struct Options {
    /// Where the application listens; port 0 picks a free one.
    #[arg(
        long,
        value_name = "ADDR",
        env = "WADI_HTTP",
        default_value = "127.0.0.1:8080"
    )]
    pub http: SocketAddr,

    /// Where administration listens (status, metrics): keep it away from clients.
    #[arg(
        long,
        value_name = "ADDR",
        env = "WADI_ADMIN",
        default_value = "127.0.0.1:8081"
    )]
    pub admin: SocketAddr,

    /// Where this node listens for the others of its cluster; port 0 picks a free one [default: none,
    /// the node is alone]
    #[arg(long, value_name = "ADDR", env = "WADI_CLUSTER")]
    pub cluster: Option<SocketAddr>,

    /// Where the others reach this node, as host and port [default: where it listens for them]
    #[arg(long, value_name = "ADDR", env = "WADI_ADVERTISE")]
    pub advertise: Option<String>,

    /// The cluster's nodes, this one among them: a majority of the list founds it [default: none, this
    /// node founds it alone]
    #[arg(long, value_name = "ADDR,…", env = "WADI_JOIN", value_delimiter = ',')]
    pub join: Vec<String>,

    /// How many nodes found the cluster together, where `--join` is a name behind which they all are
    /// [default: as many as are on the list]
    #[arg(long, value_name = "N", env = "WADI_FOUND_WITH")]
    pub found_with: Option<usize>,

    /// When this node cannot reach most of those who agree, and it is not proven that they are dead: it
    /// answers 503, or goes on without them [default: available where two nodes are listed, else strict]
    #[arg(
        long,
        value_name = "strict|available",
        env = "WADI_ON_QUORUM_LOSS",
        requires = "cluster"
    )]
    pub on_quorum_loss: Option<OnQuorumLoss>,

    /// The cluster's name; nodes of others are refused [default: wadi]
    #[arg(
        long,
        value_name = "NAME",
        env = "WADI_CLUSTER_NAME",
        requires = "cluster"
    )]
    pub cluster_name: Option<String>,

    /// How long a node may act without hearing from its cluster [default: 4]
    #[arg(
        long,
        value_name = "S",
        env = "WADI_LEASE",
        value_parser = duration_from_text,
        requires = "cluster"
    )]
    pub lease: Option<Duration>,

    /// A refused connection to a node of another host, to which there was one, proves that its process has
    /// ended: only where nothing between nodes refuses for one that lives
    #[arg(long, env = "WADI_TRUST_REFUSALS", requires = "cluster")]
    pub trust_refusals: bool,

    /// Where a request and its session, which another node holds, come together [default: adaptive]
    #[arg(
        long,
        value_name = "adaptive|migrate|proxy|redirect|none",
        env = "WADI_RELOCATE",
        requires = "cluster"
    )]
    pub relocate: Option<Relocate>,

    /// What becomes of the sessions of a node that was declared dead and comes back with them
    /// [default: offer]
    #[arg(
        long,
        value_name = "offer|drop",
        env = "WADI_STALE_COPIES",
        requires = "cluster"
    )]
    pub stale_copies: Option<StaleCopies>,

    /// Where clients reach this node, as in `http://127.0.0.1:8080`: with `--relocate redirect` the others
    /// send them there [default: none, requests are proxied to it]
    #[arg(
        long,
        value_name = "URL",
        env = "WADI_PUBLIC_URL",
        requires = "cluster"
    )]
    pub public_url: Option<String>,

    /// Speaks no newer protocol between nodes than this, as a node of an older version would.
    #[arg(
        long,
        value_name = "N",
        env = "WADI_PROTOCOL",
        value_parser = clap::value_parser!(u16).range(1..),
        requires = "cluster"
    )]
    pub protocol: Option<u16>,

    /// The node's name, for people.
    #[arg(long, value_name = "NAME", env = "WADI_NAME", default_value = "n1")]
    pub name: String,

    /// How long a session lives without a request, in seconds, or as in `30m` [default: 30m]
    #[arg(long, value_name = "S", env = "WADI_IDLE_TIMEOUT", value_parser = duration_from_text)]
    pub idle_timeout: Option<Duration>,

    /// How long a session lives at most [default: 24h]
    #[arg(long, value_name = "S", env = "WADI_ABSOLUTE_LIFETIME", value_parser = duration_from_text)]
    pub absolute_lifetime: Option<Duration>,

    /// `secure` for HTTPS, `plain` for HTTP.
    #[arg(
        long,
        value_name = "secure|plain",
        env = "WADI_COOKIE",
        default_value = "plain"
    )]
    pub cookie: CookieMode,

    /// A file with one secret per line: the first mints ids, all are accepted [default: a random
    /// secret, good until the node stops, or kept in the data directory]
    #[arg(long, value_name = "FILE", env = "WADI_CLUSTER_KEY")]
    pub cluster_key: Option<PathBuf>,

    /// A directory of this node's own, on its disc: sessions that nobody asks for go there, and all of them when
    /// the node leaves; when it starts again it has them, and their cookies are good [default: none, sessions
    /// are in memory only]
    #[arg(
        long,
        value_name = "DIR",
        env = "WADI_DATA_DIR",
        conflicts_with = "cluster"
    )]
    pub data_dir: Option<PathBuf>,

    /// A store that all nodes of the cluster share: sessions that nobody asks for go there, and all of them when
    /// all nodes leave; `sqlite:PATH` for the nodes of one host, `postgres://user:password@host/database`, or
    /// `redis://user:password@host:6379/0` (rediss:// over TLS) [default: none]
    #[arg(
        long,
        value_name = "URL",
        env = "WADI_SHARED_STORE",
        hide_env_values = true,
        requires = "cluster"
    )]
    pub shared_store: Option<SharedStore>,

    /// How long a session is idle before it goes from memory to the data directory, or to the shared store
    /// [default: 5m]
    #[arg(
        long,
        value_name = "S",
        env = "WADI_DEMOTE_AFTER",
        value_parser = duration_from_text,
        requires = "below"
    )]
    pub demote_after: Option<Duration>,

    /// Whether the data directory has a copy of sessions that are in memory, too, for when the process is
    /// killed: never, before what was written is answered, or some time after [default: never]
    #[arg(
        long,
        value_name = "never|at-once|S",
        env = "WADI_STORE_COPIES",
        value_parser = copies_from_text,
        requires = "data_dir"
    )]
    pub store_copies: Option<Copies>,

    /// How long the node is unready and still accepts when it leaves [default: 5]
    #[arg(long, value_name = "S", env = "WADI_DEREGISTER_DELAY", value_parser = duration_from_text)]
    pub deregister_delay: Option<Duration>,

    /// How long leaving takes at most [default: 25]
    #[arg(long, value_name = "S", env = "WADI_LEAVE_TIMEOUT", value_parser = duration_from_text)]
    pub leave_timeout: Option<Duration>,

    /// How many bytes one session may take [default: 1048576]
    #[arg(long, value_name = "BYTES", env = "WADI_MAX_SESSION_BYTES")]
    pub max_session_bytes: Option<usize>,

    /// How many sessions the node holds at most [default: 10000000]
    #[arg(long, value_name = "N", env = "WADI_MAX_SESSIONS")]
    pub max_sessions: Option<usize>,

    /// Whether every response says in `x-wadi` how it was served.
    #[arg(
        long,
        value_name = "true|false",
        env = "WADI_X_WADI",
        default_value_t = true,
        action = clap::ArgAction::Set
    )]
    pub x_wadi: bool,
}

impl Options {
    /// The configuration that these flags and the environment give.
    ///
    /// # Errors
    ///
    /// A [`ConfigError`] that says what to mend.
    pub fn config(&self) -> Result<WadiConfig, ConfigError> {
        type Builder = WadiConfigBuilder;
        let names = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
        refuse_unknown(names)?;
        let builder = Builder::from_env()?
            .name(self.name.as_str())
            .cookie(self.cookie)
            .x_wadi(self.x_wadi);
        let builder = with(builder, Builder::idle_timeout, self.idle_timeout);
        let builder = with(builder, Builder::absolute_lifetime, self.absolute_lifetime);
        let builder = with(builder, Builder::deregister_delay, self.deregister_delay);
        let builder = with(builder, Builder::leave_timeout, self.leave_timeout);
        let builder = with(builder, Builder::max_session_bytes, self.max_session_bytes);
        let builder = with(builder, Builder::max_sessions, self.max_sessions);
        let builder = with(builder, Builder::cluster, self.cluster);
        let builder = with(builder, Builder::advertise, self.advertise.clone());
        let builder = with(builder, Builder::cluster_name, self.cluster_name.as_deref());
        let builder = with(builder, Builder::lease, self.lease);
        let builder = with(builder, Builder::relocate, self.relocate);
        let builder = with(builder, Builder::stale_copies, self.stale_copies);
        let builder = with(builder, Builder::public_url, self.public_url.clone());
        let builder = with(builder, Builder::found_with, self.found_with);
        let builder = with(builder, Builder::on_quorum_loss, self.on_quorum_loss);
        let join = (!self.join.is_empty()).then(|| self.join.clone());
        let builder = with(builder, Builder::join, join);
        let builder = with(builder, Builder::demote_after, self.demote_after);
        let builder = with(builder, Builder::store_copies, self.store_copies);
        let keys = match (&self.cluster_key, &self.data_dir) {
            (Some(file), _) => Some(keys_from_file(file)?),
            (None, Some(directory)) => Some(keys_kept_at(directory.join(KEYS))?),
            (None, None) => None,
        };
        with(builder, Builder::cluster_key, keys).build()
    }
}

/// Refuses variables that look like options and are none: they are spelt wrong, or of a version that
/// knows more.
fn refuse_unknown(names: impl Iterator<Item = String>) -> Result<(), ConfigError> {
    let command = Options::command();
    let of_flags = command.get_arguments().filter_map(clap::Arg::get_env);
    let mut known: Vec<OsString> = of_flags.map(Into::into).collect();
    known.extend(WadiConfigBuilder::variables().map(Into::into));
    for name in names {
        if name.starts_with("WADI_") && !known.contains(&OsString::from(&name)) {
            let why = "is no option: mend its name or unset it (what Kubernetes adds for a service \
                       called wadi is left out with `enableServiceLinks: false`)";
            return Err(ConfigError::Environment {
                name,
                why: why.to_owned(),
            });
        }
    }
    Ok(())
}

fn with<T>(
    builder: WadiConfigBuilder,
    set: impl FnOnce(WadiConfigBuilder, T) -> WadiConfigBuilder,
    value: Option<T>,
) -> WadiConfigBuilder {
    match value {
        Some(value) => set(builder, value),
        None => builder,
    }
}
