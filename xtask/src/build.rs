//! Builds executables and says where they are.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use crate::child::{self, Child};
use crate::report::Failure;

/// What is optimised for users, and costs more to compile so before a landing than it takes to run there: the
/// reference node's own parts, which nothing there measures. None of it checks more than when it is optimised.
const QUICK: [&str; 9] = [
    "chrono",
    "clap_builder",
    "metrics-exporter-prometheus",
    "regex-automata",
    "regex-syntax",
    "rustls",
    "tracing-subscriber",
    "wadi-examples",
    "wadi-transport",
];

/// Of one build, also where it has what others leave of the processor.
const LIMIT: Duration = Duration::from_secs(1200);

#[derive(Deserialize)]
struct Message {
    executable: Option<PathBuf>,
    target: Option<Target>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
}

/// One build by cargo.
pub(crate) struct Build {
    arguments: Vec<String>,
    environment: Vec<(&'static str, OsString)>,
}

impl Build {
    /// `cargo build` with these words.
    pub(crate) fn new<S: Into<String>>(arguments: impl IntoIterator<Item = S>) -> Self {
        Self {
            arguments: arguments.into_iter().map(Into::into).collect(),
            environment: Vec::new(),
        }
    }

    /// The optimised executables of these names, of any package that is a program. All are chosen from the
    /// same packages: so what they stand on has the same features and is compiled once. `xtask` is not one
    /// of them, because what it needs is nobody else's.
    pub(crate) fn optimised(names: &[&str]) -> Self {
        Self::bins(["--release", "--workspace", "--exclude=xtask"], names)
    }

    /// The same of those that know the protocol alone: without the authority among several nodes, which
    /// takes longer to compile than all else that is ours.
    pub(crate) fn of_the_protocol(names: &[&str]) -> Self {
        let packages = ["--package=wadi-models", "--package=wadi-simulator"];
        Self::bins(["--release"].into_iter().chain(packages), names)
    }

    fn bins<'a>(packages: impl IntoIterator<Item = &'a str>, names: &[&'a str]) -> Self {
        let bins = names.iter().flat_map(|name| ["--bin", *name]);
        Self::new(packages.into_iter().chain(bins))
    }

    /// The unoptimised executable of this name, with the features that everything has in the tests: then
    /// nothing is compiled again after these. (A test is built beside it, for the features of tests.)
    pub(crate) fn as_in_tests(name: &str) -> Self {
        let packages = ["--workspace", "--all-features"];
        Self::new(
            packages
                .into_iter()
                .chain(["--test", "readme", "--bin", name]),
        )
    }

    /// An environment variable for cargo.
    pub(crate) fn env(mut self, name: &'static str, value: impl Into<OsString>) -> Self {
        self.environment.push((name, value.into()));
        self
    }

    /// Builds, and gives the executable of the target called `name`.
    pub(crate) fn executable(self, name: &str) -> Result<PathBuf, Failure> {
        let mut built = self.executables(&[name])?;
        Ok(built.remove(0))
    }

    /// Builds, and gives the executables of the targets so called, one of each name and in that order.
    pub(crate) fn executables(self, names: &[&str]) -> Result<Vec<PathBuf>, Failure> {
        let mut words = vec![
            "build".to_owned(),
            "--message-format=json-render-diagnostics".to_owned(),
        ];
        if child::is_built_once() {
            let quick = |name| format!("--config=profile.release.package.{name}.opt-level=0");
            words.extend(QUICK.map(quick));
        }
        words.extend(self.arguments);
        let mut child = Child::cargo(words).limit(LIMIT);
        for (name, value) in self.environment {
            child = child.env(name, value);
        }
        let answer = child.answer()?;
        let found = names.iter().map(|name| {
            find(&answer, name).ok_or_else(|| {
                Failure::failed(format!("the build gave no executable called {name}"))
            })
        });
        found.collect()
    }
}

fn find(answer: &str, name: &str) -> Option<PathBuf> {
    answer
        .lines()
        .filter_map(|line| serde_json::from_str::<Message>(line).ok())
        .filter(|message| {
            message
                .target
                .as_ref()
                .is_some_and(|target| target.name == name)
        })
        .find_map(|message| message.executable)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_executable_of_the_named_target_is_found() {
        let answer = concat!(
            r#"{"reason":"compiler-artifact","target":{"name":"a"},"executable":null}"#,
            "\n",
            r#"{"reason":"compiler-artifact","target":{"name":"b"},"executable":"/t/b"}"#,
            "\n",
            r#"{"reason":"build-finished","success":true}"#
        );
        assert_eq!(find(answer, "b"), Some(PathBuf::from("/t/b")));
        assert_eq!(find(answer, "a"), None);
    }
}
