//! What `cargo metadata` says of the workspace: its packages and what they depend on.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use crate::child::Child;
use crate::report::{Failure, because};

/// The workspace and every package it is built from.
#[derive(Deserialize)]
pub(crate) struct Metadata {
    pub(crate) packages: Vec<Package>,
    workspace_members: Vec<String>,
}

#[derive(Deserialize)]
pub(crate) struct Package {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) license: Option<String>,
    pub(crate) source: Option<String>,
    pub(crate) rust_version: Option<String>,
    pub(crate) dependencies: Vec<Dependency>,
    pub(crate) features: BTreeMap<String, Vec<String>>,
    pub(crate) manifest_path: std::path::PathBuf,
    /// `Some([])` for a package that is never published.
    pub(crate) publish: Option<Vec<String>>,
}

#[derive(Deserialize)]
pub(crate) struct Dependency {
    pub(crate) name: String,
    /// `None`: ordinary; else `dev` or `build`.
    pub(crate) kind: Option<String>,
}

impl Metadata {
    /// The whole graph, all platforms and features.
    pub(crate) fn read() -> Result<Self, Failure> {
        Self::parse(
            &Child::cargo([
                "metadata",
                "--format-version=1",
                "--all-features",
                "--locked",
            ])
            .answer()?,
        )
    }

    pub(crate) fn parse(json: &str) -> Result<Self, Failure> {
        serde_json::from_str(json).map_err(because("cargo metadata"))
    }

    /// The workspace's own packages.
    pub(crate) fn members(&self) -> impl Iterator<Item = &Package> {
        self.packages
            .iter()
            .filter(|package| self.workspace_members.contains(&package.id))
    }

    /// The workspace's package of this name, where there is one.
    pub(crate) fn member(&self, name: &str) -> Option<&Package> {
        self.members().find(|package| package.name == name)
    }
}

impl Metadata {
    /// What somebody who depends on our published crates compiles: neither our tools nor our tests, and
    /// no feature that only those switch on. `cargo tree` knows; the metadata mixes all features.
    pub(crate) fn shipped(&self) -> Result<Vec<&Package>, Failure> {
        let published = self.members().filter(|package| package.is_published());
        let named = published.flat_map(|package| ["--package", package.name.as_str()]);
        let words = [
            "tree",
            "--locked",
            "--edges=normal,build",
            "--all-features",
            "--target=all",
        ];
        let form = ["--prefix=none", "--format={p}"];
        let tree = Child::cargo(words.into_iter().chain(form).chain(named)).answer()?;
        Ok(self.named_in(&tree))
    }

    /// The packages that a tree of `name vVERSION …` lines names.
    fn named_in(&self, tree: &str) -> Vec<&Package> {
        let named: BTreeSet<(&str, &str)> = tree
            .lines()
            .filter_map(|line| {
                let mut words = line.split_whitespace();
                Some((words.next()?, words.next()?.strip_prefix('v')?))
            })
            .collect();
        let is_named =
            |package: &&Package| named.contains(&(package.name.as_str(), package.version.as_str()));
        self.packages.iter().filter(is_named).collect()
    }
}

impl Package {
    /// Whether it may be published, so that strangers build it.
    pub(crate) fn is_published(&self) -> bool {
        self.publish
            .as_ref()
            .is_none_or(|registries| !registries.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_names_packages_by_name_and_version() {
        let package = |version: &str| {
            format!(
                r#"{{"id":"{version}","name":"near","version":"{version}","manifest_path":"/",
                "features":{{}},"dependencies":[]}}"#
            )
        };
        let packages = [package("1.0.0"), package("2.0.0")].join(",");
        let json = format!(r#"{{"workspace_members":[],"packages":[{packages}]}}"#);
        let metadata = Metadata::parse(&json).expect("it is metadata");
        let named = metadata.named_in("ours v0.1.0 (/here)\nnear v2.0.0 (*)\n\n");
        assert_eq!(named.len(), 1);
        assert_eq!(named[0].version, "2.0.0");
    }
}
