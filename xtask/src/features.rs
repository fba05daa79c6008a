//! Builds each crate by itself with and without its features.
//!
//! In a workspace build one crate's dependencies can switch on what another forgot to ask for;
//! alone, a crate has only what it names.

use crate::child::Child;
use crate::metadata::{Metadata, Package};
use crate::report::Outcome;

pub(crate) fn run() -> Outcome {
    let metadata = Metadata::read()?;
    let mut count = 0;
    for package in metadata.members().filter(|package| package.is_published()) {
        for flags in combinations(package) {
            let words = ["check", "--quiet", "--package", &package.name]
                .into_iter()
                .chain(flags);
            Child::cargo(words).show()?;
            count += 1;
        }
    }
    Ok(format!("{count} combinations"))
}

/// Without features, as by default, and with all; a crate that has none is checked once. Where none is there by
/// default, users choose some of several: so each by itself, too.
fn combinations(package: &Package) -> Vec<Vec<&str>> {
    let default = package.features.get("default").map_or(0, Vec::len);
    let named: Vec<&str> = package
        .features
        .keys()
        .map(String::as_str)
        .filter(|feature| *feature != "default")
        .collect();
    let mut combinations = vec![vec!["--no-default-features"]];
    if default > 0 {
        combinations.push(Vec::new());
    } else if named.len() > 1 {
        let alone = named.iter().map(|feature| vec!["--features", *feature]);
        combinations.extend(alone);
    }
    if !named.is_empty() {
        combinations.push(vec!["--all-features"]);
    }
    combinations
}
