//! The oldest compiler that is promised: stated by every crate, and not undone by a dependency.
//!
//! That our own code keeps to it is clippy's lint `incompatible_msrv`; where that very compiler is
//! installed, it is asked too.

use crate::child::{Child, is_installed};
use crate::metadata::Metadata;
use crate::report::{Failure, Outcome};

pub(crate) fn run() -> Outcome {
    let metadata = Metadata::read()?;
    let stated = stated(&metadata)?;
    let too_new = too_new(&metadata, &stated);
    if !too_new.is_empty() {
        return Err(Failure::failed(format!(
            "{stated} is promised, but {}",
            too_new.join(", ")
        )));
    }
    let toolchain = format!("+{stated}");
    let has_it = is_installed("rustup")
        && Child::new("rustup")
            .args(["toolchain", "list"])
            .answer()?
            .lines()
            .any(|line| line.starts_with(&stated));
    if has_it {
        // The proxy understands `+1.90`; the cargo that started this program may be the real one.
        Child::new("cargo")
            .args([
                &toolchain,
                "check",
                "--workspace",
                "--target-dir",
                "target/msrv",
            ])
            .show()?;
        return Ok(format!("{stated}, compiled with it"));
    }
    Ok(format!(
        "{stated} stated, linted, and at least what each dependency asks (Rust {stated} itself is not installed)"
    ))
}

/// The one version that every member states.
fn stated(metadata: &Metadata) -> Result<String, Failure> {
    let mut stated = None;
    for package in metadata.members() {
        match (&package.rust_version, &stated) {
            (None, _) => {
                return Err(Failure::failed(format!(
                    "{} states no rust-version",
                    package.name
                )));
            }
            (Some(own), Some(first)) if own != first => {
                return Err(Failure::failed(format!(
                    "{} states {own}, others {first}",
                    package.name
                )));
            }
            (Some(own), _) => stated = Some(own.clone()),
        }
    }
    stated.ok_or_else(|| Failure::failed("the workspace has no members"))
}

fn too_new(metadata: &Metadata, stated: &str) -> Vec<String> {
    let newer = |asked: &str| number(asked) > number(stated);
    metadata
        .packages
        .iter()
        .filter_map(|package| {
            Some((
                package,
                package
                    .rust_version
                    .as_deref()
                    .filter(|asked| newer(asked))?,
            ))
        })
        .map(|(package, asked)| format!("{} {} asks for {asked}", package.name, package.version))
        .collect()
}

fn number(version: &str) -> Vec<u32> {
    let mut parts: Vec<u32> = version
        .split('.')
        .map(|part| part.parse().unwrap_or(u32::MAX))
        .collect();
    parts.resize(3, 0);
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metadata(member: &str, dependency: &str) -> Metadata {
        let package = |name: &str, version: &str| {
            format!(
                r#"{{"id":"{name}","name":"{name}","version":"1.0.0","rust_version":{version},"manifest_path":"/",
                "features":{{}},"dependencies":[]}}"#
            )
        };
        let packages = format!(
            "{},{}",
            package("ours", member),
            package("theirs", dependency)
        );
        Metadata::parse(&format!(
            r#"{{"workspace_members":["ours"],"packages":[{packages}]}}"#
        ))
        .expect("it is metadata")
    }

    #[test]
    fn a_dependency_that_asks_for_more_is_found() {
        assert_eq!(
            too_new(&metadata("\"1.90\"", "\"1.91.1\""), "1.90").len(),
            1
        );
        assert!(too_new(&metadata("\"1.90\"", "\"1.90.0\""), "1.90").is_empty());
        assert!(too_new(&metadata("\"1.90\"", "null"), "1.90").is_empty());
        assert!(too_new(&metadata("\"1.90\"", "\"1.9\""), "1.90").is_empty());
    }

    #[test]
    fn a_crate_that_states_none_is_found() {
        assert!(stated(&metadata("null", "null")).is_err());
        assert_eq!(
            stated(&metadata("\"1.90\"", "null")).expect("stated"),
            "1.90"
        );
    }
}
