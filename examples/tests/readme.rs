//! What the README shows is what runs.

#[test]
fn the_readme_shows_the_smallest_example_word_for_word() {
    let readme = include_str!("../../README.md");
    let smallest = include_str!("../src/bin/smallest.rs");
    assert!(readme.contains(smallest), "copy smallest.rs into README.md");
}
