//! The cluster's secrets in a file, one per line.
//!
//! A secret is never shown, and is gone once a key is derived from it.

use std::fs::OpenOptions;
use std::io::Write as _;
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

/// The keys in the file at `path`, as [`keys_from_file`]. Where there is no such file it is made first, with
/// its directory and one secret from the operating system, and for this user alone: so the cookies of a node that keeps its
/// sessions are good when it starts again. Two that make it at once have the same keys.
///
/// # Errors
///
/// As of [`keys_from_file`], and [`ConfigError::MakeKeyFile`].
pub fn keys_kept_at(path: impl AsRef<Path>) -> Result<Keyring, ConfigError> {
    let path = path.as_ref();
    match std::fs::exists(path) {
        Ok(true) => {}
        Ok(false) | Err(_) => make(path).map_err(|error| ConfigError::MakeKeyFile {
            path: path.to_owned(),
            error,
        })?,
    }
    keys_from_file(path)
}

/// Whole or not at all, whoever is killed in the middle; and never in the place of another.
fn make(path: &Path) -> std::io::Result<()> {
    if let Some(directory) = path.parent().filter(|it| !it.as_os_str().is_empty()) {
        let mut builder = std::fs::DirBuilder::new();
        builder.recursive(true);
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(directory)?;
    }
    let mut random = [0; 32];
    getrandom::fill(&mut random).map_err(std::io::Error::other)?;
    let secret = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, random);
    let mut unfinished = path.as_os_str().to_owned();
    let mut mark = [0; 8];
    getrandom::fill(&mut mark).map_err(std::io::Error::other)?;
    unfinished.push(format!(".{:x}", u64::from_ne_bytes(mark)));
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&unfinished)?;
    writeln!(
        file,
        "# What marks this node's session ids as its own. Keep it secret."
    )?;
    writeln!(file, "{secret}")?;
    file.sync_all()?;
    let linked = std::fs::hard_link(&unfinished, path);
    std::fs::remove_file(&unfinished)?;
    match linked {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        linked => linked,
    }
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
    fn a_file_that_is_not_there_is_made_once() {
        let directory = std::env::temp_dir().join(format!("wadi-keys-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let path = directory.join("keys");
        let made: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4)
                .map(|_| scope.spawn(|| keys_kept_at(&path)))
                .collect();
            let joined = threads.into_iter().map(|thread| thread.join().unwrap());
            joined.collect()
        });
        let id = SessionId::from_parts([7; 16], 1);
        let again = keys_kept_at(&path).unwrap();
        for ring in made {
            let text = ring.unwrap().text(&id);
            let presented = PresentedId::parse(text.expose().as_bytes()).unwrap();
            assert!(again.verify(&presented).is_some());
        }
        let files = std::fs::read_dir(&directory).unwrap().count();
        assert_eq!(files, 1, "nothing else is left there");
        #[cfg(unix)]
        {
            let mode = std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(&path).unwrap());
            assert_eq!(mode & 0o777, 0o600);
        }
        let error = keys_kept_at(path.join("below/a/file")).unwrap_err();
        assert!(error.to_string().contains("let this process write there"));
        std::fs::remove_dir_all(&directory).unwrap();
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
