//! Masters die, nodes restart, tails conflict: what was acked stays, on every node, at its place.

use std::time::Duration;

use dledger::testkit::Cluster;
use dledger::{AppendError, Durability, Outcome, Role};
use futures::StreamExt;

use crate::common::{GROUP, bodies, kit, patient, segment_bytes};

async fn append_all(cluster: &Cluster, from: usize, count: usize) {
    let ledger = cluster.ledger(cluster.wait_for_master().await.unwrap()).unwrap();
    for n in from..from + count {
        assert_eq!(patient(ledger.append(format!("record {n}"))).await.unwrap().index, n as u64);
    }
}

fn expected(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("record {n}")).collect()
}

/// Byte identity of the running nodes' stored logs.
async fn assert_identical(cluster: &mut Cluster, count: u64) {
    cluster.wait_committed(count).await.unwrap();
    let statuses: Vec<_> = cluster.running().into_iter().map(|n| cluster.ledger(n).unwrap().status()).collect();
    let position = statuses.iter().map(|status| status.committed_position).min().unwrap();
    let running = cluster.running();
    cluster.stop_all().await;
    let first = segment_bytes(&cluster.dir(running[0]).join(GROUP), position);
    assert!(first.len() as u64 >= position);
    for n in &running[1..] {
        assert!(segment_bytes(&cluster.dir(*n).join(GROUP), position) == first, "node {n} differs");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_master_takes_over_and_the_old_one_returns_as_slave() {
    let mut cluster = kit(3).start().await.unwrap();
    append_all(&cluster, 0, 50).await;
    let old = cluster.wait_for_master().await.unwrap();
    cluster.stop(old).await.unwrap();
    append_all(&cluster, 50, 50).await;
    cluster.restart(old).await.unwrap();
    cluster.wait_committed_on(&[old], 100).await.unwrap();
    assert_eq!(bodies(&cluster.ledger(old).unwrap()).await, expected(100));
    let mut role = cluster.ledger(old).unwrap().role();
    patient(role.wait_for(|role| matches!(role, Role::Slave { .. }))).await.unwrap();
    assert_identical(&mut cluster, 100).await;
}

/// Before it has heard from anybody, and before anything has happened in it.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_restarts_says_the_term_it_was_in() {
    let mut cluster = kit(3).start().await.unwrap();
    append_all(&cluster, 0, 1).await;
    let node = cluster.wait_for_slave().await.unwrap();
    let mut role = cluster.ledger(node).unwrap().role();
    // The others did not need it for what was acked: it may not have heard of their term yet.
    let term = patient(role.wait_for(|role| matches!(role, Role::Slave { .. }))).await.unwrap().term();
    let term = term.expect("a slave has a master's term");
    cluster.stop_all().await;
    for _ in 0..5 {
        cluster.restart(node).await.unwrap();
        let ledger = cluster.ledger(node).unwrap();
        assert!(term > 0 && ledger.status().term >= term, "{:?}, once {term}", ledger.status());
        assert!(ledger.role().borrow().term() >= Some(term), "{:?}, once {term}", ledger.role().borrow());
        cluster.stop(node).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_node_and_then_all_of_them_restart_and_nothing_is_lost() {
    let mut cluster = kit(3).durability(Durability::Sync).start().await.unwrap();
    let mut count = 0;
    for n in 0..3 {
        append_all(&cluster, count, 20).await;
        count += 20;
        cluster.stop(n).await.unwrap();
        cluster.restart(n).await.unwrap();
    }
    cluster.stop_all().await;
    for n in 0..3 {
        cluster.restart(n).await.unwrap();
    }
    append_all(&cluster, count, 20).await;
    cluster.wait_committed(80).await.unwrap();
    for n in 0..3 {
        assert_eq!(bodies(&cluster.ledger(n).unwrap()).await, expected(80));
    }
    assert_identical(&mut cluster, 80).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conflicting_tail_is_truncated_under_open_readers() {
    let mut cluster = kit(3).start().await.unwrap();
    append_all(&cluster, 0, 30).await;
    cluster.wait_committed(30).await.unwrap();
    let old = cluster.wait_for_master().await.unwrap();
    let others: Vec<usize> = (0..3).filter(|n| *n != old).collect();
    for n in &others {
        cluster.stop(*n).await.unwrap();
    }
    // Alone the old master writes a tail that nobody else has. It rolls into a second segment.
    let alone = cluster.ledger(old).unwrap();
    let mut doomed = Vec::new();
    for n in 0..8 {
        doomed.push(alone.submit(vec![vec![n; 200 << 10].into()], Some(Duration::from_millis(300))).await.unwrap());
    }
    let mut unknown = 0;
    for pending in doomed {
        // Those that Raft has not taken yet are refused.
        unknown += u64::from(patient(pending).await.unwrap_err().outcome() == Outcome::Unknown);
    }
    let status = alone.status();
    assert_eq!((status.committed, status.end), (30, 30 + unknown));
    assert!(unknown > 3, "the tail is too short to reach the next segment");
    cluster.stop(old).await.unwrap();

    // The others go on without it, from the same place.
    for n in &others {
        cluster.restart(*n).await.unwrap();
    }
    append_all(&cluster, 30, 30).await;
    // It comes back with readers open over the tail it must give up.
    cluster.restart(old).await.unwrap();
    let returned = cluster.ledger(old).unwrap();
    let held = returned.read(.., Default::default()).await.unwrap();
    let tail = returned.tail(0).take(60).map(|record| record.unwrap());
    let followed: Vec<_> = patient(tail.collect::<Vec<_>>()).await;
    let texts: Vec<_> = followed.iter().map(|record| String::from_utf8(record.body.to_vec()).unwrap()).collect();
    assert_eq!(texts, expected(60));
    for (n, record) in held.iter().enumerate() {
        assert_eq!(record.body, format!("record {n}"));
    }
    assert_identical(&mut cluster, 60).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slave_that_was_away_catches_up_over_several_segments() {
    let mut cluster = kit(3).start().await.unwrap();
    append_all(&cluster, 0, 10).await;
    let away = cluster.wait_for_slave().await.unwrap();
    cluster.stop(away).await.unwrap();
    let master = cluster.ledger(cluster.wait_for_master().await.unwrap()).unwrap();
    for n in 0..40_u8 {
        patient(master.append(vec![n; 100 << 10])).await.unwrap();
    }
    cluster.restart(away).await.unwrap();
    cluster.wait_committed_on(&[away], 50).await.unwrap();
    for n in 0..40_u8 {
        assert_eq!(cluster.ledger(away).unwrap().get(10 + u64::from(n)).await.unwrap().body, vec![n; 100 << 10]);
    }
    assert_identical(&mut cluster, 50).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tail_goes_on_through_a_change_of_the_master() {
    let mut cluster = kit(3).start().await.unwrap();
    append_all(&cluster, 0, 10).await;
    let slave = cluster.wait_for_slave().await.unwrap();
    let mut tail = cluster.ledger(slave).unwrap().tail(0);
    let old = cluster.wait_for_master().await.unwrap();
    cluster.stop(old).await.unwrap();
    append_all(&cluster, 10, 10).await;
    for n in 0..20 {
        let record = patient(tail.next()).await.unwrap().unwrap();
        assert_eq!((record.index, &record.body[..]), (n, format!("record {n}").as_bytes()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_append_waits_for_a_master_inside_its_deadline() {
    let mut cluster = kit(3).start().await.unwrap();
    append_all(&cluster, 0, 1).await;
    cluster.stop_all().await;
    cluster.restart(0).await.unwrap();
    let alone = cluster.ledger(0).unwrap();
    let refused = alone.submit(vec!["too early".into()], Some(Duration::from_millis(200))).await.unwrap();
    let error = patient(refused).await.unwrap_err();
    assert!(matches!(error, AppendError::NoMaster { .. }), "{error}");
    assert_eq!(error.outcome(), Outcome::Refused);
    let waiting = alone.submit(vec!["in time".into()], Some(Duration::from_secs(50))).await.unwrap();
    cluster.restart(1).await.unwrap();
    cluster.restart(2).await.unwrap();
    match patient(waiting).await {
        Ok(ack) => assert_eq!(ack.first_index, 1),
        // Another node won; the append waited for it, and was refused.
        Err(AppendError::NotMaster { master }) => assert_ne!(master.unwrap().id.as_str(), "n0"),
        Err(other) => panic!("{other}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slave_refuses_appends_and_names_the_master() {
    let cluster = kit(3).start().await.unwrap();
    let (master, slave) = (cluster.wait_for_master().await.unwrap(), cluster.wait_for_slave().await.unwrap());
    let mut role = cluster.ledger(slave).unwrap().role();
    patient(role.wait_for(|role| matches!(role, Role::Slave { .. }))).await.unwrap();
    match patient(cluster.ledger(slave).unwrap().append("x")).await {
        Err(AppendError::NotMaster { master: Some(found) }) => {
            assert_eq!(found.id.to_string(), format!("n{master}"));
            assert_eq!(found.address, cluster.peers().get(&found.id).unwrap().address);
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wiped_disk_does_not_pass_for_the_one_that_voted() {
    let mut cluster = kit(3).start().await.unwrap();
    append_all(&cluster, 0, 10).await;
    let wiped = cluster.wait_for_slave().await.unwrap();
    cluster.stop(wiped).await.unwrap();
    std::fs::remove_dir_all(cluster.dir(wiped)).unwrap();
    cluster.restart(wiped).await.unwrap();
    append_all(&cluster, 10, 10).await;
    // The others know it by its old disk: it hears nothing, knows of nothing, and forms no cluster of its own.
    let status = cluster.ledger(wiped).unwrap().status();
    assert_eq!((status.end, status.term, status.members.len()), (0, 0, 0));
}
