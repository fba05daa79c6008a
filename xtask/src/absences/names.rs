//! Names that must not stand in some sources.

use crate::report::Failure;
use crate::source::{Named, Source};

/// What must not be named. Comments and strings are free to name it.
pub(crate) struct Forbidden {
    /// Paths, and everything below them.
    pub(crate) paths: &'static [&'static str],
    /// Single identifiers, wherever they stand.
    pub(crate) names: &'static [&'static str],
    /// Crates: a path's first segment, or what `extern crate` and a plain `use` name.
    pub(crate) roots: &'static [&'static str],
    /// Parts of identifiers, in any case.
    pub(crate) parts: &'static [&'static str],
}

impl Forbidden {
    /// What these sources name of it: one finding each, with file and line.
    pub(crate) fn in_sources(&self, sources: &[Source]) -> Vec<String> {
        let mut findings = Vec::new();
        for source in sources {
            let mut found: Vec<Named> = source.paths();
            found.retain(|named| self.forbids_path(named));
            let mut single: Vec<Named> = source.names();
            single.retain(|named| self.forbids_name(&named.segments[0]));
            found.extend(single);
            found.sort();
            found.dedup_by_key(|named| named.line);
            findings.extend(found.iter().map(|named| {
                format!(
                    "{}:{}: {}",
                    source.path.display(),
                    named.line,
                    named.segments.join("::")
                )
            }));
        }
        findings
    }

    /// The same for every source in these directories.
    pub(crate) fn in_directories(&self, directories: &[&str]) -> Result<Vec<String>, Failure> {
        Ok(self.in_sources(&Source::read_all(directories)?))
    }

    fn forbids_path(&self, named: &Named) -> bool {
        let path = named.segments.join("::");
        let below =
            |forbidden: &&str| path == **forbidden || path.starts_with(&format!("{forbidden}::"));
        self.roots.contains(&named.segments[0].as_str()) || self.paths.iter().any(below)
    }

    fn forbids_name(&self, name: &str) -> bool {
        let lower = name.to_lowercase();
        self.names.contains(&name) || self.parts.iter().any(|part| lower.contains(part))
    }
}

const EMPTY_NAMES: &[&str] = &[
    "utils", "util", "helpers", "helper", "common", "misc", "manager2",
];

/// Modules whose name says nothing.
pub(crate) fn module_names(sources: &[Source]) -> Vec<String> {
    let mut findings = Vec::new();
    for source in sources {
        let in_path = source.path.with_extension("");
        if in_path
            .iter()
            .any(|part| EMPTY_NAMES.contains(&part.to_string_lossy().as_ref()))
        {
            findings.push(format!(
                "{}: a module says what it is for",
                source.path.display()
            ));
        }
        let names = source.names();
        for pair in names.windows(2) {
            if pair[0].segments == ["mod"] && EMPTY_NAMES.contains(&pair[1].segments[0].as_str()) {
                let (line, name) = (pair[1].line, &pair[1].segments[0]);
                findings.push(format!("{}:{line}: mod {name}", source.path.display()));
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: Forbidden = Forbidden {
        paths: &["tokio::net"],
        names: &["Mutex", "await"],
        roots: &["http"],
        parts: &["session"],
    };

    fn findings(text: &str) -> usize {
        ALL.in_sources(&[Source::parse("here.rs", text).expect("it is Rust")])
            .len()
    }

    #[test]
    fn each_kind_of_name_is_found() {
        assert_eq!(findings("use tokio::net::TcpStream;"), 1);
        assert_eq!(findings("use tokio::{sync::Notify, net};"), 1);
        assert_eq!(findings("fn a() { let b = std::sync::Mutex::new(1); }"), 1);
        assert_eq!(findings("async fn a() { b().await }"), 1);
        assert_eq!(findings("fn a(b: http::Uri) {}"), 1);
        assert_eq!(findings("struct OldSessionMap;"), 1);
    }

    #[test]
    fn what_only_looks_like_it_is_left_alone() {
        assert_eq!(
            findings("//! A session behind a Mutex, over http::Uri and tokio::net.\n"),
            0
        );
        assert_eq!(
            findings("use tokio::network::Thing; struct MutexLike; fn http() {}"),
            0
        );
        assert_eq!(findings("fn a() -> &'static str { \"session\" }"), 0);
    }

    #[test]
    fn a_module_that_says_nothing_is_found_by_file_and_by_word() {
        let by_file = Source::parse("wadi-core/src/utils.rs", "").expect("it is Rust");
        let by_word =
            Source::parse("wadi-core/src/lock.rs", "mod helpers { }").expect("it is Rust");
        let fine = Source::parse("wadi-core/src/lock.rs", "mod guard; fn helpers() {}")
            .expect("it is Rust");
        assert_eq!(module_names(&[by_file]).len(), 1);
        assert_eq!(module_names(&[by_word]).len(), 1);
        assert_eq!(module_names(&[fine]).len(), 0);
    }
}
