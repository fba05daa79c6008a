//! What can be wrong with a configuration. Every message says how to mend it; none shows a secret.

use std::time::Duration;

/// A configuration that cannot work. Nothing was started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// One option, whatever the others are, cannot have this value.
    #[error("{option} cannot be {given}: {mend}")]
    OutOfRange {
        /// The option's name.
        option: &'static str,
        /// What it was set to.
        given: String,
        /// What to do.
        mend: &'static str,
    },
    /// Two durations contradict each other.
    #[error("{shorter} is {shorter_is:?} and {longer} is {longer_is:?}: {mend}")]
    Order {
        /// The option that must be the shorter one.
        shorter: &'static str,
        /// What it is.
        shorter_is: Duration,
        /// The option that must be the longer one.
        longer: &'static str,
        /// What it is.
        longer_is: Duration,
        /// What to do.
        mend: &'static str,
    },
    /// Two options do not go together.
    #[error("{option} is set and {other} is not: {mend}")]
    Needs {
        /// The option that is set.
        option: &'static str,
        /// The one that must be set with it.
        other: &'static str,
        /// What to do.
        mend: &'static str,
    },
    /// `SameSite=None` without `Secure`.
    #[error(
        "same_site is none and cookie is plain: browsers refuse that; set cookie to secure, or same_site to lax"
    )]
    SameSiteNoneNeedsSecure,
    /// The key file cannot be read. Its path is not shown, in case it is the key itself.
    #[error(
        "the file that cluster_key names cannot be read ({0}): give the path of a readable file, not the key itself"
    )]
    KeyFile(#[source] std::io::Error),
    /// The key file could not be made.
    #[error("the cluster key file {path} cannot be made ({error}): let this process write there")]
    MakeKeyFile {
        /// Where it was to be.
        path: std::path::PathBuf,
        /// What the operating system said.
        #[source]
        error: std::io::Error,
    },
    /// The key file holds no secret.
    #[error(
        "the cluster key file holds no secret: put one on a line, made with `head -c 32 /dev/urandom | base64`"
    )]
    NoKey,
    /// A secret is too short to be safe.
    #[error(
        "line {line} of the cluster key file has {length} characters and needs at least 32: make one with `head -c 32 /dev/urandom | base64`"
    )]
    ShortKey {
        /// The line, counted from 1.
        line: usize,
        /// Its length in bytes.
        length: usize,
    },
    /// An environment variable cannot be read.
    #[error("the environment variable {name} {why}")]
    Environment {
        /// Its name.
        name: String,
        /// What is wrong with it.
        why: String,
    },
}
