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
    resolve: Option<Resolve>,
}

#[derive(Deserialize)]
struct Resolve {
    nodes: Vec<Node>,
}

#[derive(Deserialize)]
struct Node {
    id: String,
    deps: Vec<Edge>,
}

#[derive(Deserialize)]
struct Edge {
    pkg: String,
    dep_kinds: Vec<EdgeKind>,
}

#[derive(Deserialize)]
struct EdgeKind {
    kind: Option<String>,
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
    /// What somebody who depends on our published crates compiles: neither our tools nor our tests.
    pub(crate) fn shipped(&self) -> Vec<&Package> {
        let edges: BTreeMap<&str, Vec<&str>> = self
            .resolve
            .iter()
            .flat_map(|resolve| &resolve.nodes)
            .map(|node| {
                let shipped = |edge: &&Edge| {
                    edge.dep_kinds
                        .iter()
                        .any(|kind| kind.kind.as_deref() != Some("dev"))
                };
                let deps = node
                    .deps
                    .iter()
                    .filter(shipped)
                    .map(|edge| edge.pkg.as_str());
                (node.id.as_str(), deps.collect())
            })
            .collect();
        let published = self.members().filter(|package| package.is_published());
        let mut left: Vec<&str> = published.map(|package| package.id.as_str()).collect();
        let mut reached = BTreeSet::new();
        while let Some(id) = left.pop() {
            if reached.insert(id) {
                left.extend(edges.get(id).into_iter().flatten());
            }
        }
        let shipped = |package: &&Package| reached.contains(package.id.as_str());
        self.packages.iter().filter(shipped).collect()
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
    fn only_what_reaches_a_user_is_shipped() {
        let package = |id: &str, publish: &str| {
            format!(
                r#"{{"id":"{id}","name":"{id}","version":"1.0.0","publish":{publish},"manifest_path":"/",
                "features":{{}},"dependencies":[]}}"#
            )
        };
        let edge =
            |to: &str, kind: &str| format!(r#"{{"pkg":"{to}","dep_kinds":[{{"kind":{kind}}}]}}"#);
        let json = format!(
            r#"{{"workspace_members":["ours","tool"],"packages":[{}],"resolve":{{"nodes":[
            {{"id":"ours","deps":[{},{}]}},{{"id":"near","deps":[{}]}},{{"id":"tool","deps":[{}]}}]}}}}"#,
            [
                package("ours", "null"),
                package("tool", "[]"),
                package("near", "null"),
                package("far", "null"),
                package("for-tests", "null"),
                package("for-tools", "null"),
            ]
            .join(","),
            edge("near", "null"),
            edge("for-tests", "\"dev\""),
            edge("far", "\"build\""),
            edge("for-tools", "null"),
        );
        let metadata = Metadata::parse(&json).expect("it is metadata");
        let names: Vec<&str> = metadata
            .shipped()
            .iter()
            .map(|package| package.name.as_str())
            .collect();
        assert_eq!(names, ["ours", "near", "far"]);
    }
}
