//! Elections on disks that need longer for one sync than the election timeout is.
//!
//! `DLEDGER_SEEDS=n` runs more seeds, `DLEDGER_SEED=x` runs one again.

#![allow(clippy::unwrap_used, reason = "test code: a failure is the finding")]

use std::time::Duration;

use crate::reads::{NODES, SOON, millis, seeds};
use dledger::types::Role;
use dledger_sim::{SimCluster, now, pass, run};

/// As long as it may take until there is a master again.
const AT_MOST: Duration = Duration::from_secs(180);

/// Three nodes with the times that are the default, all in order, and the number of the master.
async fn started(seed: u64) -> (SimCluster, usize) {
    let cluster = SimCluster::new(seed, NODES, |config| {
        config.heartbeat_interval = millis(100);
        config.election_timeout = (millis(400), millis(800));
        config.stall_timeout = millis(5_000);
        config.append_timeout = Duration::from_secs(60);
    });
    for i in 0..NODES {
        cluster.start(i).await.unwrap();
    }
    settled(&cluster).await;
    let master = cluster.master().unwrap();
    (cluster, master)
}

async fn settled(cluster: &SimCluster) {
    let follows = |i| matches!(cluster.role(i), None | Some(Role::Slave { .. } | Role::Master { .. }));
    let all = || cluster.master().is_some() && (0..NODES).all(follows);
    cluster.wait("a master and its slaves", AT_MOST, all).await;
}

/// Whether the master is killed, or only not heard of any more.
#[derive(Debug, Clone, Copy)]
enum Loss {
    Killed,
    Silent,
}

impl Loss {
    fn strike(self, cluster: &SimCluster, master: usize) {
        match self {
            Self::Killed => cluster.kill(master),
            Self::Silent => cluster.isolate(master),
        }
    }

    async fn undo(self, cluster: &SimCluster, i: usize) {
        match self {
            Self::Killed => cluster.start(i).await.unwrap(),
            Self::Silent => cluster.heal(),
        }
    }
}

/// How much longer a sync of each node takes, milliseconds.
const DISKS: [[u64; NODES]; 7] = [
    [7_000, 7_000, 7_000],
    [2_500, 2_500, 2_500],
    [1_000, 1_000, 1_000],
    [400, 400, 400],
    [1_000, 2_500, 5_000],
    [0, 2_500, 2_500],
    [0, 0, 5_000],
];

/// The master is lost twice, with all disks in order first: nobody knows yet how slow they are.
async fn succession(seed: u64, disks: [u64; NODES], loss: Loss) {
    let what = format!("seed {seed}, {disks:?}, {loss:?}");
    let (cluster, mut master) = started(seed).await;
    (0..NODES).for_each(|i| cluster.slow_syncs(i, millis(disks[i])));
    for round in 0..2 {
        cluster.append(master, vec!["before".into()]).await.unwrap();
        let lost = master;
        loss.strike(&cluster, lost);
        let began = now();
        let succeeded = || cluster.master().is_some_and(|new| new != lost);
        cluster.wait(&format!("a successor, {what}, round {round}"), AT_MOST, succeeded).await;
        let took = now() - began;
        master = cluster.master().unwrap();
        cluster.append(master, vec!["after".into()]).await.unwrap_or_else(|error| panic!("{what}: {error}"));
        println!("{what}: a successor after {took:?}, an ack after {:?}", now() - began);
        // It leads on, and the others come back to it.
        loss.undo(&cluster, lost).await;
        pass(SOON).await;
        settled(&cluster).await;
        master = cluster.master().unwrap();
    }
}

#[test]
fn a_master_is_succeeded_however_slow_the_disks_are() {
    for seed in seeds(1) {
        for disks in DISKS {
            for loss in [Loss::Killed, Loss::Silent] {
                run(seed, succession(seed, disks, loss));
            }
        }
    }
}
