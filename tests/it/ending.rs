//! When `dledger serve` ends by itself, and what it exits with.

use std::process::Stdio;

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

use crate::common::{kit, patient};

fn dledger(words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dledger"));
    command.args(words).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    command
}

#[tokio::test]
async fn a_process_of_which_the_last_ledger_closes_ends_and_says_why() {
    let (dir, place) = (tempfile::tempdir().unwrap(), kit(1).down().unwrap());
    let address = place.address(0).unwrap();
    let words = ["serve", "--single", "--group", "g", "--id", "n0", "--bind", address, "--segment-size", "64KiB"];
    let mut serving = dledger(&words).arg("--data-dir").arg(dir.path()).spawn().unwrap();
    let mut lines = BufReader::new(serving.stdout.take().unwrap()).lines();
    patient(lines.next_line()).await.unwrap().unwrap();
    let (peers, record) = (format!("n0={address}"), "x".repeat(20_000));
    let append = ["append", "--group", "g", "--peers", &peers, "--timeout", "5s", &record];
    let appends = async || patient(dledger(&append).output()).await.unwrap().status.success();
    assert!(appends().await && appends().await);
    // The next segment is there under another name, and can not be given its own where the directory was.
    patient(async {
        while !dir.path().join("g/spare").exists() {
            tokio::task::yield_now().await
        }
    })
    .await;
    std::fs::rename(dir.path().join("g"), dir.path().join("elsewhere")).unwrap();
    let mut appended = 0;
    while appends().await {
        appended += 1;
        assert!(appended < 20, "segments are made somewhere");
    }
    let ended = patient(serving.wait_with_output()).await.unwrap();
    let said = String::from_utf8(ended.stderr).unwrap();
    assert!(ended.status.code() == Some(3) && said.contains("error: the ledger is closed (g: "), "{said}");
}
