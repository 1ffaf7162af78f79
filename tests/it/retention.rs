//! Real nodes that remove what is old, under readers, clients and a slave that was away.

use std::os::unix::fs::FileExt;
use std::process::{Command, Output};
use std::time::Duration;

use dledger::testkit::{Cluster, ClusterBuilder};
use dledger::{ClientError, Ledger, NodeId, ReadError, RemovalReason, RemoveError, Retention, RetentionStatus};
use futures::StreamExt;

use crate::common::{GROUP, kit, master_ledger, patient};

const SEGMENT: u64 = 1 << 20;
const RECORD: usize = 200 << 10;

/// Two segments and the active one, however full the disk that the test runs on.
fn small(nodes: usize) -> ClusterBuilder {
    let (max_bytes, every) = (Some(3 * SEGMENT), Duration::from_millis(50));
    let retention = Retention { max_age: None, max_bytes, check: 1.0, force: 1.0, refuse: 1.0, every };
    kit(nodes).configure(move |config| config.retention = Some(retention))
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

/// The bytes of the segment at `position`, if it is there.
fn segment(cluster: &Cluster, n: usize, position: u64) -> Option<Vec<u8>> {
    std::fs::read(cluster.dir(n).join(GROUP).join(format!("{position:020}"))).ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn old_segments_go_on_every_node_and_a_slave_that_was_away_ends_byte_identical() {
    let mut cluster = small(3).start().await.unwrap();
    let (master, away) = (cluster.wait_for_master().await.unwrap(), cluster.wait_for_slave().await.unwrap());
    let other = (0..3).find(|n| ![master, away].contains(n)).unwrap();
    let leader = cluster.ledger(master).unwrap();
    append(&leader, 3).await;
    cluster.wait_committed_on(&[away], 3).await.unwrap();
    cluster.stop(away).await.unwrap();
    append_until_removed(&leader, &leader, 10).await;
    let end = append_until_removed(&leader, &cluster.ledger(other).unwrap(), 10).await;
    cluster.restart(away).await.unwrap();
    let end = end.max(append(&leader, 2).await);
    cluster.wait_committed(end).await.unwrap();

    let status = cluster.ledger(away).unwrap().retention().unwrap();
    assert!(status.first >= 10, "{status:?}");
    for n in 0..3 {
        let (ledger, first) = (cluster.ledger(n).unwrap(), cluster.ledger(n).unwrap().status().first);
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
    let mut cluster = small(3).spares(1).start().await.unwrap();
    let (master, wiped) = (cluster.wait_for_master().await.unwrap(), cluster.wait_for_slave().await.unwrap());
    let leader = cluster.ledger(master).unwrap();
    append_until_removed(&leader, &leader, 10).await;
    cluster.restart(3).await.unwrap();
    patient(leader.add_learner(cluster.address(3).unwrap())).await.unwrap();

    cluster.stop(wiped).await.unwrap();
    std::fs::remove_dir_all(cluster.dir(wiped)).unwrap();
    cluster.restart(wiped).await.unwrap();
    let address = cluster.address(wiped).unwrap().to_owned();
    patient(leader.replace_member(&NodeId::new(wiped as u64), &address, crate::common::PATIENCE)).await.unwrap();
    let end = append(&leader, 2).await;
    cluster.wait_committed(end).await.unwrap();
    for n in [wiped, 3] {
        let status = cluster.ledger(n).unwrap().status();
        assert!(status.first >= 10 && status.members.len() == 4, "{status:?}");
    }
    assert_identical(&mut cluster).await;
}

/// What any two nodes both have is the same, to the byte.
async fn assert_identical(cluster: &mut Cluster) {
    let running = cluster.running();
    // A segment that ends by itself is an entry like any other, and comes to one after the other.
    let end = patient(async {
        loop {
            let statuses = running.iter().map(|n| cluster.ledger(*n).unwrap().status());
            let end: Vec<_> = statuses.map(|s| (s.committed, s.committed_position, s.committed_chain)).collect();
            if end.iter().all(|place| *place == end[0]) {
                break end;
            }
            tokio::task::yield_now().await;
        }
    });
    let end = end.await;
    let starts: Vec<_> =
        running.iter().map(|n| cluster.ledger(*n).unwrap().retention().unwrap().first_position).collect();
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
    let cluster = kit(3).start().await.unwrap();
    let leader = master_ledger(&cluster).await;
    let end = append(&leader, 30).await;
    cluster.wait_committed(end).await.unwrap();
    let client = cluster.client();
    for n in 0..3 {
        let ledger = cluster.ledger(n).unwrap();
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
        assert_eq!((ledger.range(), patient(remote.range()).await.unwrap()), (first..end, first..end));
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
        assert_eq!(patient(remote.read(first - 1.., Default::default())).await.unwrap_err(), gone(first - 1));
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

#[tokio::test(flavor = "multi_thread")]
async fn the_records_of_a_ledger_that_rests_go_when_they_are_old() {
    let (max_age, every) = (Some(Duration::from_secs(1)), Duration::from_millis(50));
    let aged = Retention { max_age, max_bytes: None, check: 1.0, force: 1.0, refuse: 1.0, every };
    let mut cluster = kit(3).configure(move |config| config.retention = Some(aged)).start().await.unwrap();
    append(&master_ledger(&cluster).await, 3).await;
    let client = cluster.client();
    for n in 0..3 {
        let remote = client.node(&NodeId::new(n)).unwrap();
        let gone = async {
            loop {
                let status = remote.retention().await.unwrap();
                // A removal is reported once its files are gone.
                if status.first == 3 && status.last.is_some() {
                    break status;
                }
            }
        };
        let status = patient(gone).await;
        assert_eq!((status.segments, status.last.map(|last| last.reason)), (1, Some(RemovalReason::Age)), "{status:?}");
    }
    // It goes on behind them.
    append(&master_ledger(&cluster).await, 2).await;
    assert_identical(&mut cluster).await;
}

fn dledger(cluster: &Cluster, args: &[&str]) -> Output {
    let peers =
        cluster.peers().iter().map(|peer| format!("{}={}", peer.id, peer.address)).collect::<Vec<_>>().join(",");
    let mut command = Command::new(env!("CARGO_BIN_EXE_dledger"));
    command.arg("retention").args(args).args(["--group", GROUP, "--peers", &peers]).output().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_shows_and_moves_where_the_ledger_begins() {
    let mut cluster = small(3).start().await.unwrap();
    let leader = master_ledger(&cluster).await;
    let end = append(&leader, 8).await;
    cluster.wait_committed(end).await.unwrap();
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
    cluster.stop(2).await.unwrap();
    let output = tokio::task::block_in_place(|| dledger(&cluster, &["move", "--to", "0", "--json"]));
    assert!(!output.status.success());
    let nodes: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&nodes[0]["first"], nodes[2]["error"].is_string()), (&5.into(), true), "{nodes}");
}

/// The entry that a removal ends with must be read for it. openraft would take a failure for the end of the storage.
#[tokio::test(flavor = "multi_thread")]
async fn a_removal_that_ends_with_a_damaged_entry_is_refused_and_the_node_goes_on() {
    let mut cluster = kit(1).start().await.unwrap();
    cluster.wait_for_master().await.unwrap();
    append(&cluster.ledger(0).unwrap(), 20).await;
    let all = cluster.ledger(0).unwrap().read(.., dledger::ReadLimit::bytes(usize::MAX)).await.unwrap();
    let last = all.iter().map(|record| record.position).take_while(|position| *position < SEGMENT).last().unwrap();
    drop(all);
    // What this life has written is not checked again; and a start looks at the ends of the segments.
    cluster.stop(0).await.unwrap();
    cluster.restart(0).await.unwrap();
    cluster.wait_for_master().await.unwrap();
    let header = last - 4 - 4 - 80;
    let file = cluster.dir(0).join(GROUP).join(format!("{:020}", 0));
    let file = std::fs::OpenOptions::new().read(true).write(true).open(file).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, header + 8).unwrap();
    file.write_all_at(&[byte[0] ^ 0x40], header + 8).unwrap();

    let ledger = cluster.ledger(0).unwrap();
    let refused = patient(ledger.remove_below(6)).await.unwrap_err();
    assert!(matches!(refused, RemoveError::Damaged(_)), "{refused}");
    assert_eq!((ledger.status().first, ledger.retention().unwrap().problem), (0, Some(refused.to_string())));
    let end = append(&ledger, 1).await;
    // What comes after it may go, and it with that.
    assert!(patient(ledger.remove_below(end)).await.unwrap() > 6);
    assert_eq!(ledger.retention().unwrap().problem, None);
}
