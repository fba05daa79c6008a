//! Licences, duplicate versions and sources of every dependency, by the rules in `deny.toml`.
//!
//! `cargo deny` reads them where it is installed. Where it is not, the same file is read here and
//! held against `cargo metadata`: less thorough (it believes the manifests), but never skipped.
//!
//! Licences and sources count for everything that we build. Duplicates count only where a user would
//! compile both: our test peers and tools may be behind.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use crate::child::{self, Child, is_installed};
use crate::metadata::{Metadata, Package};
use crate::report::{Failure, Outcome, because};

#[derive(Deserialize)]
struct Rules {
    licenses: Licences,
    bans: Bans,
    sources: Sources,
}

#[derive(Deserialize)]
struct Licences {
    allow: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Bans {
    skip: Vec<Skipped>,
}

/// `{ crate = "name@1.2.3", reason = "…" }`; the version may be left out.
#[derive(Deserialize)]
struct Skipped {
    #[serde(rename = "crate")]
    name: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Sources {
    allow_registry: Vec<String>,
}

/// Licences, duplicates, sources.
pub(crate) fn run() -> Outcome {
    let metadata = Metadata::read()?;
    if is_installed("cargo-deny") {
        let all = [
            "deny",
            "--offline",
            "--workspace",
            "check",
            "licenses",
            "sources",
        ];
        Child::cargo(all).show()?;
        let ours = metadata.members().filter(|package| !package.is_published());
        let excluded = ours.flat_map(|package| ["--exclude", package.name.as_str()]);
        let shipped = ["deny", "--offline", "--workspace", "--exclude-dev"].into_iter();
        Child::cargo(shipped.chain(excluded).chain(["check", "bans"])).show()?;
        return Ok("by cargo deny".to_owned());
    }
    let text =
        std::fs::read_to_string(child::top().join("deny.toml")).map_err(because("deny.toml"))?;
    let rules: Rules = toml::from_str(&text).map_err(because("deny.toml"))?;
    let strangers: Vec<&Package> = metadata
        .packages
        .iter()
        .filter(|package| package.source.is_some())
        .collect();
    let mut findings = rules.licenses.findings(&strangers);
    findings.extend(rules.bans.findings(&metadata.shipped()?));
    findings.extend(rules.sources.findings(&strangers));
    for finding in &findings {
        println!("  {finding}");
    }
    match findings.first() {
        None => Ok(format!(
            "{} dependencies, by their manifests (cargo-deny is not installed)",
            strangers.len()
        )),
        Some(first) => Err(Failure::failed(format!(
            "{} findings; the first: {first}",
            findings.len()
        ))),
    }
}

/// Known vulnerabilities; they need a database from the network.
pub(crate) fn advisories() -> Outcome {
    if !is_installed("cargo-deny") {
        return Err(Failure::not_run("cargo-deny is not installed"));
    }
    let said = Child::cargo(["deny", "--workspace", "check", "advisories"])
        .silent()
        .listen()?;
    if said.success {
        return Ok("no known vulnerability".to_owned());
    }
    // Not to be reached is no verdict; whatever else it says is one.
    if said
        .lines
        .iter()
        .any(|line| line.contains("failed to fetch advisory database"))
    {
        return Err(Failure::not_run(
            "the advisory database cannot be reached from here",
        ));
    }
    for line in &said.lines {
        println!("{line}");
    }
    Err(Failure::Failed(said.ended))
}

impl Licences {
    fn findings(&self, packages: &[&Package]) -> Vec<String> {
        let mut findings = Vec::new();
        for package in packages {
            let name = format!("{} {}", package.name, package.version);
            match &package.license {
                None => findings.push(format!("{name} states no licence")),
                Some(licence) if !self.allows(licence) => {
                    findings.push(format!("{name} is under {licence}"))
                }
                Some(_) => {}
            }
        }
        findings
    }

    /// Whether some way of reading the expression needs only what is allowed.
    fn allows(&self, expression: &str) -> bool {
        let parsed = spdx::Expression::parse_mode(expression, spdx::ParseMode::LAX);
        parsed.is_ok_and(|parsed| parsed.evaluate(|asked| self.allow.contains(&asked.to_string())))
    }
}

impl Bans {
    fn findings(&self, packages: &[&Package]) -> Vec<String> {
        let mut versions: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for package in packages.iter().filter(|package| !self.skips(package)) {
            versions
                .entry(&package.name)
                .or_default()
                .insert(&package.version);
        }
        versions
            .into_iter()
            .filter(|(_, versions)| versions.len() > 1)
            .map(|(name, versions)| {
                format!(
                    "{name} comes in {} versions: {}",
                    versions.len(),
                    Vec::from_iter(versions).join(", ")
                )
            })
            .collect()
    }

    fn skips(&self, package: &Package) -> bool {
        self.skip
            .iter()
            .any(|skipped| match skipped.name.split_once('@') {
                Some((name, version)) => {
                    name == package.name
                        && package.version.starts_with(version.trim_start_matches('='))
                }
                None => skipped.name == package.name,
            })
    }
}

impl Sources {
    fn findings(&self, packages: &[&Package]) -> Vec<String> {
        let allowed = |source: &str| {
            source
                .strip_prefix("registry+")
                .is_some_and(|registry| self.allow_registry.iter().any(|known| known == registry))
        };
        packages
            .iter()
            .filter(|package| !package.source.as_deref().is_some_and(allowed))
            .map(|package| {
                format!(
                    "{} {} comes from a source that is not allowed",
                    package.name, package.version
                )
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packages() -> Vec<Package> {
        let package = |version: &str, licence: &str, source: &str| {
            format!(
                r#"{{"id":"a","name":"a","version":"{version}","license":"{licence}","source":"{source}",
                "manifest_path":"/","features":{{}},"dependencies":[]}}"#
            )
        };
        let json = format!(
            r#"{{"workspace_members":[],"packages":[{},{}]}}"#,
            package("1.0.0", "MIT/Apache-2.0", "registry+https://here"),
            package("2.0.0", "GPL-3.0-only", "git+https://there"),
        );
        Metadata::parse(&json).expect("it is metadata").packages
    }

    #[test]
    fn a_licence_that_is_not_allowed_is_found() {
        let licences = Licences {
            allow: vec![
                "0BSD".to_owned(),
                "MIT".to_owned(),
                "Apache-2.0 WITH LLVM-exception".to_owned(),
            ],
        };
        assert!(licences.allows("0BSD"));
        assert!(licences.allows("MIT OR GPL-3.0-only"));
        assert!(licences.allows("MIT/Apache-2.0"));
        assert!(licences.allows("Apache-2.0 WITH LLVM-exception AND MIT"));
        assert!(!licences.allows("MIT AND GPL-3.0-only"));
        assert!(!licences.allows("Apache-2.0"));
        let packages = packages();
        let found = licences.findings(&packages.iter().collect::<Vec<_>>());
        assert_eq!(found, ["a 2.0.0 is under GPL-3.0-only"]);
    }

    #[test]
    fn two_versions_are_found_unless_one_is_skipped() {
        let packages = packages();
        let packages: Vec<&Package> = packages.iter().collect();
        assert_eq!(Bans { skip: Vec::new() }.findings(&packages).len(), 1);
        let skip = vec![Skipped {
            name: "a@1.0".to_owned(),
        }];
        assert!(Bans { skip }.findings(&packages).is_empty());
    }

    #[test]
    fn a_strange_source_is_found() {
        let sources = Sources {
            allow_registry: vec!["https://here".to_owned()],
        };
        let packages = packages();
        assert_eq!(
            sources.findings(&packages.iter().collect::<Vec<_>>()).len(),
            1
        );
    }
}
