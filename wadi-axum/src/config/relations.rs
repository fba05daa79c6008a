//! Which values an option can have, and which go together.
//!
//! Checked once, when a configuration is built, and nowhere else.

use std::time::Duration;

use wadi_core::tier::Copies;

use super::OnQuorumLoss;
use super::error::ConfigError;
use super::options::{WadiConfig, WadiConfigBuilder};
use super::value::CookieMode;
use crate::cookie::{Cookie, CookieError, SameSite};
use crate::public_url::PublicUrl;

/// Long enough for anybody, and far from what a clock can hold.
const LONGEST: Duration = Duration::from_secs(10 * 366 * 24 * 60 * 60);

impl WadiConfigBuilder {
    /// The checked configuration.
    ///
    /// # Errors
    ///
    /// A [`ConfigError`] that names the options which do not fit and says how to mend them; or the
    /// key file cannot be used.
    pub fn build(self) -> Result<WadiConfig, ConfigError> {
        let config = self.fill_in();
        check(&config)?;
        Ok(config)
    }
}

fn check(config: &WadiConfig) -> Result<(), ConfigError> {
    times(config)?;
    budgets(config)?;
    names(config)?;
    cluster(config)?;
    if config.same_site() == SameSite::None && config.cookie() == CookieMode::Plain {
        return Err(ConfigError::SameSiteNoneNeedsSecure);
    }
    Ok(())
}

fn times(config: &WadiConfig) -> Result<(), ConfigError> {
    require(
        config.deregister_delay() <= LONGEST,
        "deregister_delay",
        &config.deregister_delay(),
        "use at most ten years",
    )?;
    let nothing = "it must be longer than zero; leave it out to have the default";
    for (option, time) in [
        ("idle_timeout", config.idle_timeout()),
        ("absolute_lifetime", config.absolute_lifetime()),
        ("unreturned_timeout", config.unreturned_timeout()),
        ("freeze_after", config.freeze_after()),
        ("demote_after", config.demote_after()),
        ("lock_wait", config.lock_wait()),
        ("leave_timeout", config.leave_timeout()),
        ("keep_alive", config.keep_alive()),
    ] {
        require(!time.is_zero(), option, &time, nothing)?;
        require(time <= LONGEST, option, &time, "use at most ten years")?;
    }
    require(
        config.idle_timeout() >= Duration::from_secs(1),
        "idle_timeout",
        &config.idle_timeout(),
        "a cookie's lifetime is counted in whole seconds, so use at least one",
    )?;
    in_order(
        ("idle_timeout", config.idle_timeout()),
        ("absolute_lifetime", config.absolute_lifetime()),
        "a session cannot be idle for longer than it lives; lower the first or raise the second",
    )?;
    in_order(
        ("unreturned_timeout", config.unreturned_timeout()),
        ("idle_timeout", config.idle_timeout()),
        "a session whose cookie never came back ends no later than others; lower the first",
    )?;
    in_order(
        ("freeze_after", config.freeze_after()),
        ("idle_timeout", config.idle_timeout()),
        "sessions would end before they freeze; lower the first",
    )?;
    in_order(
        ("demote_after", config.demote_after()),
        ("idle_timeout", config.idle_timeout()),
        "sessions would end before they go down; lower the first",
    )?;
    below(
        ("deregister_delay", config.deregister_delay()),
        ("leave_timeout", config.leave_timeout()),
        "no time would be left to finish requests; lower the first or raise the second",
    )
}

fn budgets(config: &WadiConfig) -> Result<(), ConfigError> {
    require(
        (256..=1 << 30).contains(&config.max_session_bytes()),
        "max_session_bytes",
        &config.max_session_bytes(),
        "use 256 bytes to 1 GiB",
    )?;
    require(
        config.max_sessions() > 0,
        "max_sessions",
        &config.max_sessions(),
        "a node that holds no session serves none; use at least 1",
    )
}

fn cluster(config: &WadiConfig) -> Result<(), ConfigError> {
    let needs = |holds: bool, option, other, mend| {
        let needs = ConfigError::Needs {
            option,
            other,
            mend,
        };
        if holds { Ok(()) } else { Err(needs) }
    };
    let bind = config.cluster();
    let alone = "a node that is alone reaches nobody; set the address where it listens for others";
    needs(
        bind.is_some() || config.advertise().is_none(),
        "advertise",
        "cluster",
        alone,
    )?;
    needs(
        bind.is_some() || config.join().is_empty(),
        "join",
        "cluster",
        alone,
    )?;
    needs(
        config.found_with().is_none() || !config.join().is_empty(),
        "found_with",
        "join",
        "nobody can be counted without a name to look up; set the name behind which the nodes are",
    )?;
    needs(
        bind.is_some() || config.on_quorum_loss() == OnQuorumLoss::Strict,
        "on_quorum_loss",
        "cluster",
        "a node that is alone agrees with nobody; leave it out, or set the address where it listens for others",
    )?;
    require(
        bind.is_none() || config.store_copies() == Copies::Never,
        "store_copies",
        &config.store_copies(),
        "in a cluster there are no copies of sessions in memory yet; leave it out (what is in the store is kept), \
         or leave `cluster` out",
    )?;
    let expected = config.found_with().unwrap_or(1);
    require(
        (1..=1000).contains(&expected),
        "found_with",
        &expected,
        "use the number of nodes that are started at first, at most 1000",
    )?;
    needs(
        bind.is_none_or(|bind| bind.ip().is_loopback()) || config.cluster_key().is_some(),
        "cluster",
        "cluster_key",
        "without a key nodes talk on loopback only; give all nodes the same key file",
    )?;
    needs(
        bind.is_none_or(|bind| !bind.ip().is_unspecified()) || config.advertise().is_some(),
        "cluster",
        "advertise",
        "others cannot reach a node at 0.0.0.0; set the address by which they do",
    )?;
    needs(
        bind.is_some() || config.public_url().is_none(),
        "public_url",
        "cluster",
        "nobody else would send clients there; set the address where it listens for other nodes",
    )?;
    if let Some(given) = config.public_url() {
        let url = PublicUrl::parse(&given);
        require(
            url.is_some(),
            "public_url",
            &given,
            "use http or https, the host and perhaps a port, as in https://app.example.com:8443",
        )?;
        require(
            config.cookie() == CookieMode::Plain || url.is_some_and(|url| url.is_https()),
            "public_url",
            &given,
            "browsers send a secure cookie over https only; use https, or set cookie to plain",
        )?;
    }
    let lease = config.lease();
    require(
        (Duration::from_secs(1)..=Duration::from_secs(300)).contains(&lease),
        "lease",
        &lease,
        "use 1 second to 5 minutes",
    )
}

/// Whether a node, or a cluster, may be called so.
pub(crate) fn is_node_name(name: &str) -> bool {
    let letter = |c: u8| c.is_ascii_alphanumeric() || b"-_.".contains(&c);
    (1..=63).contains(&name.len()) && name.bytes().all(letter)
}

fn names(config: &WadiConfig) -> Result<(), ConfigError> {
    for (option, name) in [
        ("name", config.name()),
        ("cluster_name", config.cluster_name()),
    ] {
        require(
            is_node_name(&name),
            option,
            &name,
            "use 1 to 63 letters, digits, `-`, `_` or `.`",
        )?;
    }
    let cookie = config.cookie_name();
    let mend = match Cookie::plain(&cookie, config.same_site()) {
        Ok(_) => return Ok(()),
        Err(CookieError::Name) => "use 1 to 64 letters, digits, `-`, `_` or `.`",
        Err(CookieError::Prefix) => "leave the prefix out; it is added where cookie is secure",
    };
    require(false, "cookie_name", &cookie, mend)
}

fn require(
    holds: bool,
    option: &'static str,
    given: &impl std::fmt::Debug,
    mend: &'static str,
) -> Result<(), ConfigError> {
    if holds {
        Ok(())
    } else {
        let given = format!("{given:?}");
        Err(ConfigError::OutOfRange {
            option,
            given,
            mend,
        })
    }
}

fn in_order(
    shorter: (&'static str, Duration),
    longer: (&'static str, Duration),
    mend: &'static str,
) -> Result<(), ConfigError> {
    if shorter.1 == longer.1 {
        Ok(())
    } else {
        below(shorter, longer, mend)
    }
}

fn below(
    (shorter, shorter_is): (&'static str, Duration),
    (longer, longer_is): (&'static str, Duration),
    mend: &'static str,
) -> Result<(), ConfigError> {
    if shorter_is < longer_is {
        Ok(())
    } else {
        Err(ConfigError::Order {
            shorter,
            shorter_is,
            longer,
            longer_is,
            mend,
        })
    }
}
