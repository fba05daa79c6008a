//! Dependencies, features and lint tables that must not be in a manifest.

use crate::metadata::{Metadata, Package};
use crate::report::{Failure, because};

/// Direct dependencies of `package`, of any kind, that are among `forbidden` (as crate names).
pub(crate) fn among(metadata: &Metadata, package: &str, forbidden: &[&str]) -> Vec<String> {
    let Some(package) = metadata.member(package) else {
        return vec![format!("there is no package {package}")];
    };
    package
        .dependencies
        .iter()
        .filter(|dependency| forbidden.contains(&dependency.name.replace('-', "_").as_str()))
        .map(|dependency| {
            let kind = dependency
                .kind
                .as_deref()
                .map_or(String::new(), |kind| format!(" ({kind})"));
            format!("{} depends on {}{kind}", package.name, dependency.name)
        })
        .collect()
}

/// Workspace members whose manifest does not take the workspace's lints over.
pub(crate) fn without_lints(metadata: &Metadata) -> Result<Vec<String>, Failure> {
    let mut findings = Vec::new();
    for package in metadata.members() {
        let path = &package.manifest_path;
        let text = std::fs::read_to_string(path).map_err(because(path.display()))?;
        if !takes_lints(&text)? {
            findings.push(format!(
                "{} has no `[lints] workspace = true`",
                package.name
            ));
        }
    }
    Ok(findings)
}

fn takes_lints(manifest: &str) -> Result<bool, Failure> {
    let manifest: toml::Table = manifest.parse().map_err(because("a manifest"))?;
    let lints = manifest
        .get("lints")
        .and_then(|lints| lints.get("workspace"));
    Ok(lints.and_then(toml::Value::as_bool) == Some(true))
}

/// Features that would let a dependency switch a safety rule off.
pub(crate) fn sabotage_features(metadata: &Metadata) -> Vec<String> {
    let named = |package: &Package| {
        let features = package
            .features
            .keys()
            .filter(|feature| feature.contains("sabotage"));
        features
            .map(|feature| format!("{} has a feature {feature}", package.name))
            .collect::<Vec<_>>()
    };
    metadata.members().flat_map(named).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metadata() -> Metadata {
        Metadata::parse(
            r#"{"workspace_members":["a 0"],"packages":[{"id":"a 0","name":"wadi-core","version":"0.1.0",
            "manifest_path":"/a/Cargo.toml","features":{"sabotage-wait":[]},
            "dependencies":[{"name":"tower-service","kind":"dev"},{"name":"bytes","kind":null}]}]}"#,
        )
        .expect("it is metadata")
    }

    #[test]
    fn a_forbidden_dependency_is_found_whatever_its_kind() {
        let found = among(&metadata(), "wadi-core", &["tower_service", "http"]);
        assert_eq!(found, ["wadi-core depends on tower-service (dev)"]);
        assert!(among(&metadata(), "wadi-core", &["http"]).is_empty());
    }

    #[test]
    fn a_package_that_is_not_there_is_a_finding() {
        assert_eq!(among(&metadata(), "wadi-cor", &["http"]).len(), 1);
    }

    #[test]
    fn a_feature_that_switches_a_rule_off_is_found() {
        assert_eq!(sabotage_features(&metadata()).len(), 1);
    }

    #[test]
    fn lints_left_out_are_found() {
        assert!(takes_lints("[lints]\nworkspace = true").expect("it is a manifest"));
        assert!(!takes_lints("[lints.rust]\nunsafe_code = \"forbid\"").expect("it is a manifest"));
    }
}
