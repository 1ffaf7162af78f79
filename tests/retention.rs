//! Real nodes that remove what is old, under readers, clients and a slave that was away.

#![allow(clippy::unwrap_used, clippy::panic, reason = "test code: a failure is the finding")]

mod common;

use std::os::unix::fs::FileExt;
use std::process::{Command, Output};
use std::time::Duration;

use common::{Cluster, GROUP, committed, fast, patient};
use dledger::{
    Client, ClientError, Config, Ledger, NodeId, ReadError, RemovalReason, RemoveError, Retention, RetentionStatus,
};
use futures::StreamExt;

const SEGMENT: u64 = 1 << 20;
const RECORD: usize = 200 << 10;

/// Two segments and the active one, however full the disk that the test runs on.
fn small(config: &mut Config) {
    fast(config);
    let (max_bytes, every) = (Some(3 * SEGMENT), Duration::from_millis(50));
    config.retention = Some(Retention { max_age: None, max_bytes, check: 1.0, force: 1.0, refuse: 1.0, every });
}

async fn serve(cluster: &mut Cluster, n: usize) {
    cluster.nodes[n] = Some(dledger::server::serve(cluster.builder(n)).await.unwrap());
}

async fn served(change: fn(&mut Config)) -> Cluster {
    let mut cluster = Cluster::down(3, change);
    for n in 0..3 {
        serve(&mut cluster, n).await;
    }
    cluster
}

fn body(index: u64) -> Vec<u8> {
    index.to_le_bytes().into_iter().cycle().take(RECORD).collect()
}

async fn append(ledger: &Ledger, count: u64) -> u64 {
    let mut end = ledger.status().end;
    for _ in 0..count {
        assert_eq!(patient(ledger.append(body(end))).await.unwrap().index, end);
        end += 1;
    }
    end
}

/// Appends until `ledger` has removed what lies below `index`.
async fn append_until_removed(master: &Ledger, ledger: &Ledger, index: u64) -> u64 {
    for _ in 0..500 {
        let end = append(master, 1).await;
        if ledger.status().first >= index {
            return end;
        }
    }
    panic!("nothing is removed: {:?}", ledger.retention());
}

fn client(cluster: &Cluster) -> Client {
    Client::builder(cluster.peers.clone(), GROUP.parse().unwrap()).build()
}

/// The bytes of the segment at `position`, if it is there.
fn segment(cluster: &Cluster, n: usize, position: u64) -> Option<Vec<u8>> {
    std::fs::read(cluster.dir(n).join(GROUP).join(format!("{position:020}"))).ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn old_segments_go_on_every_node_and_a_slave_that_was_away_ends_byte_identical() {
    let mut cluster = served(small).await;
    let (master, away) = (cluster.master().await, cluster.slave().await);
    let other = (0..3).find(|n| ![master, away].contains(n)).unwrap();
    let leader = cluster.ledger(master);
    append(&leader, 3).await;
    committed(&cluster.ledger(away), 3).await;
    cluster.stop(away).await;
    append_until_removed(&leader, &leader, 10).await;
    let end = append_until_removed(&leader, &cluster.ledger(other), 10).await;
    serve(&mut cluster, away).await;
    let end = end.max(append(&leader, 2).await);
    cluster.committed(end).await;

    let status = cluster.ledger(away).retention().unwrap();
    assert!(status.first >= 10, "{status:?}");
    for n in 0..3 {
        let (ledger, first) = (cluster.ledger(n), cluster.ledger(n).status().first);
        assert_eq!(patient(ledger.get(first)).await.unwrap().body, body(first));
        assert!(patient(ledger.get(end - 1)).await.unwrap().body == body(end - 1));
        assert!(ledger.retention().unwrap().problem.is_none(), "{:?}", ledger.retention());
    }
    let last = leader.retention().unwrap().last.unwrap();
    assert_eq!(last.reason, RemovalReason::Size);

    assert_identical(&mut cluster).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_learner_and_a_wiped_node_begin_where_their_master_does_and_end_byte_identical() {
    let mut cluster = Cluster::with_spares(3, 1, small);
    for n in 0..3 {
        cluster.up(n).await;
    }
    let (master, wiped) = (cluster.master().await, cluster.slave().await);
    let leader = cluster.ledger(master);
    append_until_removed(&leader, &leader, 10).await;
    cluster.up(3).await;
    patient(leader.add_learner(cluster.address(3))).await.unwrap();

    cluster.stop(wiped).await;
    std::fs::remove_dir_all(cluster.dir(wiped)).unwrap();
    cluster.up(wiped).await;
    let address = cluster.address(wiped).to_owned();
    patient(leader.replace_member(&NodeId::new(wiped as u64), &address, common::PATIENCE)).await.unwrap();
    let end = append(&leader, 2).await;
    cluster.committed(end).await;
    for n in [wiped, 3] {
        let status = cluster.ledger(n).status();
        assert!(status.first >= 10 && status.members.len() == 4, "{status:?}");
    }
    assert_identical(&mut cluster).await;
}

/// What any two nodes both have is the same, to the byte.
async fn assert_identical(cluster: &mut Cluster) {
    let running = cluster.running();
    let statuses: Vec<_> = running.iter().map(|n| cluster.ledger(*n).status()).collect();
    let end = statuses.iter().map(|s| (s.committed, s.committed_position, s.committed_chain)).collect::<Vec<_>>();
    assert!(end.iter().all(|place| *place == end[0]), "{end:?}");
    let starts: Vec<_> = running.iter().map(|n| cluster.ledger(*n).retention().unwrap().first_position).collect();
    cluster.stop_all().await;
    let (one, upto) = (running[0], end[0].1);
    for (n, start) in running.iter().zip(&starts).skip(1) {
        let (from, mut compared) = (starts[0].max(*start), 0);
        for position in (0..upto).step_by(SEGMENT as usize) {
            let (Some(one), Some(two)) = (segment(cluster, one, position), segment(cluster, *n, position)) else {
                continue;
            };
            let range = (from.max(position) - position) as usize..(upto - position).min(SEGMENT) as usize;
            if !range.is_empty() {
                compared += 1;
                assert!(one[range.clone()] == two[range], "segment {position} of node {n} differs");
            }
        }
        assert!(compared > 0, "no segment in common");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_below_the_first_are_told_where_to_go_on_and_keep_what_they_hold() {
    let cluster = served(fast).await;
    let leader = cluster.ledger(cluster.master().await);
    let end = append(&leader, 30).await;
    cluster.committed(end).await;
    let client = client(&cluster);
    for n in 0..3 {
        let ledger = cluster.ledger(n);
        let remote = client.node(&NodeId::new(n as u64)).unwrap();
        // Open before anything goes. They have read one record, and have no more than a few in hand.
        let (mut tail, mut far) = (ledger.tail(0), remote.tail(0).await.unwrap());
        assert_eq!(patient(tail.next()).await.unwrap().unwrap().index, 0);
        assert_eq!(patient(far.next()).await.unwrap().unwrap().index, 0);
        let held = ledger.read(0..10, Default::default()).await.unwrap();

        let above = patient(remote.remove_below(end + 1)).await.unwrap_err();
        assert_eq!(above, ClientError::NotYet { index: end + 1, committed: end });
        let refused = RemoveError::NotCommitted { index: end + 1, committed: end };
        assert_eq!(ledger.remove_below(end + 1).await, Err(refused));
        let first = patient(remote.remove_below(end)).await.unwrap();
        assert!((20..=end).contains(&first), "{first}");
        assert_eq!(ledger.status().first, first);
        assert_eq!(patient(ledger.remove_below(5)).await, Ok(first));

        let removed = |index| ReadError::Removed { index, first };
        assert_eq!(ledger.get(0).await, Err(removed(0)));
        assert_eq!(ledger.read(first - 1.., Default::default()).await, Err(removed(first - 1)));
        let told = loop {
            match patient(tail.next()).await.unwrap() {
                Ok(record) => assert!(record.body == body(record.index)),
                Err(error) => break error,
            }
        };
        assert!(matches!(told, ReadError::Removed { first: on, .. } if on == first), "{told}");
        assert!(patient(tail.next()).await.is_none());
        for (record, n) in held.iter().zip(0..) {
            assert!(record.index == n && record.body == body(n), "a held slice has changed");
        }

        // The same from afar.
        let gone = |index| ClientError::Removed { index, first };
        assert_eq!(patient(remote.get(0)).await.unwrap_err(), gone(0));
        assert_eq!(patient(remote.read(first - 1, Default::default())).await.unwrap_err(), gone(first - 1));
        let told = loop {
            match patient(far.next()).await.unwrap() {
                Ok(record) => assert!(record.body == body(record.index)),
                Err(error) => break error,
            }
        };
        assert!(matches!(told, ClientError::Removed { first: on, .. } if on == first), "{told}");
        assert_eq!(patient(remote.tail(first).await.unwrap().next()).await.unwrap().unwrap().index, first);
        let status = patient(remote.retention()).await.unwrap();
        // Others write to the disk too.
        let here = ledger.retention().unwrap();
        assert_eq!(status, RetentionStatus { disk_used: status.disk_used, ..here });
        assert_eq!(status.last.map(|last| (last.reason, last.first)), Some((RemovalReason::Asked, first)));
    }
    // The client as a whole: no node has it, so no other is tried for ever.
    let error = patient(client.tail(0).next()).await.unwrap().unwrap_err();
    assert!(matches!(error, ClientError::Removed { index: 0, .. }), "{error}");
    patient(leader.append(body(end))).await.unwrap();
}

fn dledger(cluster: &Cluster, args: &[&str]) -> Output {
    let peers = cluster.peers.iter().map(|peer| format!("{}={}", peer.id, peer.address)).collect::<Vec<_>>().join(",");
    let mut command = Command::new(env!("CARGO_BIN_EXE_dledger"));
    command.arg("retention").args(args).args(["--group", GROUP, "--peers", &peers]).output().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_shows_and_moves_where_the_ledger_begins() {
    let mut cluster = served(small).await;
    let leader = cluster.ledger(cluster.master().await);
    let end = append(&leader, 8).await;
    cluster.committed(end).await;
    let run = |args: &[&str]| {
        let output = tokio::task::block_in_place(|| dledger(&cluster, args));
        (output.status.success(), String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    let (ok, shown, _) = run(&["show"]);
    assert!(ok && shown.starts_with("NODE  FIRST  POSITION"), "{shown}");
    assert!(shown.lines().skip(1).all(|line| line.contains("size 3.0 MiB, disk 100%/100%/100%")), "{shown}");
    let (ok, moved, _) = run(&["move", "--to", "6"]);
    assert!(ok && moved == "n0 begins at index 5\nn1 begins at index 5\nn2 begins at index 5\n", "{moved}");
    let (ok, moved, error) = run(&["move", "--to", "9", "--node", "n1"]);
    assert!(!ok && moved.starts_with("n1 refused: it has committed up to 8"), "{moved}");
    assert_eq!(error, "error: not done on n1\n");
    let (_, json, _) = run(&["show", "--json"]);
    let nodes: serde_json::Value = serde_json::from_str(&json).unwrap();
    for node in nodes.as_array().unwrap() {
        assert_eq!((&node["first"], &node["last"]["reason"]), (&5.into(), &"asked".into()), "{json}");
        assert_eq!(node["limits"]["max_bytes"], 3 * SEGMENT);
    }
    cluster.stop(2).await;
    let output = tokio::task::block_in_place(|| dledger(&cluster, &["move", "--to", "0", "--json"]));
    assert!(!output.status.success());
    let nodes: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&nodes[0]["first"], nodes[2]["error"].is_string()), (&5.into(), true), "{nodes}");
}

/// The entry that a removal ends with must be read for it. openraft would take a failure for the end of the storage.
#[tokio::test(flavor = "multi_thread")]
async fn a_removal_that_ends_with_a_damaged_entry_is_refused_and_the_node_goes_on() {
    let mut cluster = Cluster::start_with(1, fast).await;
    cluster.master().await;
    append(&cluster.ledger(0), 20).await;
    let all = cluster.ledger(0).read(.., dledger::ReadLimit::bytes(usize::MAX)).await.unwrap();
    let last = all.iter().map(|record| record.position).take_while(|position| *position < SEGMENT).last().unwrap();
    drop(all);
    // What this life has written is not checked again; and a start looks at the ends of the segments.
    cluster.stop(0).await;
    cluster.up(0).await;
    cluster.master().await;
    let header = last - 4 - 4 - 80;
    let file = cluster.dir(0).join(GROUP).join(format!("{:020}", 0));
    let file = std::fs::OpenOptions::new().read(true).write(true).open(file).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, header + 8).unwrap();
    file.write_all_at(&[byte[0] ^ 0x40], header + 8).unwrap();

    let ledger = cluster.ledger(0);
    let refused = patient(ledger.remove_below(6)).await.unwrap_err();
    assert!(matches!(refused, RemoveError::Damaged(_)), "{refused}");
    assert_eq!((ledger.status().first, ledger.retention().unwrap().problem), (0, Some(refused.to_string())));
    let end = append(&ledger, 1).await;
    // What comes after it may go, and it with that.
    assert!(patient(ledger.remove_below(end)).await.unwrap() > 6);
    assert_eq!(ledger.retention().unwrap().problem, None);
}
