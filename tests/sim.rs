//! Whole clusters of this very code, deterministic: simulated disk, network and time.
//!
//! `DLEDGER_SEEDS=n` runs more seeds, `DLEDGER_SEED=x` runs one again. A failure names its seed.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "what cannot go on fails its test")]

use std::time::Duration;

use bytes::Bytes;
use dledger::sim::{self, SimCluster};
use dledger::{Durability, Role};

use chaos::{Chaos, Outcome};

#[path = "sim/chaos.rs"]
mod chaos;
#[path = "sim/formations.rs"]
mod formations;
#[path = "sim/history.rs"]
mod history;
#[path = "sim/nemesis.rs"]
mod nemesis;
#[path = "sim/operator.rs"]
mod operator;
#[path = "sim/seeds.rs"]
mod seeds;
#[path = "sim/succession.rs"]
mod succession;

const SOON: Duration = Duration::from_secs(10);

/// Power fails, processes die, links are cut, messages get lost; every ack is on the disks of a quorum.
const POWER_LOSS: Chaos = Chaos {
    durability: Durability::Sync,
    power_loss: true,
    disk_faults: false,
    retention: false,
    churn: false,
    faults: 14,
    clients: 4,
};

#[test]
fn three_nodes_elect_replicate_part_crash_and_heal() {
    sim::run(1, async {
        let cluster = SimCluster::new(1, 3, |_| {});
        for i in 0..3 {
            cluster.start(i).await.unwrap();
        }
        cluster.wait("a master", SOON, || cluster.master().is_some()).await;
        let old = cluster.master().unwrap();
        for n in 0..50 {
            let acks = cluster.append(old, vec![format!("before {n}").into()]).await.unwrap();
            assert_eq!(acks[0].index, n);
        }
        let Some(Role::Master { term }) = cluster.role(old) else { panic!("not the master any more") };

        // Cut off, the old master acknowledges nothing; the others elect another.
        cluster.isolate(old);
        let lonely = sim::spawn({
            let cluster = cluster.clone();
            async move { cluster.append(old, vec!["lonely".into()]).await }
        });
        cluster.wait("another master", SOON, || cluster.master().is_some_and(|new| new != old)).await;
        let new = cluster.master().unwrap();
        assert!(matches!(cluster.role(new), Some(Role::Master { term: later }) if later > term));
        let after = cluster.append(new, vec!["after".into(), "after that".into()]).await.unwrap();
        assert_eq!(after.iter().map(|ack| ack.index).collect::<Vec<_>>(), [50, 51]);
        lonely.await.unwrap_err();

        // It comes back, all lose their power at once, and nothing acknowledged is gone.
        cluster.heal();
        cluster.wait("a slave", SOON, || matches!(cluster.role(old), Some(Role::Slave { .. }))).await;
        for i in 0..3 {
            cluster.crash(i);
        }
        for i in 0..3 {
            cluster.start(i).await.unwrap();
        }
        cluster.wait("a master after the crash", SOON, || cluster.master().is_some()).await;
        let last = cluster.append(cluster.master().unwrap(), vec!["last".into()]).await.unwrap();
        cluster.wait("all to have it", SOON, || (0..3).all(|i| committed(&cluster, i) > last[0].index)).await;
        let records = cluster.committed(0, 0).await;
        assert_eq!(records, cluster.committed(1, 0).await);
        assert_eq!(records, cluster.committed(2, 0).await);
        let bodies: Vec<Bytes> = records.into_iter().map(|record| record.body).collect();
        assert_eq!(bodies[49..], ["before 49", "after", "after that", "last"].map(Bytes::from));
    });
}

fn committed(cluster: &SimCluster, i: usize) -> u64 {
    cluster.ledger(i).map_or(0, |ledger| ledger.status().committed)
}

#[test]
fn acknowledged_records_survive_power_loss_and_partitions() {
    seeds::each("power loss", 4, |seed| chaos::run(seed, &POWER_LOSS));
}

#[test]
fn acknowledged_records_survive_failing_disks() {
    seeds::each("failing disks", 2, |seed| chaos::run(seed, &Chaos { disk_faults: true, ..POWER_LOSS }));
}

#[test]
fn acknowledged_records_survive_killed_processes_without_a_sync() {
    let interval = Durability::Interval(Duration::from_millis(100));
    let plan = Chaos { durability: interval, power_loss: false, ..POWER_LOSS };
    seeds::each("kills, interval", 2, |seed| chaos::run(seed, &plan));
}

#[test]
fn nodes_that_start_in_any_order_form_exactly_one_cluster_of_all() {
    seeds::each("start-ups", 40, formations::start_ups);
}

#[test]
fn nodes_with_different_peer_lists_never_form_two_clusters() {
    seeds::each("different peer lists", 15, formations::different_lists);
}

#[test]
fn two_processes_of_the_lowest_id_never_form_two_clusters() {
    seeds::each("twins", 15, formations::twins);
}

#[test]
fn a_node_that_joins_forms_nothing_and_promises_itself_to_nobody() {
    seeds::each("joining nodes", 6, formations::joining);
}

#[test]
fn acknowledged_records_survive_power_loss_until_retention_removes_them() {
    let plan = Chaos { retention: true, faults: 20, ..POWER_LOSS };
    seeds::each("retention", 2, |seed| {
        let outcome = chaos::run(seed, &plan);
        assert!(outcome.removed > 0, "nothing was removed");
        outcome
    });
}

#[test]
fn acknowledged_records_survive_failing_disks_until_retention_removes_them() {
    let plan = Chaos { retention: true, disk_faults: true, ..POWER_LOSS };
    seeds::each("retention, failing disks", 2, |seed| chaos::run(seed, &plan));
}

#[test]
fn acknowledged_records_survive_lost_disks_that_are_replaced_one_by_one() {
    let plan = Chaos { churn: true, faults: 20, ..POWER_LOSS };
    seeds::each("lost disks", 3, |seed| {
        let outcome = chaos::run(seed, &plan);
        assert!(outcome.replaced > 0, "nothing was replaced");
        outcome
    });
}

#[test]
fn a_seed_determines_everything() {
    let plan = Chaos { faults: 6, retention: true, churn: true, ..POWER_LOSS };
    let one: Outcome = chaos::run(7, &plan);
    assert_eq!(one, chaos::run(7, &plan));
    assert_ne!(one.trace, chaos::run(8, &plan).trace);
}
