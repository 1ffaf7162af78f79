//! The examples do what they say. `cargo test` builds them beside the tests; they are run from there.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "an example that cannot be run fails the test")]

use std::path::PathBuf;
use std::process::{Output, Stdio};
use std::time::Duration;

use tokio::process::Command;

/// More than the demo allows itself, so that its own message is the one to be seen.
const PATIENCE: Duration = Duration::from_secs(200);

/// `target/PROFILE/deps/examples-HASH` runs `target/PROFILE/examples/NAME`.
fn built(name: &str) -> PathBuf {
    let this = std::env::current_exe().unwrap();
    let profile = this.ancestors().nth(2).unwrap();
    let example = profile.join("examples").join(format!("{name}{}", std::env::consts::EXE_SUFFIX));
    // `cargo test --test examples` alone does not build them, and a test that runs nothing proves nothing.
    assert!(example.exists(), "{} is missing: run `cargo build --examples` first", example.display());
    example
}

/// Runs an example to its end; returns what it printed.
async fn run(name: &str, arguments: &[&str]) -> String {
    let mut command = Command::new(built(name));
    // Killed with the test; the brokers of the demo notice that and end.
    let output = command.args(arguments).stdin(Stdio::null()).kill_on_drop(true).output();
    let output = tokio::time::timeout(PATIENCE, output).await.expect("it does not end").unwrap();
    let Output { status, stdout, stderr } = output;
    let (stdout, stderr) = (String::from_utf8(stdout).unwrap(), String::from_utf8_lossy(&stderr));
    assert!(status.success(), "{name} {arguments:?} ended with {status}\n{stdout}\n{stderr}");
    stdout
}

#[tokio::test]
async fn quickstart_ends_as_the_master() {
    let printed = run("quickstart", &[]).await;
    assert_eq!(printed.lines().last(), Some("this node is the master"), "{printed}");
}

#[tokio::test]
async fn the_broker_demo_loses_nothing() {
    let printed = run("broker", &["demo", "--messages", "300"]).await;
    let verdict = "nothing lost: every acknowledged message is at its offset on all 3 brokers";
    assert_eq!(printed.lines().last(), Some(verdict), "{printed}");
    assert!(printed.contains("killed (SIGKILL)"), "{printed}");
}
