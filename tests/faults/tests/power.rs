//! A real process on a real filesystem, and the power gone: what it has acknowledged is there.
//!
//! Only this sees whether a sync is one. Needs root and a loop device; where they are not to be had it is not run.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "what fails here fails a test")]

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::Stdio;

use dledger::{Config, Node, NodeId, ReadLimit};
use dledger_faults::machine::{Error, Machine, Options};

const GROUP: &str = "g";
/// Where the child finds its directory.
const DIR: &str = "DLEDGER_POWER_DIR";
/// Acks before the power goes.
const ACKS: usize = 60;
/// Over several segments.
const RECORD: usize = 4000;

fn record(index: u64) -> String {
    format!("{:.<RECORD$}", format!("record {index}"))
}

async fn start(dir: &Path) -> Node {
    let small = |config: &mut Config| {
        (config.segment_size, config.max_batch_bytes, config.max_record_bytes) = (64 << 10, 16 << 10, 8 << 10);
    };
    let node = Node::builder(NodeId::new(0), "127.0.0.1:0").single().group(GROUP.parse().unwrap()).data_dir(dir);
    let node = node.configure(small).start().await;
    node.unwrap_or_else(|error| panic!("it does not start: {error}"))
}

/// Not a test: what runs on the node. Says what is acknowledged, until it is killed.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "a process that another test starts"]
async fn appends() {
    let Ok(dir) = std::env::var(DIR) else { return };
    let node = start(Path::new(&dir)).await;
    let ledger = node.ledger(GROUP).unwrap();
    for index in 0..100_000 {
        // Its disk may be gone before it is.
        let Ok(ack) = ledger.append(record(index)).await else { return };
        println!("acknowledged {}", ack.index);
    }
}

#[test]
fn what_was_acknowledged_survives_a_real_loss_of_power() {
    let machine = Machine::new(Options { nodes: 1, disk: 64 << 20, privileged: true }).unwrap();
    let place = machine.node(1);
    let mut child = place.command(std::env::current_exe().unwrap());
    child.args(["appends", "--exact", "--ignored", "--nocapture"]).env(DIR, place.dir());
    let mut child = child.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let mut acks = lines.filter_map(|line| line.split_once("acknowledged ")?.1.parse::<u64>().ok());
    let acked = acks.nth(ACKS - 1).expect("it appends until it is killed");
    let dark = machine.lose_power(&[1]).install();
    let mut dark = match dark {
        Ok(dark) => dark,
        Err(error @ Error::NotHere { .. }) => {
            println!("not run: {error}");
            child.kill().and_then(|()| child.wait()).unwrap();
            return;
        }
        Err(error) => panic!("{error}"),
    };
    child.wait().unwrap();
    // What it said before it died counts, too.
    let acked = acks.last().unwrap_or(acked);
    dark.remove().unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let node = start(place.dir()).await;
        let ledger = node.ledger(GROUP).unwrap();
        let mut role = ledger.role();
        role.wait_for(dledger::Role::is_master).await.unwrap();
        let committed = ledger.status().committed;
        assert!(committed > acked, "record {acked} was acknowledged, {committed} are left");
        for index in 0..=acked {
            let found = ledger.read(index..=index, ReadLimit::default()).await.unwrap();
            assert_eq!(found[0].body, record(index), "record {index}");
        }
        println!("{} records were acknowledged, and are there after the power was lost", acked + 1);
        node.shutdown().await;
    });
    runtime.shutdown_timeout(std::time::Duration::from_secs(5));
    drop(machine);
}
