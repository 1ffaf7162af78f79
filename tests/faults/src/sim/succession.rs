//! How long a cluster is without a master when its master is gone. All times are virtual.

use std::time::Duration;

use dledger::Config;
use dledger_sim::{self as sim, SimCluster};

const SOON: Duration = Duration::from_secs(10);
/// A leader's lease in these clusters.
const LEASE: Duration = Duration::from_millis(400);
const SEEDS: u64 = 40;

/// From the end of the master, as `end` makes it, to the next one.
fn without_master(seed: u64, configure: impl Fn(&mut Config), end: impl Fn(&SimCluster, usize)) -> Duration {
    sim::run(seed, async {
        let cluster = SimCluster::new(seed, 3, |config| {
            config.election_timeout = (LEASE / 2, LEASE);
            configure(config);
        });
        for i in 0..3 {
            cluster.start(i).await.unwrap();
        }
        cluster.wait("a master", SOON, || cluster.master().is_some()).await;
        let old = cluster.master().unwrap();
        cluster.append(old, vec!["before".into()]).await.unwrap();
        let began = sim::now();
        end(&cluster, old);
        cluster.wait("another master", SOON, || cluster.master().is_some_and(|new| new != old)).await;
        let spent = sim::now() - began;
        let new = cluster.master().unwrap();
        cluster.append(new, vec!["after".into()]).await.unwrap();
        spent
    })
}

fn kill(cluster: &SimCluster, i: usize) {
    cluster.kill(i);
}

/// See its name.
///
/// # Panics
/// If that does not hold.
pub fn a_master_whose_process_dies_is_succeeded_before_its_lease_is_over() {
    let mut times: Vec<_> = (0..SEEDS).map(|seed| without_master(seed, |_| {}, kill)).collect();
    times.sort();
    println!("without a master: median {:?}, at most {:?}", times[times.len() / 2], times[times.len() - 1]);
    assert!(times[times.len() - 1] < LEASE, "{times:?}");
}

/// See its name.
///
/// # Panics
/// If that does not hold.
pub fn without_fast_failover_a_dead_masters_lease_runs_out_first() {
    for seed in 0..5 {
        let spent = without_master(seed, |config| config.fast_failover = false, kill);
        // The last heartbeat may have been sent a while before.
        assert!(spent > LEASE - Duration::from_millis(60), "{spent:?}");
    }
}

/// See its name.
///
/// # Panics
/// If that does not hold.
pub fn a_silent_masters_lease_runs_out_first() {
    for seed in 0..5 {
        let spent = without_master(seed, |_| {}, SimCluster::isolate);
        assert!(spent > LEASE - Duration::from_millis(60), "{spent:?}");
    }
}

/// See its name.
///
/// # Panics
/// If that does not hold.
pub fn a_master_that_only_seems_dead_is_succeeded_once_and_follows() {
    for seed in 0..SEEDS {
        sim::run(seed, async {
            let cluster = SimCluster::new(seed, 3, |_| {});
            for i in 0..3 {
                cluster.start(i).await.unwrap();
            }
            cluster.wait("a master", SOON, || cluster.master().is_some()).await;
            let old = cluster.master().unwrap();
            cluster.append(old, vec!["before".into()]).await.unwrap();
            cluster.shun(old);
            cluster.wait("another master", SOON, || cluster.master().is_some_and(|new| new != old)).await;
            let acked = cluster.append(cluster.master().unwrap(), vec!["after".into()]).await.unwrap();
            cluster.heal();
            let caught_up = || cluster.ledger(old).is_some_and(|ledger| ledger.status().committed > acked[0].index);
            cluster.wait("the old one to follow", SOON, caught_up).await;
        });
    }
}

/// See its name.
///
/// # Panics
/// If that does not hold.
pub fn a_master_whose_disk_hangs_gives_way() {
    for seed in 0..10 {
        sim::run(seed, async {
            let cluster = SimCluster::new(seed, 3, |config| config.disk_stall_timeout = Duration::from_millis(500));
            for i in 0..3 {
                cluster.start(i).await.unwrap();
            }
            cluster.wait("a master", SOON, || cluster.master().is_some()).await;
            let old = cluster.master().unwrap();
            cluster.append(old, vec!["before".into()]).await.unwrap();
            cluster.hang_syncs(old, true);
            // The others are a quorum: it is acked all the same.
            cluster.append(old, vec!["during".into()]).await.unwrap();
            cluster.wait("another master", SOON, || cluster.master().is_some_and(|new| new != old)).await;
            let acked = cluster.append(cluster.master().unwrap(), vec!["after".into()]).await.unwrap();
            cluster.hang_syncs(old, false);
            let caught_up = || cluster.ledger(old).is_some_and(|ledger| ledger.status().durable > acked[0].index);
            cluster.wait("the old one to follow", SOON, caught_up).await;
        });
    }
}
