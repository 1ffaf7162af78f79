//! Nodes whose disks are damaged: they refuse, or get back from the others what they lack, before they take part.

use std::os::unix::fs::FileExt;
use std::path::Path;

use dledger::testkit::Cluster;
use dledger::{Ack, ClosedKind, Config, Durability, OpenError, ReadError, RepairPolicy, Role, StartError};
use futures::StreamExt;

use crate::common::{GROUP, bodies, kit, master_ledger, patient, segment_bytes};

const SIZE: u64 = 1 << 20;

/// Turns a bit at `position` of a ledger whose segments are in `dir`.
fn rot(dir: &Path, position: u64) {
    let file = dir.join(format!("{:020}", position / SIZE * SIZE));
    // In place: a node may run on it.
    let file = std::fs::OpenOptions::new().read(true).write(true).open(file).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, position % SIZE).unwrap();
    file.write_all_at(&[byte[0] ^ 4], position % SIZE).unwrap();
    // What reads past the page cache is to see it too.
    file.sync_all().unwrap();
}

fn record(n: u64) -> String {
    format!("{n}{}", ".".repeat(100_000))
}

/// Appends records of about 100 KiB: nine to a segment.
async fn fill(cluster: &Cluster, count: u64) -> Vec<Ack> {
    let ledger = master_ledger(cluster).await;
    let mut acks = Vec::new();
    for n in 0..count {
        acks.push(patient(ledger.append(record(n))).await.unwrap());
    }
    cluster.wait_committed(count).await.unwrap();
    acks
}

async fn up_from_peers(cluster: &mut Cluster, n: usize) {
    patient(cluster.restart_with(n, |builder| builder.repair(RepairPolicy::FromPeers))).await.unwrap();
}

/// Every record is damaged on one node, every segment header on another, and no node has a whole log.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_damaged_on_one_node_each_is_lost_on_none() {
    let mut cluster = kit(3).start().await.unwrap();
    let acks = fill(&cluster, 40).await;
    for n in 0..3 {
        cluster.stop(n).await.unwrap();
        let dir = cluster.dir(n).join(GROUP);
        for ack in acks.iter().filter(|ack| ack.index % 3 == n as u64) {
            rot(&dir, ack.position + 100);
        }
        for segment in (0..4).filter(|segment| segment % 3 == n as u64) {
            rot(&dir, segment * SIZE + 20);
        }
        up_from_peers(&mut cluster, n).await;
        let ledger = master_ledger(&cluster).await;
        patient(ledger.append(format!("after node {n}"))).await.unwrap();
    }
    cluster.wait_committed(43).await.unwrap();
    let expected: Vec<_> = (0..40).map(record).chain((0..3).map(|n| format!("after node {n}"))).collect();
    for n in 0..3 {
        assert!(bodies(&cluster.ledger(n).unwrap()).await == expected, "node {n} lacks what was acknowledged");
    }
    let position = cluster.ledger(0).unwrap().status().committed_position;
    cluster.stop_all().await;
    let first = segment_bytes(&cluster.dir(0).join(GROUP), position);
    for n in 1..3 {
        assert!(segment_bytes(&cluster.dir(n).join(GROUP), position) == first, "node {n} differs");
    }
}

/// Opening a log has no need to read the bodies of old segments. Raft reads some of them when it starts.
#[tokio::test(flavor = "multi_thread")]
async fn damage_that_shows_only_when_raft_starts_is_repaired_too() {
    let mut cluster = kit(3).start().await.unwrap();
    let acks = fill(&cluster, 40).await;
    cluster.stop(1).await.unwrap();
    for ack in &acks[..27] {
        rot(&cluster.dir(1).join(GROUP), ack.position + 100);
    }
    let error = patient(cluster.node_builder(1).unwrap().start()).await.unwrap_err();
    assert!(
        matches!(error, StartError::Raft { .. }) && error.to_string().contains("is damaged at position"),
        "{error}"
    );
    up_from_peers(&mut cluster, 1).await;
    cluster.wait_committed(40).await.unwrap();
    assert_eq!(bodies(&cluster.ledger(1).unwrap()).await, (0..40).map(record).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_node_does_not_start_unless_it_is_told_to_repair() {
    let mut cluster = kit(3).start().await.unwrap();
    let acks = fill(&cluster, 30).await;
    cluster.stop(1).await.unwrap();
    let dir = cluster.dir(1).join(GROUP);
    std::fs::remove_file(dir.join(format!("{:020}", SIZE))).unwrap();
    rot(&dir, acks[29].position + 1000);
    match patient(cluster.node_builder(1).unwrap().start()).await {
        Err(StartError::Open(OpenError::Damaged(damage))) => {
            assert!(damage.to_string().contains("dledger log repair"), "{damage}");
        }
        other => panic!("{other:?}"),
    }
    up_from_peers(&mut cluster, 1).await;
    cluster.wait_committed(30).await.unwrap();
    assert_eq!(bodies(&cluster.ledger(1).unwrap()).await.len(), 30);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_cannot_be_repaired_says_what_is_damaged_and_what_each_peer_said() {
    let mut cluster = kit(2).start().await.unwrap();
    let acks = fill(&cluster, 3).await;
    cluster.stop_all().await;
    rot(&cluster.dir(0).join(GROUP), acks[1].position + 9);
    match patient(cluster.node_builder(0).unwrap().repair(RepairPolicy::FromPeers).start()).await {
        Err(error @ StartError::Unrepaired { .. }) => {
            let address = cluster.peers().iter().nth(1).unwrap().address.clone();
            let said = error.to_string();
            assert!(
                said.contains("is damaged at position") && said.contains(&format!("{address}: cannot reach")),
                "{said}"
            );
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scrub_finds_rot_in_every_part_of_a_sealed_segment_and_leaves_it_to_the_operator() {
    let mut cluster = kit(1).durability(Durability::Sync).start().await.unwrap();
    let acks = fill(&cluster, 40).await;
    let clean = cluster.ledger(0).unwrap().scrub().await.unwrap();
    assert!(clean.passes > 0 && clean.last_pass.is_some(), "{clean:?}");
    assert_eq!((clean.found, clean.damaged), (0, vec![]));
    let dir = cluster.dir(0).join(GROUP);
    // A header, a body, and the zeros of a blank.
    let damaged = [20, acks[12].position + 5000, 3 * SIZE - 1];
    let before = segment_bytes(&dir, u64::MAX);
    for position in damaged {
        rot(&dir, position);
    }
    let rotten = segment_bytes(&dir, u64::MAX);
    assert!(before != rotten);
    let found = patient(cluster.ledger(0).unwrap().scrub()).await.unwrap();
    assert_eq!((found.found, found.repaired, found.damaged.len()), (3, 0, 3), "{found:?}");
    assert_eq!(found.damaged[1], acks[12].position - 84);
    assert_eq!(cluster.ledger(0).unwrap().status().scrub.damaged, found.damaged);
    assert!(segment_bytes(&dir, u64::MAX) == rotten, "nothing was asked for but to look");
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_scrub_or_a_reader_finds_is_repaired_while_the_node_runs() {
    let mut cluster = kit(3)
        .durability(Durability::Sync)
        .configure(from_peers)
        .configure(|config| config.scrub = None)
        .start()
        .await
        .unwrap();
    let acks = fill(&cluster, 40).await;
    let slave = cluster.wait_for_slave().await.unwrap();
    let dir = cluster.dir(slave).join(GROUP);
    let good = segment_bytes(&dir, 3 * SIZE);
    let held = cluster.ledger(slave).unwrap().get(0).await.unwrap();
    for position in [20, acks[12].position + 5000, acks[14].position + 1, 3 * SIZE - 1] {
        rot(&dir, position);
    }
    let repaired = async |cluster: &Cluster, expected: u64| loop {
        let status = patient(cluster.ledger(slave).unwrap().scrub()).await.unwrap();
        if status.repaired >= expected && status.damaged.is_empty() {
            break;
        }
        tokio::task::yield_now().await;
    };
    patient(repaired(&cluster, 3)).await;
    assert!(segment_bytes(&dir, 3 * SIZE) == good, "not what it was");
    assert_eq!(held.body, record(0));
    assert_eq!(cluster.ledger(slave).unwrap().get(12).await.unwrap().body, record(12));
    // After a restart a reader meets what the start did not look at.
    cluster.stop(slave).await.unwrap();
    rot(&dir, acks[13].position + 70);
    cluster.restart(slave).await.unwrap();
    let ledger = cluster.ledger(slave).unwrap();
    assert!(matches!(ledger.get(13).await, Err(ReadError::Damaged(_))));
    let read = async || loop {
        match ledger.get(13).await {
            Ok(record) => break record,
            Err(ReadError::Damaged(_)) => tokio::task::yield_now().await,
            Err(error) => panic!("{error}"),
        }
    };
    assert_eq!(patient(read()).await.body, record(13));
    patient(repaired(&cluster, 1)).await;
    patient(master_ledger(&cluster).await.append("goes on")).await.unwrap();
    cluster.wait_committed(41).await.unwrap();
    cluster.stop_all().await;
    assert!(segment_bytes(&dir, 3 * SIZE) == good, "not what it was");
}

fn from_peers(config: &mut Config) {
    config.repair = RepairPolicy::FromPeers;
}

/// What `dledger log repair` prints, as JSON.
async fn command(dir: &Path, from: &[String], more: &[&str]) -> Result<serde_json::Value, String> {
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_dledger"));
    command.args(["log", "repair", "--json"]).arg(dir).args(more);
    for address in from {
        command.args(["--from", address]);
    }
    let output = patient(command.output()).await.unwrap();
    match output.status.success() {
        true => Ok(serde_json::from_slice(&output.stdout).unwrap()),
        false => Err(String::from_utf8(output.stderr).unwrap()),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_repairs_a_stopped_node_and_says_what() {
    let mut cluster = kit(3).start().await.unwrap();
    let acks = fill(&cluster, 30).await;
    let dir = cluster.dir(2).join(GROUP);
    let from: Vec<_> = cluster.peers().iter().take(2).map(|peer| peer.address.clone()).collect();
    let error = command(&dir, &from, &[]).await.unwrap_err();
    assert!(error.contains("in use by another process"), "{error}");
    cluster.stop(2).await.unwrap();
    let good = segment_bytes(&dir, 2 * SIZE);
    for position in [20, acks[3].position + 7000, acks[4].position + 10, acks[15].position + 1] {
        rot(&dir, position);
    }
    let rotten = segment_bytes(&dir, u64::MAX);
    let tried = command(&dir, &from, &["--dry-run"]).await.unwrap();
    assert!(segment_bytes(&dir, u64::MAX) == rotten, "it was only to be tried");
    let done = command(&dir, &from, &[]).await.unwrap();
    assert_eq!((&tried["done"], &done["done"], &tried["ranges"]), (&false.into(), &true.into(), &done["ranges"]));
    let ranges = done["ranges"].as_array().unwrap();
    let what: Vec<_> = ranges.iter().map(|range| (range["what"].as_str().unwrap(), range["indexes"].clone())).collect();
    let indexes = |start: u64, end: u64| serde_json::json!([start, end]);
    let nothing = serde_json::Value::Null;
    assert_eq!(what, [("header", nothing), ("entries", indexes(3, 5)), ("entries", indexes(15, 16))]);
    assert!(["n0", "n1"].contains(&ranges[1]["from"].as_str().unwrap()), "{done}");
    assert!(segment_bytes(&dir, 2 * SIZE) == good, "not what it was");
    let again = command(&dir, &from, &[]).await.unwrap();
    assert_eq!(again["ranges"], serde_json::json!([]));
    let error = command(dir.parent().unwrap(), &from, &[]).await.unwrap_err();
    assert!(error.contains("DATA_DIR/GROUP"), "{error}");
    cluster.restart(2).await.unwrap();
    cluster.wait_committed(30).await.unwrap();
}

/// Nothing has to read the disk again for it: what is sent comes from where it was written, or was verified before.
#[tokio::test(flavor = "multi_thread")]
async fn a_bit_that_flips_under_a_running_master_is_repaired_from_a_peer() {
    let mut cluster = kit(3).configure(from_peers).configure(|config| config.scrub = None).start().await.unwrap();
    let acks = fill(&cluster, 5).await;
    let master = cluster.wait_for_master().await.unwrap();
    let away = (master + 1) % 3;
    cluster.stop(away).await.unwrap();
    let ledger = cluster.ledger(master).unwrap();
    let mut later = Vec::new();
    for n in 5..40 {
        later.push(patient(ledger.append(record(n))).await.unwrap());
    }
    rot(&cluster.dir(master).join(GROUP), later[10].position + 100);
    assert!(later[10].position > acks[4].position);
    up_from_peers(&mut cluster, away).await;
    cluster.wait_committed(40).await.unwrap();
    assert_eq!(bodies(&cluster.ledger(away).unwrap()).await, (0..40).map(record).collect::<Vec<_>>());
    assert_eq!(cluster.ledger(master).unwrap().status().scrub.repaired, 1);
    assert_eq!(bodies(&cluster.ledger(master).unwrap()).await, (0..40).map(record).collect::<Vec<_>>());
}

/// What is damaged is in the segment that is being written, or nobody repairs anything.
#[tokio::test(flavor = "multi_thread")]
async fn a_master_whose_peers_refuse_what_it_cannot_repair_hands_over_and_closes() {
    let mut cluster = kit(3).configure(|config| config.scrub = None).start().await.unwrap();
    fill(&cluster, 2).await;
    let master = cluster.wait_for_master().await.unwrap();
    let away = (master + 1) % 3;
    cluster.stop(away).await.unwrap();
    let ledger = cluster.ledger(master).unwrap();
    for n in 2..4 {
        patient(ledger.append(record(n))).await.unwrap();
    }
    let position = ledger.get(3).await.unwrap().position;
    rot(&cluster.dir(master).join(GROUP), position + 100);
    patient(cluster.restart(away)).await.unwrap();
    let mut role = ledger.role();
    let closed = patient(role.wait_for(Role::is_final)).await.unwrap().clone();
    let Role::Closed { kind: ClosedKind::Damaged, reason } = closed else { panic!("{closed:?}") };
    assert!(reason.contains("is damaged at position"), "{reason}");
    let other = (master + 2) % 3;
    let leads = |role: &Role| matches!(role, Role::Master { .. });
    patient(cluster.ledger(other).unwrap().role().wait_for(leads)).await.unwrap();
    patient(cluster.ledger(other).unwrap().append(record(4))).await.unwrap();
    let all = (0..5).map(record).collect::<Vec<_>>();
    let mut tail = cluster.ledger(away).unwrap().tail(0);
    for expected in all {
        assert_eq!(patient(tail.next()).await.unwrap().unwrap().body, expected);
    }
}
