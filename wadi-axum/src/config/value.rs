//! What an option's value may look like in a file or in the environment.
//!
//! One reading for both, so that `idle_timeout = "30m"` and `WADI_IDLE_TIMEOUT=30m` are the same.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;
use std::time::Duration;

use serde::de::{Deserialize, Deserializer, Error, Visitor};
use wadi_core::authority::OnQuorumLoss;
use wadi_core::bucket::BucketCount;
use wadi_core::tier::Copies;

use crate::cookie::SameSite;

/// Whether the cookie is for HTTPS or for plain HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CookieMode {
    /// `__Host-`, `Secure`: for HTTPS.
    Secure,
    /// Neither: for HTTP on a developer's machine.
    Plain,
}

/// Where a request and its session, which another node holds, come together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relocate {
    /// The request goes to the session; where requests keep coming by way of one node, the session
    /// follows.
    Adaptive,
    /// The session comes to the request.
    Migrate,
    /// The request goes to the session.
    Proxy,
    /// The client goes to the session with its request, where it can; else the request is proxied.
    Redirect,
    /// Neither: the request is refused.
    None,
}

/// What becomes of what a node still has that was declared dead and comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StaleCopies {
    /// It offers its sessions; where no copy serves, the latest does.
    Offer,
    /// They are dropped.
    Drop,
}

impl StaleCopies {
    /// As it stands in a configuration.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Offer => "offer",
            Self::Drop => "drop",
        }
    }
}

/// A value before its option is known.
pub(super) enum Scalar {
    Text(String),
    Whole(u64),
    Fraction(f64),
    Flag(bool),
}

/// What can be an option. The error completes "`name` …".
pub(super) trait OptionValue: Sized {
    fn from_scalar(scalar: Scalar) -> Result<Self, String>;
}

impl<'de> Deserialize<'de> for Scalar {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        struct Any;

        impl Visitor<'_> for Any {
            type Value = Scalar;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text, a number that is not negative, or a flag")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Scalar, E> {
                Ok(Scalar::Text(text.to_owned()))
            }

            fn visit_u64<E: Error>(self, number: u64) -> Result<Scalar, E> {
                Ok(Scalar::Whole(number))
            }

            fn visit_i64<E: Error>(self, number: i64) -> Result<Scalar, E> {
                u64::try_from(number)
                    .map(Scalar::Whole)
                    .map_err(|_| E::invalid_value(serde::de::Unexpected::Signed(number), &self))
            }

            fn visit_f64<E: Error>(self, number: f64) -> Result<Scalar, E> {
                Ok(Scalar::Fraction(number))
            }

            fn visit_bool<E: Error>(self, flag: bool) -> Result<Scalar, E> {
                Ok(Scalar::Flag(flag))
            }
        }

        input.deserialize_any(Any)
    }
}

/// A duration as it stands in a file, in the environment or on a command line: a number of seconds,
/// or a text such as `30m` or `1h 30m`.
///
/// # Errors
///
/// What is wanted, when the text is something else.
pub fn duration_from_text(text: &str) -> Result<Duration, String> {
    match text.parse::<f64>() {
        Ok(seconds) => Duration::try_from_secs_f64(seconds).ok(),
        Err(_) => humantime::parse_duration(text).ok(),
    }
    .ok_or_else(|| "is a number of seconds, or a text such as 30m or 1h 30m".into())
}

/// Whether the store below has copies of sessions in memory, as it stands in a file, in the environment or on
/// a command line: `never`, `at-once`, or a duration as of [`duration_from_text`].
///
/// # Errors
///
/// What is wanted, when the text is something else.
pub fn copies_from_text(text: &str) -> Result<Copies, String> {
    match text {
        "never" => Ok(Copies::Never),
        "at-once" => Ok(Copies::AtOnce),
        after => duration_from_text(after)
            .map(Copies::After)
            .map_err(|_| "is never, at-once, or a duration such as 10s".into()),
    }
}

impl OptionValue for Copies {
    fn from_scalar(scalar: Scalar) -> Result<Self, String> {
        match scalar {
            Scalar::Text(text) => copies_from_text(&text),
            other => Duration::from_scalar(other).map(Self::After),
        }
    }
}

impl<T: OptionValue> OptionValue for Option<T> {
    fn from_scalar(scalar: Scalar) -> Result<Self, String> {
        T::from_scalar(scalar).map(Some)
    }
}

impl OptionValue for SocketAddr {
    fn from_scalar(scalar: Scalar) -> Result<Self, String> {
        let address = match scalar {
            Scalar::Text(text) => text.parse().ok(),
            _ => None,
        };
        address.ok_or_else(|| "is an address and a port, such as 127.0.0.1:7000".into())
    }
}

impl OptionValue for Vec<String> {
    fn from_scalar(scalar: Scalar) -> Result<Self, String> {
        let text = String::from_scalar(scalar)?;
        let parts = text.split(',').map(str::trim);
        Ok(parts
            .filter(|part| !part.is_empty())
            .map(str::to_owned)
            .collect())
    }
}

impl OptionValue for Duration {
    fn from_scalar(scalar: Scalar) -> Result<Self, String> {
        match scalar {
            Scalar::Whole(seconds) => Ok(Self::from_secs(seconds)),
            Scalar::Fraction(seconds) => duration_from_text(&seconds.to_string()),
            Scalar::Text(text) => duration_from_text(&text),
            Scalar::Flag(flag) => duration_from_text(if flag { "true" } else { "false" }),
        }
    }
}

impl OptionValue for usize {
    fn from_scalar(scalar: Scalar) -> Result<Self, String> {
        match scalar {
            Scalar::Whole(number) => Self::try_from(number).ok(),
            Scalar::Text(text) => text.parse().ok(),
            Scalar::Fraction(_) | Scalar::Flag(_) => None,
        }
        .ok_or_else(|| "is a whole number that is not negative".into())
    }
}

impl OptionValue for BucketCount {
    fn from_scalar(scalar: Scalar) -> Result<Self, String> {
        usize::from_scalar(scalar)
            .ok()
            .and_then(|number| u16::try_from(number).ok())
            .and_then(Self::new)
            .ok_or_else(|| "is a whole number from 1 to 65535".into())
    }
}

impl OptionValue for bool {
    fn from_scalar(scalar: Scalar) -> Result<Self, String> {
        match scalar {
            Scalar::Flag(flag) => Some(flag),
            Scalar::Text(text) => text.parse().ok(),
            Scalar::Whole(_) | Scalar::Fraction(_) => None,
        }
        .ok_or_else(|| "is true or false".into())
    }
}

impl OptionValue for String {
    fn from_scalar(scalar: Scalar) -> Result<Self, String> {
        match scalar {
            Scalar::Text(text) => Ok(text),
            _ => Err("is a text".into()),
        }
    }
}

impl FromStr for CookieMode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::from_scalar(Scalar::Text(text.to_owned()))
    }
}

impl OptionValue for CookieMode {
    fn from_scalar(scalar: Scalar) -> Result<Self, String> {
        one_of(scalar, &[("secure", Self::Secure), ("plain", Self::Plain)])
            .ok_or_else(|| "is secure or plain".into())
    }
}

impl FromStr for Relocate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::from_scalar(Scalar::Text(text.to_owned()))
    }
}

impl OptionValue for Relocate {
    fn from_scalar(scalar: Scalar) -> Result<Self, String> {
        one_of(
            scalar,
            &[
                ("adaptive", Self::Adaptive),
                ("migrate", Self::Migrate),
                ("proxy", Self::Proxy),
                ("redirect", Self::Redirect),
                ("none", Self::None),
            ],
        )
        .ok_or_else(|| "is adaptive, migrate, proxy, redirect or none".into())
    }
}

impl FromStr for StaleCopies {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::from_scalar(Scalar::Text(text.to_owned()))
    }
}

impl OptionValue for StaleCopies {
    fn from_scalar(scalar: Scalar) -> Result<Self, String> {
        let all = [Self::Offer, Self::Drop].map(|one| (one.as_str(), one));
        one_of(scalar, &all).ok_or_else(|| "is offer or drop".into())
    }
}

impl OptionValue for OnQuorumLoss {
    fn from_scalar(scalar: Scalar) -> Result<Self, String> {
        let all = [Self::Strict, Self::Available].map(|one| (one.as_str(), one));
        one_of(scalar, &all).ok_or_else(|| "is strict or available".into())
    }
}

impl OptionValue for SameSite {
    fn from_scalar(scalar: Scalar) -> Result<Self, String> {
        one_of(
            scalar,
            &[
                ("lax", Self::Lax),
                ("strict", Self::Strict),
                ("none", Self::None),
            ],
        )
        .ok_or_else(|| "is lax, strict or none".into())
    }
}

fn one_of<T: Copy>(scalar: Scalar, words: &[(&str, T)]) -> Option<T> {
    let Scalar::Text(text) = scalar else {
        return None;
    };
    let known = |(word, _): &&(&str, T)| text.eq_ignore_ascii_case(word);
    words.iter().find(known).map(|(_, value)| *value)
}
