//! The demo does what it says.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a demo that cannot be run fails the test")]

use std::process::{Output, Stdio};
use std::time::Duration;

use tokio::process::Command;

/// More than the demo allows itself, so that its own message is the one to be seen.
const PATIENCE: Duration = Duration::from_secs(200);

#[tokio::test]
async fn the_demo_loses_nothing() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_broker"));
    // Killed with the test; the brokers of the demo notice that and end.
    let output = command.args(["demo", "--messages", "300"]).stdin(Stdio::null()).kill_on_drop(true).output();
    let output = tokio::time::timeout(PATIENCE, output).await.expect("the demo does not end").unwrap();
    let Output { status, stdout, stderr } = output;
    let (stdout, stderr) = (String::from_utf8(stdout).unwrap(), String::from_utf8_lossy(&stderr));
    assert!(status.success(), "the demo ended with {status}\n{stdout}\n{stderr}");
    let verdict = "nothing lost: every acknowledged message is at its offset on all 3 brokers";
    assert_eq!(stdout.lines().last(), Some(verdict), "{stdout}");
    assert!(stdout.contains("killed (SIGKILL)"), "{stdout}");
}
