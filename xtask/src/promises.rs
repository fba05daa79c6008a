//! The promises to users, and the tests that prove them.
//!
//! A promise is kept when its list of tests is not empty and every one of them is in the sources. A
//! named test that is not there, or that is ignored, is a failure; a promise not yet kept is not.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::Deserialize;

use crate::child;
use crate::report::{Failure, Outcome, because};
use crate::source::{Source, Test};

const TABLE: &str = "xtask/promises.toml";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    promise: Vec<Promise>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Promise {
    id: String,
    promise: String,
    /// Each as `path/of/the/file.rs::name_of_the_test`.
    tests: Vec<String>,
}

/// Prints what is kept and what is not.
pub(crate) fn run() -> Outcome {
    let text = std::fs::read_to_string(child::top().join(TABLE)).map_err(because(TABLE))?;
    let table = parse(&text)?;
    let mut files = Files(BTreeMap::new());
    let mut faults = Vec::new();
    let mut kept = 0;
    for promise in &table.promise {
        let missing: Vec<String> = promise
            .tests
            .iter()
            .filter_map(|test| files.fault_of(test))
            .collect();
        let is_kept = !promise.tests.is_empty() && missing.is_empty();
        kept += usize::from(is_kept);
        println!(
            "  {} {:4} {}",
            if is_kept { '✓' } else { '·' },
            promise.id,
            promise.promise
        );
        for fault in missing {
            println!("         ✗ {fault}");
            faults.push(format!("{}: {fault}", promise.id));
        }
    }
    let summary = format!("{kept} kept, {} not yet", table.promise.len() - kept);
    match faults.as_slice() {
        [] => Ok(summary),
        faults => Err(Failure::failed(format!("{summary}; {}", faults.join("; ")))),
    }
}

fn parse(text: &str) -> Result<Table, Failure> {
    let table: Table = toml::from_str(text).map_err(because(TABLE))?;
    let mut seen = BTreeSet::new();
    for promise in &table.promise {
        if !seen.insert(&promise.id) {
            return Err(Failure::failed(format!(
                "{TABLE}: {} stands there twice",
                promise.id
            )));
        }
    }
    Ok(table)
}

/// The tests of each file that was asked for.
struct Files(BTreeMap<String, Result<Vec<Test>, Failure>>);

impl Files {
    /// What is wrong with a named test, if anything.
    fn fault_of(&mut self, test: &str) -> Option<String> {
        let Some((file, name)) = test.rsplit_once("::") else {
            return Some(format!("{test} is not of the form file.rs::test"));
        };
        let tests = self
            .0
            .entry(file.to_owned())
            .or_insert_with(|| Source::read(Path::new(file)).map(|source| source.tests()));
        match tests {
            Err(_) => Some(format!("{file} cannot be read")),
            Ok(tests) => fault_among(tests, name).map(|fault| format!("{file} {fault}")),
        }
    }
}

fn fault_among(tests: &[Test], name: &str) -> Option<String> {
    match tests.iter().find(|test| test.name == name) {
        None => Some(format!("has no test {name}")),
        Some(test) if test.ignored => Some(format!("ignores its test {name}")),
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_test_that_is_there_and_runs_counts() {
        let text = "#[test] fn there() {} #[test] #[ignore] fn asleep() {} fn helper() {}";
        let tests = Source::parse("here.rs", text).expect("it is Rust").tests();
        assert_eq!(fault_among(&tests, "there"), None);
        assert!(fault_among(&tests, "asleep").is_some());
        assert!(fault_among(&tests, "helper").is_some());
        assert!(fault_among(&tests, "gone").is_some());
    }

    #[test]
    fn a_file_that_is_not_there_is_a_fault() {
        assert!(
            Files(BTreeMap::new())
                .fault_of("nowhere.rs::test")
                .is_some()
        );
        assert!(Files(BTreeMap::new()).fault_of("no form at all").is_some());
    }

    #[test]
    fn an_id_stands_once() {
        let row = "[[promise]]\nid = \"V1\"\npromise = \"a\"\ntests = []\n";
        assert!(parse(row).is_ok());
        assert!(parse(&format!("{row}{row}")).is_err());
    }
}
