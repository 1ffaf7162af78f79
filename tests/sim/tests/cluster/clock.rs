//! Clocks that are set wrong: what a leader stamps records with.

use std::time::Duration;

use dledger::types::NodeId;
use dledger_sim::{SimCluster, pass, run};

const SOON: Duration = Duration::from_secs(10);
const DAY: u64 = 24 * 3_600_000;

async fn started(seed: u64) -> (SimCluster, usize) {
    let cluster = SimCluster::new(seed, 3, |_| {});
    for i in 0..3 {
        cluster.start(i).await.unwrap();
    }
    let master = master(&cluster).await;
    (cluster, master)
}

async fn master(cluster: &SimCluster) -> usize {
    cluster.wait("a master", SOON, || cluster.master().is_some()).await;
    cluster.master().unwrap()
}

/// Appends a record at `i`, and gives back its stamp.
async fn stamp(cluster: &SimCluster, i: usize) -> u64 {
    let index = cluster.append(i, vec!["record".into()]).await.unwrap()[0].index;
    cluster.committed(i, index).await[0].timestamp
}

#[test]
fn a_leader_whose_clock_alone_is_ahead_stamps_with_the_time_that_is_due() {
    for seed in 0..2 {
        run(seed, async {
            let (cluster, leads) = started(seed).await;
            let before = stamp(&cluster, leads).await;
            cluster.jump(leads, 365 * DAY as i64);
            for round in 0..3 {
                let stamp = stamp(&cluster, leads).await;
                assert!(stamp >= before && stamp - before < DAY, "{round}: {stamp}, {before} before");
                pass(Duration::from_secs(30)).await;
            }
            // One that is ahead before it leads is held against what it heard from its leader.
            let heir = (leads + 1) % 3;
            cluster.jump(leads, -365 * DAY as i64);
            cluster.jump(heir, 365 * DAY as i64);
            let transfer = cluster.ledger(leads).unwrap();
            transfer.transfer_leadership(&NodeId::new(heir as u64)).await.unwrap();
            assert_eq!(master(&cluster).await, heir);
            for _ in 0..3 {
                let stamp = stamp(&cluster, heir).await;
                assert!(stamp >= before && stamp - before < DAY, "{stamp}, {before} before");
                pass(Duration::from_secs(20)).await;
            }
        });
    }
}

#[test]
fn stamps_follow_when_all_clocks_are_ahead() {
    for seed in 0..2 {
        run(seed, async {
            let (cluster, leads) = started(seed).await;
            let before = stamp(&cluster, leads).await;
            (0..3).for_each(|i| cluster.jump(i, DAY as i64));
            stamp(&cluster, leads).await;
            pass(Duration::from_secs(20)).await;
            assert!(stamp(&cluster, leads).await - before >= DAY);
            // Or when they all were down for that long.
            for i in 0..3 {
                cluster.stop(i).await.unwrap();
                cluster.jump(i, DAY as i64);
            }
            for i in 0..3 {
                cluster.start(i).await.unwrap();
            }
            let leads = master(&cluster).await;
            stamp(&cluster, leads).await;
            pass(Duration::from_secs(20)).await;
            let leads = master(&cluster).await;
            assert!(stamp(&cluster, leads).await - before >= 2 * DAY);
        });
    }
}

#[test]
fn a_node_alone_follows_its_clock_and_never_back() {
    run(7, async {
        let cluster = SimCluster::new(7, 1, |_| {});
        cluster.start(0).await.unwrap();
        master(&cluster).await;
        let before = stamp(&cluster, 0).await;
        cluster.jump(0, DAY as i64);
        stamp(&cluster, 0).await;
        pass(Duration::from_secs(20)).await;
        let ahead = stamp(&cluster, 0).await;
        assert!(ahead - before >= DAY);
        cluster.jump(0, -(DAY as i64));
        assert_eq!(stamp(&cluster, 0).await, ahead);
    });
}
