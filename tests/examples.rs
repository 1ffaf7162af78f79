//! The example `quickstart` does what it says, and the README shows it as it is.
//!
//! A program of its own, because `cargo test` builds the examples only where no target is chosen, and
//! `cargo test --test it` does without them.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "an example that cannot be run fails the test")]

use std::process::{Output, Stdio};
use std::time::Duration;

use tokio::process::Command;

/// Longer than it takes on a busy machine; only a hang reaches it.
const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn quickstart_ends_as_the_master() {
    // `target/PROFILE/deps/examples-HASH` runs `target/PROFILE/examples/NAME`.
    let this = std::env::current_exe().unwrap();
    let profile = this.ancestors().nth(2).unwrap();
    let example = profile.join("examples").join(format!("quickstart{}", std::env::consts::EXE_SUFFIX));
    // `cargo test --test examples` alone does not build it, and a test that runs nothing proves nothing.
    assert!(example.exists(), "{} is missing: run `cargo build --examples` first", example.display());
    let output = Command::new(example).stdin(Stdio::null()).kill_on_drop(true).output();
    let output = tokio::time::timeout(PATIENCE, output).await.expect("it does not end").unwrap();
    let Output { status, stdout, stderr } = output;
    let (stdout, stderr) = (String::from_utf8(stdout).unwrap(), String::from_utf8_lossy(&stderr));
    assert!(status.success(), "quickstart ended with {status}\n{stdout}\n{stderr}");
    assert_eq!(stdout.lines().last(), Some("this node is the master"), "{stdout}");
}

#[test]
fn the_readme_shows_the_whole_quickstart() {
    let quickstart = concat!("```rust\n", include_str!("../examples/quickstart.rs"), "```\n");
    assert!(include_str!("../README.md").contains(quickstart), "copy examples/quickstart.rs into README.md");
}
