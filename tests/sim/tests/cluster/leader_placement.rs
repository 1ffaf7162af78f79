//! Who leads where a disk hangs, and where the leadership is handed over.
//!
//! `DLEDGER_SEEDS=n` runs more seeds, `DLEDGER_SEED=x` runs one again.

use std::time::Duration;

use crate::reads::{NODES, SOON, millis, seeds};
use dledger::error::AppendError;
use dledger::seams::transfer;
use dledger::types::{NodeId, Role};
use dledger_sim::{SimCluster, pass, run};

async fn started(seed: u64) -> (SimCluster, usize) {
    let cluster = SimCluster::new(seed, NODES, |_| {});
    for i in 0..NODES {
        cluster.start(i).await.unwrap();
    }
    let follows = |i| matches!(cluster.role(i), Some(Role::Slave { .. } | Role::Master { .. }));
    cluster.wait("a master and its slaves", SOON, || (0..NODES).all(follows)).await;
    let master = cluster.master().unwrap();
    (cluster, master)
}

fn id(i: usize) -> NodeId {
    NodeId::new(i as u64)
}

/// Nobody hears anybody, so that time alone decides.
#[test]
fn a_hand_over_is_taken_back_when_its_own_time_is_over_and_not_that_of_one_before_it() {
    for seed in seeds(4) {
        run(seed, async {
            let (cluster, master) = started(seed).await;
            let group = || cluster.ledger(master).unwrap();
            let voted = || cluster.view(master).unwrap().vote.unwrap();
            let led = voted();
            (0..NODES).for_each(|i| cluster.isolate(i));
            // Each has two seconds.
            transfer(&group(), id((master + 1) % NODES)).await.unwrap();
            pass(millis(1_500)).await;
            let next = id((master + 2) % NODES);
            transfer(&group(), next.clone()).await.unwrap();
            pass(millis(1_500)).await;
            assert_eq!(voted(), led, "seed {seed}: it was taken back too soon");
            pass(millis(1_000)).await;
            let given = voted();
            assert_eq!((given.term, given.node), (led.term + 1, Some(next.to_string())), "seed {seed}");
        });
    }
}

/// At first all disks hang, and nobody is better.
#[test]
fn a_master_whose_disk_hangs_gives_way_as_soon_as_another_does_better() {
    for seed in seeds(4) {
        run(seed, async {
            let (cluster, master) = started(seed).await;
            let others = [(master + 1) % NODES, (master + 2) % NODES];
            (0..NODES).for_each(|i| cluster.hang_syncs(i, true));
            let appended = dledger_sim::spawn({
                let cluster = cluster.clone();
                async move { cluster.append(master, vec!["while all hang".into()]).await }
            });
            // It has been looked for somebody better by now, in vain.
            pass(millis(3_500)).await;
            assert_eq!(cluster.master(), Some(master), "seed {seed}: {}", cluster.describe());
            others.iter().for_each(|i| cluster.hang_syncs(*i, false));
            let gives_way = || cluster.master().is_some_and(|now| now != master);
            cluster.wait("another master", Duration::from_secs(4), gives_way).await;
            cluster.hang_syncs(master, false);
            // However long it took.
            let _: Result<_, AppendError> = appended.await;
        });
    }
}
