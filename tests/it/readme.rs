//! The README shows the quickstart as it is.

#[test]
fn the_readme_shows_the_whole_quickstart() {
    let quickstart = concat!("```rust\n", include_str!("../../examples/quickstart.rs"), "```\n");
    assert!(include_str!("../../README.md").contains(quickstart), "copy examples/quickstart.rs into README.md");
}
