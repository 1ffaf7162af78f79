//! The example `quickstart` does what it says. `cargo test` builds it beside the tests; it is run from there.

use std::process::{Output, Stdio};
use std::time::Duration;

use tokio::process::Command;

/// Longer than it takes on a busy machine; only a hang reaches it.
const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn quickstart_ends_as_the_master() {
    // `target/PROFILE/deps/it-HASH` runs `target/PROFILE/examples/NAME`.
    let this = std::env::current_exe().unwrap();
    let profile = this.ancestors().nth(2).unwrap();
    let example = profile.join("examples").join(format!("quickstart{}", std::env::consts::EXE_SUFFIX));
    // `cargo test --test it` alone does not build it, and a test that runs nothing proves nothing.
    assert!(example.exists(), "{} is missing: run `cargo build --examples` first", example.display());
    let output = Command::new(example).stdin(Stdio::null()).kill_on_drop(true).output();
    let output = tokio::time::timeout(PATIENCE, output).await.expect("it does not end").unwrap();
    let Output { status, stdout, stderr } = output;
    let (stdout, stderr) = (String::from_utf8(stdout).unwrap(), String::from_utf8_lossy(&stderr));
    assert!(status.success(), "quickstart ended with {status}\n{stdout}\n{stderr}");
    assert_eq!(stdout.lines().last(), Some("this node is the master"), "{stdout}");
}
