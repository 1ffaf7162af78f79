//! What a hundred idle ledgers on three nodes cost: no thread each, and how much of a core is printed.
//!
//! The figure that counts is that of `cargo test --release --test idle -- --nocapture`. `DLEDGER_IDLE_GROUPS` and
//! `DLEDGER_IDLE_SECONDS` change what is measured. A program of its own, because it counts the threads of its process.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "test code: a failure is the finding")]

use std::time::{Duration, Instant};

use dledger::config::MIN_SEGMENT_SIZE;
use dledger::testkit::Cluster;
use dledger::{Config, Node, Role};

const GROUP: &str = "g";
/// Longer than it takes on a busy machine; only a hang reaches it.
const PATIENCE: Duration = Duration::from_secs(60);

fn number(key: &str, usual: u64) -> u64 {
    std::env::var(key).ok().map_or(usual, |value| value.parse().expect("a number"))
}

/// Threads of this process, and how long they have been on a processor.
fn process() -> (usize, Duration) {
    let tasks: Vec<_> = std::fs::read_dir("/proc/self/task").unwrap().map(|entry| entry.unwrap().path()).collect();
    let busy = tasks.iter().filter_map(|task| {
        // A thread may have ended meanwhile.
        let stat = std::fs::read_to_string(task.join("schedstat")).ok()?;
        stat.split(' ').next()?.parse().ok().map(Duration::from_nanos)
    });
    (tasks.len(), busy.sum())
}

fn small(config: &mut Config) {
    config.max_record_bytes = 8 << 10;
    config.max_batch_bytes = 16 << 10;
}

/// Until every ledger has a master that all its slaves know.
async fn settled(nodes: &[Node]) {
    for node in nodes {
        for ledger in node.ledgers() {
            let known = |role: &Role| matches!(role, Role::Master { .. } | Role::Slave { .. });
            let mut role = ledger.role();
            let settles = tokio::time::timeout(PATIENCE, role.wait_for(known));
            assert!(settles.await.is_ok(), "{:?}", ledger.status());
        }
    }
}

async fn terms(nodes: &[Node]) -> u64 {
    nodes.iter().flat_map(Node::ledgers).map(|ledger| ledger.status().term).sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn idle_ledgers_have_no_threads_of_their_own_and_keep_their_masters() {
    let groups = number("DLEDGER_IDLE_GROUPS", 100);
    let seconds = number("DLEDGER_IDLE_SECONDS", if cfg!(debug_assertions) { 3 } else { 10 });
    let builder = Cluster::builder(3).group(GROUP.parse().unwrap()).segment_size(MIN_SEGMENT_SIZE).configure(small);
    let cluster = builder.down().unwrap();
    // Without the kit's wire between them, which is not what is measured.
    let mut nodes = Vec::new();
    for n in 0..3 {
        nodes.push(cluster.node_builder(n).unwrap().start().await.unwrap());
    }
    settled(&nodes).await;
    // The runtime starts threads for blocking work as it needs them, and ends them when they are idle.
    // Four for the votes of each node, and three besides.
    let blocking = 3 * 4 + 3;
    let (threads_before, _) = process();
    for group in 0..groups - 1 {
        for node in &nodes {
            node.create_ledger(format!("group-{group}").parse().unwrap()).await.unwrap();
        }
    }
    settled(&nodes).await;
    tokio::time::sleep(Duration::from_secs(2)).await;

    let (_, busy) = process();
    let (began, before) = (Instant::now(), terms(&nodes).await);
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    let ((threads, now), wall) = (process(), began.elapsed());
    let share = (now - busy).as_secs_f64() / wall.as_secs_f64() * 100.0;
    println!(
        "{groups} idle ledgers on 3 nodes in one process: {share:.1} % of a core over {wall:.1?}, {threads} threads \
         ({threads_before} with one ledger), {} elections",
        terms(&nodes).await - before
    );
    assert!(threads <= threads_before + blocking, "{threads_before} threads became {threads}");
    for node in nodes {
        node.shutdown().await;
    }
}
