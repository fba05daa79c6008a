//! Options from any serde format: a map of names to values.
//!
//! Written by hand, because a derived one does not name the option whose value is wrong.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};

use super::options::WadiConfigBuilder;
use super::value::Scalar;

impl<'de> Deserialize<'de> for WadiConfigBuilder {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        struct Options;

        impl<'de> Visitor<'de> for Options {
            type Value = WadiConfigBuilder;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map of options")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut builder = WadiConfigBuilder::default();
                while let Some(name) = map.next_key::<Cow<'de, str>>()? {
                    if !WadiConfigBuilder::NAMES.contains(&&*name) {
                        return Err(A::Error::unknown_field(&name, WadiConfigBuilder::NAMES));
                    }
                    if builder.has(&name) {
                        return Err(A::Error::custom(format_args!("{name} is given twice")));
                    }
                    let scalar: Scalar = map
                        .next_value()
                        .map_err(|error| A::Error::custom(format_args!("{name}: {error}")))?;
                    builder
                        .set(&name, scalar)
                        .map_err(|why| A::Error::custom(format_args!("{name} {why}")))?;
                }
                Ok(builder)
            }
        }

        input.deserialize_map(Options)
    }
}
