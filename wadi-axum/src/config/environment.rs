//! Options from the environment: `WADI_` and the option's name in capitals.
//!
//! Other variables that start with `WADI_` are left alone: orchestrators add their own.

use super::error::ConfigError;
use super::options::{WadiConfig, WadiConfigBuilder};
use super::value::Scalar;

const PREFIX: &str = "WADI_";

impl WadiConfig {
    /// The configuration that the environment gives: `WADI_IDLE_TIMEOUT=45m`,
    /// `WADI_COOKIE=plain`, `WADI_CLUSTER_KEY=/run/secrets/wadi` and so on, for every method of
    /// [`WadiConfigBuilder`]. What is not set has its default.
    ///
    /// # Errors
    ///
    /// A [`ConfigError`] that names the variable, or the options that do not fit together.
    pub fn from_env() -> Result<Self, ConfigError> {
        WadiConfigBuilder::from_env()?.build()
    }
}

impl WadiConfigBuilder {
    /// As [`WadiConfig::from_env`], and more can be set before it is built.
    ///
    /// # Errors
    ///
    /// A [`ConfigError`] that names the variable.
    pub fn from_env() -> Result<Self, ConfigError> {
        Self::from_variables(|name| match std::env::var(name) {
            Ok(value) => Ok(Some(value)),
            Err(std::env::VarError::NotPresent) => Ok(None),
            Err(std::env::VarError::NotUnicode(_)) => Err("is not UTF-8".to_owned()),
        })
    }

    /// The names of the variables that are read, such as `WADI_IDLE_TIMEOUT`: for programs that
    /// want to refuse others.
    pub fn variables() -> impl Iterator<Item = String> {
        Self::NAMES.iter().map(|option| variable_of(option))
    }

    fn from_variables(
        variable: impl Fn(&str) -> Result<Option<String>, String>,
    ) -> Result<Self, ConfigError> {
        let mut builder = Self::default();
        for option in Self::NAMES {
            let name = variable_of(option);
            variable(&name)
                .and_then(|value| match value {
                    Some(value) => builder.set(option, Scalar::Text(value)),
                    None => Ok(()),
                })
                .map_err(|why| ConfigError::Environment { name, why })?;
        }
        Ok(builder)
    }
}

fn variable_of(option: &str) -> String {
    format!("{PREFIX}{}", option.to_ascii_uppercase())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::config::{CookieMode, OnQuorumLoss};

    fn from(variables: &[(&str, &str)]) -> Result<WadiConfig, ConfigError> {
        WadiConfigBuilder::from_variables(|name| {
            Ok(variables
                .iter()
                .find(|(known, _)| *known == name)
                .map(|(_, value)| (*value).to_owned()))
        })?
        .build()
    }

    #[test]
    fn every_kind_of_option_is_read() {
        let config = from(&[
            ("WADI_IDLE_TIMEOUT", "90"),
            ("WADI_LOCK_WAIT", "250ms"),
            ("WADI_COOKIE", "plain"),
            ("WADI_MAX_SESSIONS", "12"),
            ("WADI_BUCKETS", "16"),
            ("WADI_X_WADI", "true"),
            ("WADI_NAME", "n1"),
            ("WADI_PORT", "tcp://10.0.0.1:80"),
        ])
        .unwrap();
        assert_eq!(config.idle_timeout(), Duration::from_secs(90));
        assert_eq!(config.lock_wait(), Duration::from_millis(250));
        assert_eq!(config.cookie(), CookieMode::Plain);
        assert_eq!(config.max_sessions(), 12);
        assert_eq!(config.buckets().get(), 16);
        assert!(config.x_wadi());
        assert_eq!(config.name(), "n1");
    }

    #[test]
    fn what_becomes_of_a_lost_quorum_follows_the_configured_size() {
        let cluster = ("WADI_CLUSTER", "127.0.0.1:1");
        let of = |more: &[(&str, &str)]| {
            let all: Vec<_> = [cluster].iter().chain(more).copied().collect();
            from(&all).unwrap().on_quorum_loss()
        };
        let (one, two) = ("127.0.0.1:1", "127.0.0.1:1,127.0.0.1:2");
        let three = "127.0.0.1:1,127.0.0.1:2,127.0.0.1:3";
        assert_eq!(of(&[]), OnQuorumLoss::Strict);
        assert_eq!(of(&[("WADI_JOIN", one)]), OnQuorumLoss::Strict);
        assert_eq!(of(&[("WADI_JOIN", two)]), OnQuorumLoss::Available);
        assert_eq!(of(&[("WADI_JOIN", three)]), OnQuorumLoss::Strict);
        let named = |count| of(&[("WADI_JOIN", "nodes:1"), ("WADI_FOUND_WITH", count)]);
        assert_eq!(named("2"), OnQuorumLoss::Available);
        assert_eq!(named("3"), OnQuorumLoss::Strict);
        // What is said counts.
        let said = |what| ("WADI_ON_QUORUM_LOSS", what);
        assert_eq!(
            of(&[("WADI_JOIN", two), said("strict")]),
            OnQuorumLoss::Strict
        );
        assert_eq!(
            of(&[("WADI_JOIN", three), said("available")]),
            OnQuorumLoss::Available
        );
        let error = from(&[said("available")]).unwrap_err().to_string();
        assert!(error.contains("on_quorum_loss"), "{error}");
    }

    #[test]
    fn an_error_names_the_variable() {
        for (name, value) in [
            ("WADI_IDLE_TIMEOUT", "soon"),
            ("WADI_IDLE_TIMEOUT", "-1"),
            ("WADI_MAX_SESSIONS", "many"),
            ("WADI_BUCKETS", "0"),
            ("WADI_BUCKETS", "65536"),
            ("WADI_X_WADI", "perhaps"),
            ("WADI_COOKIE", "chocolate"),
            ("WADI_ON_QUORUM_LOSS", "panic"),
            ("WADI_SAME_SITE", ""),
        ] {
            let error = from(&[(name, value)]).unwrap_err().to_string();
            assert!(error.contains(name), "{error}");
        }
    }
}
