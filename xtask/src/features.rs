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

/// Without features, as by default, and with all; a crate that has none is checked once.
fn combinations(package: &Package) -> Vec<Vec<&'static str>> {
    let default = package.features.get("default").map_or(0, Vec::len);
    let named = package
        .features
        .keys()
        .filter(|feature| *feature != "default")
        .count();
    let mut combinations = vec![vec!["--no-default-features"]];
    if default > 0 {
        combinations.push(Vec::new());
    }
    if named > 0 {
        combinations.push(vec!["--all-features"]);
    }
    combinations
}
