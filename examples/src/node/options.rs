//! The reference node's command line and environment.
//!
//! Every flag is honoured by one node; options without a flag can still be set as `WADI_…`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use wadi_axum::config::{
    ConfigError, CookieMode, WadiConfig, WadiConfigBuilder, duration_from_text, keys_from_file,
};

/// The reference node of WADI: every endpoint that one node can serve.
#[derive(Clone, Debug, clap::Parser)]
#[command(name = "node", version)]
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
    /// secret, good until the node stops]
    #[arg(long, value_name = "FILE", env = "WADI_CLUSTER_KEY")]
    pub cluster_key: Option<PathBuf>,

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
}

impl Options {
    /// The configuration that these flags and the environment give.
    ///
    /// # Errors
    ///
    /// A [`ConfigError`] that says what to mend.
    pub fn config(&self) -> Result<WadiConfig, ConfigError> {
        type Builder = WadiConfigBuilder;
        let builder = Builder::from_env()?
            .name(self.name.as_str())
            .cookie(self.cookie)
            .x_wadi(true);
        let builder = with(builder, Builder::idle_timeout, self.idle_timeout);
        let builder = with(builder, Builder::absolute_lifetime, self.absolute_lifetime);
        let builder = with(builder, Builder::deregister_delay, self.deregister_delay);
        let builder = with(builder, Builder::leave_timeout, self.leave_timeout);
        let builder = with(builder, Builder::max_session_bytes, self.max_session_bytes);
        let builder = with(builder, Builder::max_sessions, self.max_sessions);
        let keys = self.cluster_key.as_ref().map(keys_from_file).transpose()?;
        with(builder, Builder::cluster_key, keys).build()
    }
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
