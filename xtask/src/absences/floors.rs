//! Imports between modules: downwards only, and never in a circle.
//!
//! The top-level modules of a crate stand on floors. A module may name those of its own floor and of
//! the floors below. Test code is free: a test may look at the whole house.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::source::Source;

/// The floors of one crate, ground floor first.
pub(crate) struct Floors(&'static [&'static [&'static str]]);

impl Floors {
    /// The house plan of `wadi-core`. A new top-level module is given its floor here.
    pub(crate) const OF_CORE: Self = Self(&[
        &[
            "clock", "lease", "sabotage", "member", "proof", "bucket", "tenure", "stale",
        ],
        &["session", "events"],
        &["message", "transport", "authority"],
        &["protocol", "relocate"],
        &["store", "evict", "lock"],
        &["tier"],
        &["config"],
        &["node"],
    ]);

    /// Imports that go upwards, and modules without a floor.
    pub(crate) fn check(&self, sources: &[Source]) -> Vec<String> {
        let mut findings = BTreeSet::new();
        for source in sources {
            let from = module_of(&source.path);
            let Some(own) = from.first() else { continue };
            let Some(floor) = self.floor(own) else {
                findings.insert(format!(
                    "module {own} has no floor yet: give it one in xtask/src/absences/floors.rs"
                ));
                continue;
            };
            for named in source.without_tests().paths() {
                let path = resolve(&from, &named.segments);
                let Some(target) = path.first().filter(|target| *target != own) else {
                    continue;
                };
                if self.floor(target).is_some_and(|other| other > floor) {
                    let place = source.path.display();
                    findings.insert(format!(
                        "{place}:{}: {own} stands below {target}",
                        named.line
                    ));
                }
            }
        }
        findings.into_iter().collect()
    }

    fn floor(&self, module: &str) -> Option<usize> {
        self.0.iter().position(|floor| floor.contains(&module))
    }
}

/// Circles between sibling modules, at every level of one crate.
pub(crate) fn circles(directory: &str, sources: &[Source]) -> Vec<String> {
    let modules: BTreeSet<Vec<String>> = sources
        .iter()
        .map(|source| module_of(&source.path))
        .collect();
    let exists = |path: &[String]| modules.iter().any(|module| module.starts_with(path));
    // Parent module → sibling → siblings that it names.
    let mut named: BTreeMap<Vec<String>, BTreeMap<String, BTreeSet<String>>> = BTreeMap::new();
    for source in sources {
        let from = module_of(&source.path);
        for path in source.without_tests().paths() {
            let path = resolve(&from, &path.segments);
            let shared = from
                .iter()
                .zip(&path)
                .take_while(|(left, right)| left == right)
                .count();
            if shared < from.len() && shared < path.len() && exists(&path[..=shared]) {
                let siblings = named.entry(from[..shared].to_vec()).or_default();
                siblings
                    .entry(from[shared].clone())
                    .or_default()
                    .insert(path[shared].clone());
            }
        }
    }
    named
        .iter()
        .filter_map(|(parent, siblings)| Some((parent, circle(siblings)?)))
        .map(|(parent, circle)| {
            let place = parent
                .iter()
                .fold(directory.to_owned(), |place, part| place + "/" + part);
            format!("{place}: {}", circle.join(" → "))
        })
        .collect()
}

/// One circle, its first module repeated at the end.
fn circle(edges: &BTreeMap<String, BTreeSet<String>>) -> Option<Vec<String>> {
    fn walk(
        at: &str,
        edges: &BTreeMap<String, BTreeSet<String>>,
        trail: &mut Vec<String>,
        done: &mut BTreeSet<String>,
    ) -> bool {
        if let Some(start) = trail.iter().position(|seen| seen == at) {
            trail.drain(..start);
            trail.push(at.to_owned());
            return true;
        }
        if done.contains(at) {
            return false;
        }
        trail.push(at.to_owned());
        for next in edges.get(at).into_iter().flatten() {
            if walk(next, edges, trail, done) {
                return true;
            }
        }
        trail.pop();
        done.insert(at.to_owned());
        false
    }
    let mut done = BTreeSet::new();
    edges.keys().find_map(|start| {
        let mut trail = Vec::new();
        walk(start, edges, &mut trail, &mut done).then_some(trail)
    })
}

/// `wadi-core/src/bucket/layout.rs` is `["bucket", "layout"]`; a crate's root is `[]`.
fn module_of(path: &Path) -> Vec<String> {
    let path = path.with_extension("");
    let parts = path.iter().map(|part| part.to_string_lossy().into_owned());
    let mut module: Vec<String> = parts.skip_while(|part| part != "src").skip(1).collect();
    if module
        .last()
        .is_some_and(|last| ["mod", "lib", "main"].contains(&last.as_str()))
    {
        module.pop();
    }
    module
}

/// A path as seen from the crate's root; empty when it leads out of the crate.
fn resolve(from: &[String], segments: &[String]) -> Vec<String> {
    let mut base = match segments[0].as_str() {
        "crate" => Vec::new(),
        "self" => from.to_vec(),
        "super" => from[..from.len().saturating_sub(1)].to_vec(),
        _ => return Vec::new(),
    };
    for segment in &segments[1..] {
        if segment == "super" {
            base.pop();
        } else {
            base.push(segment.clone());
        }
    }
    base
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(path: &str, text: &str) -> Source {
        Source::parse(path, text).expect("it is Rust")
    }

    #[test]
    fn an_import_upwards_is_found_and_one_downwards_is_fine() {
        let down = source(
            "wadi-core/src/node/driver.rs",
            "use crate::protocol::Output;",
        );
        let up = source(
            "wadi-core/src/bucket/layout.rs",
            "use crate::{clock::Moment, protocol::Output};",
        );
        assert!(Floors::OF_CORE.check(&[down]).is_empty());
        let found = Floors::OF_CORE.check(&[up]);
        assert_eq!(
            found,
            ["wadi-core/src/bucket/layout.rs:1: bucket stands below protocol"]
        );
    }

    #[test]
    fn an_import_upwards_through_super_is_found() {
        let up = source(
            "wadi-core/src/bucket/layout.rs",
            "use super::super::node::Node;",
        );
        assert_eq!(Floors::OF_CORE.check(&[up]).len(), 1);
    }

    #[test]
    fn tests_may_look_up() {
        let up = "#[cfg(test)] mod tests { use crate::node::Node; }";
        assert!(
            Floors::OF_CORE
                .check(&[source("wadi-core/src/clock.rs", up)])
                .is_empty()
        );
    }

    #[test]
    fn a_module_without_a_floor_is_a_finding() {
        assert_eq!(
            Floors::OF_CORE
                .check(&[source("wadi-core/src/attic.rs", "")])
                .len(),
            1
        );
    }

    #[test]
    fn a_circle_is_found_at_any_level() {
        let top = [
            source("x/src/a.rs", "use crate::b::B;"),
            source("x/src/b.rs", "use crate::c::C;"),
            source("x/src/c.rs", "use crate::a::A;"),
        ];
        assert_eq!(circles("x/src", &top), ["x/src: a → b → c → a"]);
        let below = [
            source("x/src/a/one.rs", "use super::two::Two;"),
            source("x/src/a/two.rs", "use crate::a::one::One;"),
        ];
        assert_eq!(circles("x/src", &below), ["x/src/a: one → two → one"]);
    }

    #[test]
    fn a_diamond_is_no_circle() {
        let diamond = [
            source("x/src/a.rs", "use crate::{b::B, c::C};"),
            source("x/src/b.rs", "use crate::d::D;"),
            source("x/src/c.rs", "use crate::d::D;"),
            source("x/src/d.rs", ""),
        ];
        assert!(circles("x/src", &diamond).is_empty());
    }
}
