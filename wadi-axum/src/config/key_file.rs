//! The cluster's secrets in a file, one per line.
//!
//! A secret is never shown, and is gone once a key is derived from it.

use std::path::Path;

use wadi_core::session::{ClusterKey, Keyring};

use super::error::ConfigError;
use super::value::{OptionValue, Scalar};

/// The keys in the file at `path`: one secret per line, the first mints ids, all are accepted.
/// Empty lines and lines that start with `#` do not count.
///
/// # Errors
///
/// [`ConfigError::KeyFile`], [`ConfigError::NoKey`] or [`ConfigError::ShortKey`].
pub fn keys_from_file(path: impl AsRef<Path>) -> Result<Keyring, ConfigError> {
    parse(&std::fs::read_to_string(path).map_err(ConfigError::KeyFile)?)
}

/// What the fuzz target calls: keys, or a refusal that knows of a line no more than its length.
#[cfg(any(test, fuzzing))]
pub(crate) fn check(text: &str) {
    let lines = || text.lines().map(str::trim);
    let mut secrets = lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    match parse(text) {
        Ok(_) => assert!(secrets.all(|line| line.len() >= 32)),
        Err(ConfigError::NoKey) => assert_eq!(secrets.next(), None),
        Err(ConfigError::ShortKey { line, length }) => {
            assert_eq!(lines().nth(line - 1).map(str::len), Some(length));
            assert!(length < 32);
        }
        Err(error) => panic!("{error}"),
    }
}

fn parse(text: &str) -> Result<Keyring, ConfigError> {
    let mut keys = text
        .lines()
        .zip(1..)
        .map(|(line, number)| (line.trim(), number))
        .filter(|(line, _)| !line.is_empty() && !line.starts_with('#'))
        .map(|(line, number)| {
            ClusterKey::from_secret(line.as_bytes()).ok_or(ConfigError::ShortKey {
                line: number,
                length: line.len(),
            })
        });
    let minting = keys.next().ok_or(ConfigError::NoKey)??;
    keys.try_fold(Keyring::new(minting), |ring, key| Ok(ring.accepting(key?)))
}

impl OptionValue for Keyring {
    fn from_scalar(scalar: Scalar) -> Result<Self, String> {
        let path = String::from_scalar(scalar)?;
        keys_from_file(path).map_err(|error| format!("cannot be used: {error}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wadi_core::session::{PresentedId, SessionId};

    const OLD: &str = "0123456789abcdef0123456789abcdef";
    const NEW: &str = "fedcba9876543210fedcba9876543210";

    #[test]
    fn the_first_line_mints_and_every_line_is_accepted() {
        let old = parse(OLD).unwrap();
        let both = parse(&format!("# new first\n\n  {NEW}\n{OLD}\n")).unwrap();
        let new = parse(NEW).unwrap();
        let id = SessionId::from_parts([7; 16], 1);
        let presented = |ring: &Keyring| {
            PresentedId::parse(ring.text(&id).expose().as_bytes()).expect("our own text")
        };
        assert!(both.verify(&presented(&old)).is_some());
        assert!(new.verify(&presented(&both)).is_some());
        assert!(old.verify(&presented(&both)).is_none());
    }

    #[test]
    fn errors_say_where_and_show_no_secret() {
        let error = parse(&format!("{OLD}\nhunter2\n")).unwrap_err().to_string();
        assert!(error.contains("line 2"), "{error}");
        assert!(
            !error.contains("hunter2") && !error.contains(OLD),
            "{error}"
        );
        assert!(matches!(parse("# none\n\n"), Err(ConfigError::NoKey)));
        let error = keys_from_file(NEW).unwrap_err().to_string();
        assert!(!error.contains(NEW), "{error}");
    }
}
