//! Clusters in which Raft itself comes upon damage, with `RepairPolicy::FromPeers`.

use std::time::Duration;

use dledger::config::RepairPolicy;
use dledger::error::ReadError;
use dledger::seams::transfer;
use dledger::types::Role;
use dledger_sim::{SimCluster, pass, run};

const SOON: Duration = Duration::from_secs(20);
/// Between two attempts of a repair.
const RETRY_AT_MOST: Duration = Duration::from_secs(35);
const RECORD: usize = 4000;

async fn started(seed: u64) -> (SimCluster, usize) {
    let cluster = SimCluster::new(seed, 3, |config| {
        config.repair = RepairPolicy::FromPeers;
        // The first reader that needs it finds it.
        config.scrub = None;
    });
    for i in 0..3 {
        cluster.start(i).await.unwrap();
    }
    (cluster.clone(), master(&cluster).await)
}

async fn master(cluster: &SimCluster) -> usize {
    cluster.wait("a master", SOON, || cluster.master().is_some()).await;
    cluster.master().unwrap()
}

async fn append(cluster: &SimCluster, i: usize, numbers: std::ops::Range<u64>) {
    for n in numbers {
        assert_eq!(cluster.append(i, vec![format!("{n:0RECORD$}").into()]).await.unwrap()[0].index, n);
    }
}

/// A byte in the middle of entry `number` is another one on the disk of node `i`, which is down; `of` has it too.
fn rot(cluster: &SimCluster, i: usize, of: usize, number: u64) {
    let entry = cluster.entry(of, number).unwrap();
    cluster.rot(i, entry.position + entry.size / 2);
}

async fn assert_all_have(cluster: &SimCluster, end: u64) {
    let has = |i: usize| cluster.ledger(i).is_some_and(|ledger| ledger.status().committed == end);
    cluster.wait("all to have it", SOON, || (0..3).all(has)).await;
    for i in 0..3 {
        for (record, n) in cluster.committed(i, 0).await.iter().zip(0..) {
            assert_eq!((record.index, &record.body[..]), (n, format!("{n:0RECORD$}").as_bytes()), "node {i}");
        }
    }
}

#[test]
fn a_master_repairs_what_it_has_to_send_and_stays_master() {
    for seed in 0..3 {
        run(seed, async {
            let (cluster, old) = started(seed).await;
            append(&cluster, old, 0..5).await;
            let (damaged, away) = ((old + 1) % 3, (old + 2) % 3);
            cluster.kill(away);
            append(&cluster, old, 5..80).await;
            cluster.kill(damaged);
            rot(&cluster, damaged, old, 25);
            cluster.start(damaged).await.unwrap();
            let follows = || matches!(cluster.role(damaged), Some(Role::Slave { .. }));
            cluster.wait("it to follow", SOON, follows).await;
            let id = cluster.ledger(damaged).unwrap().status().node;
            transfer(&cluster.ledger(old).unwrap(), id).await.unwrap();
            cluster.wait("it to lead", SOON, || cluster.master() == Some(damaged)).await;
            assert_eq!(cluster.ledger(damaged).unwrap().status().scrub.found, 0, "it was to be found by Raft");

            cluster.start(away).await.unwrap();
            assert_all_have(&cluster, 80).await;
            let status = cluster.ledger(damaged).unwrap().status();
            assert_eq!((status.scrub.found, status.scrub.repaired), (1, 1));
            assert_eq!((cluster.master(), cluster.starts(damaged)), (Some(damaged), 2));
        });
    }
}

/// As far as a node that was alone knows, that segment is not committed.
#[test]
fn what_raft_reads_at_the_start_is_repaired_wherever_it_is() {
    for seed in 0..3 {
        run(seed, async {
            let (cluster, old) = started(seed).await;
            append(&cluster, old, 0..14).await;
            let others: Vec<_> = (0..3).filter(|i| *i != old).collect();
            others.iter().for_each(|i| cluster.kill(*i));
            let alone = cluster.ledger(old).unwrap();
            let records = (0..12).map(|_| vec![vec![b'x'; RECORD].into()]);
            let appends: Vec<_> = records.map(|records| cluster.append(old, records)).collect();
            let stored = async { cluster.wait("it to store them", SOON, || alone.status().durable > 20).await };
            let (_, ()) = futures::join!(futures::future::join_all(appends), stored);
            cluster.kill(old);
            for i in &others {
                cluster.start(*i).await.unwrap();
            }
            append(&cluster, master(&cluster).await, 14..19).await;
            // The membership.
            rot(&cluster, old, others[0], 0);
            cluster.start(old).await.unwrap();
            assert_all_have(&cluster, 19).await;
        });
    }
}

/// The node that has the missing entries is down at first.
#[test]
fn what_could_not_be_repaired_is_tried_again() {
    run(4, async {
        let (cluster, master) = started(4).await;
        append(&cluster, master, 0..40).await;
        let (damaged, other) = ((master + 1) % 3, (master + 2) % 3);
        cluster.kill(damaged);
        rot(&cluster, damaged, master, 7);
        [master, other].into_iter().for_each(|i| cluster.kill(i));
        cluster.start(damaged).await.unwrap();
        let found = || cluster.ledger(damaged).unwrap().status().scrub;
        let read = cluster.ledger(damaged).unwrap().get(5).await;
        assert!(matches!(read, Err(ReadError::Damaged(_))), "{read:?}");
        pass(Duration::from_secs(60)).await;
        for i in [master, other] {
            cluster.start(i).await.unwrap();
        }
        cluster.wait("the others to lead", SOON, || cluster.master().is_some()).await;
        cluster.wait("the repair", RETRY_AT_MOST, || found().repaired == 1 && found().damaged.is_empty()).await;
        assert_all_have(&cluster, 40).await;
    });
}
