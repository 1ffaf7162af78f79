//! A node that finds no room: on a real file system that is full, a small one, mounted where nobody else sees it; and
//! in a process that may open few files.
//!
//! Mounting needs the right to; where there is none, the test says what it skipped.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use dledger::{AppendError, Ledger, Node, NodeId, Outcome};

use crate::common::{GROUP, PATIENCE, patient};

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
    let script =
        format!("{{ {mount}; }} || exit {SKIPPED}; exec \"$2\" --exact disk_full::scenario --ignored --nocapture");
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

/// Where the data is, for the test that runs with few descriptors.
const DATA: &str = "DLEDGER_TEST_DATA";
/// Fewer than there are segments.
const DESCRIPTORS: u64 = 64;

#[test]
fn with_more_segments_than_descriptors_a_ledger_runs_and_starts_and_without_any_it_refuses() {
    let dir = tempfile::tempdir().unwrap();
    let script =
        format!("ulimit -n {DESCRIPTORS} && exec \"$1\" --exact disk_full::few_descriptors --ignored --nocapture");
    let ran = Command::new("sh")
        .args(["-c", &script, "sh"])
        .arg(std::env::current_exe().unwrap())
        .env(DATA, dir.path())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let (out, err) = (String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    assert!(ran.status.success() && out.contains("1 passed"), "{}\n{out}\n{err}", ran.status);
}

#[tokio::test]
#[ignore = "takes all descriptors of its process; run by the other"]
async fn few_descriptors() {
    let data = std::env::var_os(DATA).unwrap();
    let (node, ledger) = start_with(Path::new(&data), 256 << 10).await;
    patient(ledger.role().wait_for(|role| role.is_master())).await.unwrap();
    let mut end = 0;
    while std::fs::read_dir(Path::new(&data).join(GROUP)).unwrap().count() < 2 * DESCRIPTORS as usize + 16 {
        let acks = patient(ledger.append_batch([body(end), body(end + 1), body(end + 2)])).await.unwrap();
        assert_eq!(acks[0].index, end);
        end += 3;
    }
    assert_holds(&ledger, end).await;
    node.shutdown().await;
    let (node, ledger) = start_with(Path::new(&data), 256 << 10).await;
    patient(ledger.role().wait_for(|role| role.is_master())).await.unwrap();
    assert_holds(&ledger, end).await;

    let mut taken = Vec::new();
    let refused = loop {
        // Also what a segment lets go of meanwhile.
        taken.extend(std::iter::from_fn(|| File::open("/dev/null").ok()));
        match patient(ledger.append(body(end))).await {
            Ok(ack) => assert_eq!(ack.index, end),
            Err(error) => break error,
        }
        end += 1;
    };
    assert!(matches!(refused, AppendError::Exhausted { .. }), "{refused}");
    assert!(refused.outcome() == Outcome::Refused && refused.to_string().contains("ulimit -n"), "{refused}");
    assert!(ledger.role().borrow().is_master() && ledger.status().disk_full.is_none());
    assert_holds(&ledger, end).await;
    drop(taken);
    goes_on(&ledger, end).await;
    node.shutdown().await;
}

async fn start(dir: &Path) -> (Node, Ledger) {
    start_with(dir, MIB).await
}

async fn start_with(dir: &Path, segment_size: u64) -> (Node, Ledger) {
    let builder = Node::builder(NodeId::new(0), "127.0.0.1:0").single().group(GROUP.parse().unwrap()).data_dir(dir);
    let configure = |config: &mut dledger::Config| {
        (config.max_record_bytes, config.max_batch_bytes) = (64 << 10, (segment_size / 2) as usize);
    };
    let node = builder.segment_size(segment_size).configure(configure).start().await.unwrap();
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
            Err(error @ (AppendError::DiskFull { .. } | AppendError::Exhausted { .. })) => {
                assert!(began.elapsed() < PATIENCE, "record {n}: {error}");
            }
            Err(other) => panic!("record {n}: {other}"),
        }
        // The node asks the file system once a second.
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
