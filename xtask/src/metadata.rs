//! What `cargo metadata` says of the workspace: its packages and what they depend on.

use std::collections::BTreeMap;

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

impl Package {
    /// Whether it may be published, so that strangers build it.
    pub(crate) fn is_published(&self) -> bool {
        self.publish
            .as_ref()
            .is_none_or(|registries| !registries.is_empty())
    }
}
