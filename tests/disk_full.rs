//! A node on a real file system that is full: a small one, mounted where nobody else sees it.
//!
//! Mounting needs the right to; where there is none, the test says what it skipped.

#![allow(clippy::unwrap_used, clippy::panic, reason = "test code: a failure is the finding")]

mod common;

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use common::{GROUP, PATIENCE, patient};
use dledger::{AppendError, Ledger, Node, NodeId, Outcome};

const MIB: u64 = 1 << 20;
const RECORD: usize = 32 << 10;
/// Where the file system is mounted, for the test that runs there.
const MOUNTED: &str = "DLEDGER_TEST_MOUNTED";
/// How the script says that it may not mount.
const SKIPPED: i32 = 77;

#[test]
fn on_a_full_tmpfs_appends_are_refused_until_there_is_room_and_nothing_is_lost() {
    on("tmpfs", "mount -t tmpfs -o size=24m dledger \"$1\"");
}

#[test]
fn on_a_full_ext4_appends_are_refused_until_there_is_room_and_nothing_is_lost() {
    on("ext4", "truncate -s 32M \"$1.image\" && mkfs.ext4 -qF \"$1.image\" && mount -o loop \"$1.image\" \"$1\"");
}

/// Runs [`scenario`] in a process with a mount of its own, which ends with it.
fn on(name: &str, mount: &str) {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path().join("mounted");
    std::fs::create_dir(&at).unwrap();
    let script = format!("{{ {mount}; }} || exit {SKIPPED}; exec \"$2\" --exact scenario --ignored --nocapture");
    let ran = Command::new("unshare")
        .args(["--mount", "--propagation", "private", "sh", "-c", &script, "sh"])
        .args([at.as_os_str(), std::env::current_exe().unwrap().as_os_str()])
        .env(MOUNTED, &at)
        .stdin(Stdio::null())
        .output();
    let ran = match ran {
        Ok(ran) => ran,
        Err(error) => return eprintln!("skipped: no test on {name}, unshare cannot be run: {error}"),
    };
    let (out, err) = (String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    // 1: unshare itself may not.
    if ran.status.code() == Some(SKIPPED) || (ran.status.code() == Some(1) && err.starts_with("unshare:")) {
        return eprintln!("skipped: no test on {name}, it cannot be mounted: {err}");
    }
    assert!(ran.status.success() && out.contains("1 passed"), "{}\n{out}\n{err}", ran.status);
}

async fn start(dir: &Path) -> (Node, Ledger) {
    let builder = Node::builder(NodeId::new(0), "127.0.0.1:0").single().group(GROUP.parse().unwrap()).data_dir(dir);
    let configure = |config: &mut dledger::Config| {
        (config.max_record_bytes, config.max_batch_bytes) = (256 << 10, 512 << 10);
    };
    let node = builder.segment_size(MIB).configure(configure).start().await.unwrap();
    let ledger = node.ledger(GROUP).unwrap();
    (node, ledger)
}

fn body(n: u64) -> String {
    format!("{n:0RECORD$}")
}

/// Appends from number `n` on until there is no room; the number that was refused.
async fn fill_up(ledger: &Ledger, mut n: u64) -> u64 {
    loop {
        assert!(n < 10_000, "never full");
        match patient(ledger.append(body(n))).await {
            Ok(ack) => assert_eq!(ack.index, n),
            Err(error @ AppendError::DiskFull { .. }) => {
                assert_eq!(error.outcome(), Outcome::Refused);
                assert!(error.to_string().contains("No space left on device"), "{error}");
                return n;
            }
            Err(other) => panic!("record {n}: {other}"),
        }
        n += 1;
    }
}

async fn assert_holds(ledger: &Ledger, end: u64) {
    assert_eq!(ledger.status().committed, end);
    for n in 0..end {
        assert_eq!(ledger.get(n).await.unwrap().body, body(n), "record {n}");
    }
}

/// The first append that finds room again.
async fn goes_on(ledger: &Ledger, n: u64) {
    let began = Instant::now();
    loop {
        match patient(ledger.append(body(n))).await {
            Ok(ack) => return assert_eq!(ack.index, n),
            Err(error @ AppendError::DiskFull { .. }) => assert!(began.elapsed() < PATIENCE, "record {n}: {error}"),
            Err(other) => panic!("record {n}: {other}"),
        }
        // The file system is asked once a second.
        tokio::task::yield_now().await;
    }
}

/// Takes all there is.
fn stuff(file: &Path) {
    let mut file = File::options().create(true).append(true).open(file).unwrap();
    for size in [1 << 16, 1 << 12, 1 << 9, 1] {
        while file.write_all(&vec![1; size]).is_ok() {}
    }
    // What ext4 has not placed yet counts already.
    let _ = file.sync_all();
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "fills the file system that it is given; run by the others"]
async fn scenario() {
    let mounted = std::env::var_os(MOUNTED).unwrap();
    let [data, filler, another] = ["data", "filler", "another"].map(|name| Path::new(&mounted).join(name));
    for filler in [&filler, &another] {
        File::create(filler).unwrap().write_all(&vec![1; 4 << 20]).unwrap();
    }
    let (node, ledger) = start(&data).await;
    patient(ledger.role().wait_for(|role| role.is_master())).await.unwrap();

    let full = fill_up(&ledger, 0).await;
    assert!(full > 200, "{full} records of {RECORD} bytes");
    assert!(ledger.role().borrow().is_master() && ledger.status().disk_full.is_some());
    assert_holds(&ledger, full).await;
    std::fs::remove_file(&filler).unwrap();
    goes_on(&ledger, full).await;
    assert_eq!(ledger.status().disk_full, None);
    let full = fill_up(&ledger, full + 1).await;

    // Not a byte left: what is written goes to blocks that are there. The start, and the vote in it, find theirs too.
    stuff(&filler);
    assert_holds(&ledger, full).await;
    node.shutdown().await;
    let (node, ledger) = start(&data).await;
    patient(ledger.role().wait_for(|role| role.is_master())).await.unwrap();
    assert_holds(&ledger, full).await;
    let full = fill_up(&ledger, full).await;
    std::fs::remove_file(&another).unwrap();
    goes_on(&ledger, full).await;
    assert_holds(&ledger, full + 1).await;
    node.shutdown().await;
    println!("{full} records of {RECORD} bytes were there when the disk was full");
}
