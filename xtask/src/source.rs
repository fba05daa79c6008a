//! Rust sources as tokens: what a file names, whichever way it is written.
//!
//! Comments and string literals are not names, so they never count.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use proc_macro2::{Delimiter, Group, TokenStream, TokenTree};

use crate::child;
use crate::report::{Failure, because};

/// One Rust source file.
pub(crate) struct Source {
    /// Its path from the repository's top.
    pub(crate) path: PathBuf,
    tokens: TokenStream,
}

/// A name and the line that it stands on.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Named {
    pub(crate) line: usize,
    /// A path's segments: `["crate", "bucket", "Layout"]`, or one plain name.
    pub(crate) segments: Vec<String>,
}

/// A test function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Test {
    pub(crate) name: String,
    pub(crate) ignored: bool,
}

impl Source {
    /// The source in this text.
    pub(crate) fn parse(path: impl Into<PathBuf>, text: &str) -> Result<Self, Failure> {
        let path = path.into();
        let tokens = text.parse().map_err(because(path.display()))?;
        Ok(Self { path, tokens })
    }

    /// Reads one file, named from the repository's top.
    pub(crate) fn read(path: &Path) -> Result<Self, Failure> {
        let text =
            std::fs::read_to_string(child::top().join(path)).map_err(because(path.display()))?;
        Self::parse(path, &text)
    }

    /// Every source under these directories, in order; a directory that is not there has none.
    pub(crate) fn read_all(directories: &[&str]) -> Result<Vec<Self>, Failure> {
        let mut paths = BTreeSet::new();
        for directory in directories {
            collect(Path::new(directory), &mut paths)?;
        }
        paths.iter().map(|path| Self::read(path)).collect()
    }

    /// The same source without what is compiled for tests only.
    pub(crate) fn without_tests(&self) -> Self {
        Self {
            path: self.path.clone(),
            tokens: outside_tests(self.tokens.clone()),
        }
    }

    /// Every single identifier.
    pub(crate) fn names(&self) -> Vec<Named> {
        let mut names = Vec::new();
        each_name(self.tokens.clone(), &mut names);
        names
    }

    /// Every path of two segments or more, with the trees of `use` spread out.
    pub(crate) fn paths(&self) -> Vec<Named> {
        let mut paths = Vec::new();
        each_path(self.tokens.clone(), &mut paths);
        paths
    }

    /// Every test function, also those inside a `proptest!`.
    pub(crate) fn tests(&self) -> Vec<Test> {
        let mut tests = Vec::new();
        each_test(self.tokens.clone(), &mut tests);
        tests
    }
}

fn collect(directory: &Path, into: &mut BTreeSet<PathBuf>) -> Result<(), Failure> {
    let Ok(entries) = std::fs::read_dir(child::top().join(directory)) else {
        return Ok(());
    };
    for entry in entries {
        let entry = entry.map_err(because(directory.display()))?;
        let path = directory.join(entry.file_name());
        let is_directory = entry.file_type().is_ok_and(|kind| kind.is_dir());
        if is_directory && entry.file_name() != "target" {
            collect(&path, into)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            into.insert(path);
        }
    }
    Ok(())
}

fn each_name(tokens: TokenStream, names: &mut Vec<Named>) {
    for tree in tokens {
        match tree {
            TokenTree::Ident(ident) => names.push(Named {
                line: ident.span().start().line,
                segments: vec![ident.to_string()],
            }),
            TokenTree::Group(group) => each_name(group.stream(), names),
            TokenTree::Punct(_) | TokenTree::Literal(_) => {}
        }
    }
}

fn each_path(tokens: TokenStream, paths: &mut Vec<Named>) {
    let trees: Vec<TokenTree> = tokens.into_iter().collect();
    let mut at = 0;
    while at < trees.len() {
        match &trees[at] {
            TokenTree::Ident(ident) => {
                let mut named = Named {
                    line: ident.span().start().line,
                    segments: vec![ident.to_string()],
                };
                at += 1;
                while is_double_colon(&trees, at) {
                    match trees.get(at + 2) {
                        Some(TokenTree::Ident(next)) => {
                            named.segments.push(next.to_string());
                            at += 3;
                        }
                        Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Brace => {
                            spread(&named, group, paths);
                            named.segments.clear();
                            at += 3;
                            break;
                        }
                        _ => break,
                    }
                }
                if named.segments.len() > 1 {
                    paths.push(named);
                }
            }
            TokenTree::Group(group) => {
                each_path(group.stream(), paths);
                at += 1;
            }
            TokenTree::Punct(_) | TokenTree::Literal(_) => at += 1,
        }
    }
}

/// `stem::{a, b::c}` as `stem::a`, `stem::b::c`.
fn spread(stem: &Named, group: &Group, paths: &mut Vec<Named>) {
    let mut branches: Vec<Vec<TokenTree>> = vec![Vec::new()];
    for tree in group.stream() {
        match &tree {
            TokenTree::Punct(punct) if punct.as_char() == ',' => branches.push(Vec::new()),
            _ => branches
                .last_mut()
                .expect("there is one from the start")
                .push(tree),
        }
    }
    for branch in branches {
        let Some(TokenTree::Ident(first)) = branch.first() else {
            continue;
        };
        let mut named = stem.clone();
        named.segments.push(first.to_string());
        named.line = first.span().start().line;
        let mut at = 1;
        let mut spread_further = false;
        while is_double_colon(&branch, at) {
            match branch.get(at + 2) {
                Some(TokenTree::Ident(next)) => named.segments.push(next.to_string()),
                Some(TokenTree::Group(inner)) => {
                    spread(&named, inner, paths);
                    spread_further = true;
                }
                _ => {}
            }
            at += 3;
        }
        if !spread_further {
            paths.push(named);
        }
    }
}

fn is_double_colon(trees: &[TokenTree], at: usize) -> bool {
    let colon = |at: usize| matches!(trees.get(at), Some(TokenTree::Punct(punct)) if punct.as_char() == ':');
    colon(at) && colon(at + 1)
}

/// Leaves out every item under `#[cfg(test)]` or `#[test]`.
fn outside_tests(tokens: TokenStream) -> TokenStream {
    let mut kept = Vec::new();
    let mut skipping = false;
    let trees: Vec<TokenTree> = tokens.into_iter().collect();
    for (at, tree) in trees.iter().enumerate() {
        let opens_attribute = matches!(tree, TokenTree::Punct(punct) if punct.as_char() == '#');
        if !skipping
            && opens_attribute
            && matches!(trees.get(at + 1), Some(TokenTree::Group(group)) if is_for_tests(group))
        {
            skipping = true;
        }
        if skipping {
            skipping = !ends_item(tree);
            continue;
        }
        kept.push(match tree {
            TokenTree::Group(group) => {
                TokenTree::Group(Group::new(group.delimiter(), outside_tests(group.stream())))
            }
            other => other.clone(),
        });
    }
    kept.into_iter().collect()
}

fn is_for_tests(attribute: &Group) -> bool {
    let words: Vec<String> = {
        let mut names = Vec::new();
        each_name(attribute.stream(), &mut names);
        names.into_iter().flat_map(|named| named.segments).collect()
    };
    match words.first().map(String::as_str) {
        Some("cfg") => {
            words.iter().any(|word| word == "test") && !words.iter().any(|word| word == "not")
        }
        _ => is_test_attribute(attribute),
    }
}

/// `#[test]`, `#[tokio::test(…)]`: the attribute's path ends in `test`.
fn is_test_attribute(attribute: &Group) -> bool {
    attribute
        .stream()
        .into_iter()
        .take_while(|tree| matches!(tree, TokenTree::Ident(_) | TokenTree::Punct(_)))
        .last()
        .is_some_and(|last| last.to_string() == "test")
}

fn ends_item(tree: &TokenTree) -> bool {
    match tree {
        TokenTree::Group(group) => group.delimiter() == Delimiter::Brace,
        TokenTree::Punct(punct) => punct.as_char() == ';',
        _ => false,
    }
}

fn each_test(tokens: TokenStream, tests: &mut Vec<Test>) {
    let trees: Vec<TokenTree> = tokens.into_iter().collect();
    let (mut is_test, mut ignored) = (false, false);
    for (at, tree) in trees.iter().enumerate() {
        match tree {
            TokenTree::Group(group) if group.delimiter() == Delimiter::Bracket => {
                is_test |= is_test_attribute(group);
                ignored |= group.stream().to_string().starts_with("ignore");
            }
            TokenTree::Ident(word) if word == "fn" => {
                if let (true, Some(TokenTree::Ident(name))) = (is_test, trees.get(at + 1)) {
                    tests.push(Test {
                        name: name.to_string(),
                        ignored,
                    });
                }
            }
            TokenTree::Group(group) => each_test(group.stream(), tests),
            _ => {}
        }
        if ends_item(tree) {
            (is_test, ignored) = (false, false);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(text: &str) -> Source {
        Source::parse("here.rs", text).expect("it is Rust")
    }

    fn paths(text: &str) -> Vec<String> {
        source(text)
            .paths()
            .into_iter()
            .map(|named| named.segments.join("::"))
            .collect()
    }

    #[test]
    fn comments_and_strings_are_no_names() {
        let source =
            source("//! Mutex\n/* Mutex */ fn a() { let b = \"Mutex\"; } /// Mutex\nstruct C;");
        assert!(
            !source
                .names()
                .iter()
                .any(|named| named.segments == ["Mutex"])
        );
    }

    #[test]
    fn use_trees_are_spread_out() {
        assert_eq!(
            paths("use tokio::{net::{TcpStream, UdpSocket}, sync};"),
            [
                "tokio::net::TcpStream",
                "tokio::net::UdpSocket",
                "tokio::sync"
            ]
        );
        assert_eq!(
            paths("fn a(b: crate::bucket::Layout) {}"),
            ["crate::bucket::Layout"]
        );
    }

    #[test]
    fn a_name_keeps_its_line() {
        let names = source("struct A;\nstruct B;").names();
        assert_eq!(names.last().expect("two").line, 2);
    }

    #[test]
    fn what_is_for_tests_is_left_out_and_no_more() {
        let text = "use crate::a::A; #[cfg(test)] mod tests { use crate::b::B; } use crate::c::C; #[cfg(not(test))] use crate::d::D;";
        let outside = source(text).without_tests();
        let left: Vec<String> = outside
            .paths()
            .into_iter()
            .map(|named| named.segments.join("::"))
            .collect();
        assert_eq!(left, ["crate::a::A", "crate::c::C", "crate::d::D"]);
    }

    #[test]
    fn tests_are_found_wherever_they_stand() {
        let text = "
            #[test] fn one() {}
            fn not_a_test() {}
            mod tests { #[tokio::test(flavor = \"multi_thread\")] async fn two() { body(); } }
            proptest! { #[test] fn three(a in 0..1) {} }
            #[test] #[ignore] fn four() {}";
        let tests = source(text).tests();
        let names: Vec<&str> = tests.iter().map(|test| test.name.as_str()).collect();
        assert_eq!(names, ["one", "two", "three", "four"]);
        assert_eq!(tests.iter().filter(|test| test.ignored).count(), 1);
    }
}
