//! Followers that the leader's picture of them does not fit: it sends what they do not expect.

#![allow(clippy::unwrap_used, clippy::panic, reason = "test code: a failure is the finding")]

use std::time::Duration;

use super::{SimCluster, pass, run, spawn};
use crate::config::Config;
use crate::types::{Consistency, Role};

const SOON: Duration = Duration::from_secs(10);
const RECORD: usize = 4000;

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// Usual seeds, or as many as the environment names.
fn seeds(usual: u64) -> std::ops::Range<u64> {
    let number = |key: &str| std::env::var(key).ok().map(|value| value.parse().expect("a number"));
    match number("DLEDGER_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("DLEDGER_SEEDS").unwrap_or(usual),
    }
}

fn record(n: u64) -> bytes::Bytes {
    format!("{n:0RECORD$}").into()
}

/// Three nodes, the number of the master, and records from index 0 to `end`.
async fn started(seed: u64, end: u64, configure: impl Fn(&mut Config)) -> (SimCluster, usize) {
    let cluster = SimCluster::new(seed, 3, |config| {
        config.append_timeout = SOON;
        configure(config);
    });
    for i in 0..3 {
        cluster.start(i).await.unwrap();
    }
    cluster.wait("a master", SOON, || cluster.master().is_some()).await;
    let master = cluster.master().unwrap();
    for n in 0..end {
        cluster.append(master, vec![record(n)]).await.unwrap();
    }
    let all = || (0..3).all(|i| cluster.ledger(i).unwrap().status().committed == end);
    cluster.wait("all to have it", SOON, all).await;
    (cluster, master)
}

/// Its leader does not know how far it is, purges, and begins it anew in the middle of what it has.
#[test]
fn a_snapshot_that_ends_inside_a_followers_tail_does_not_set_it_back() {
    for seed in seeds(4) {
        run(seed, async {
            // Heartbeats are seldom: the snapshot has to come before one does.
            let seldom = |config: &mut Config| {
                config.heartbeat_interval = ms(300);
                config.election_timeout = (ms(1200), ms(2400));
                config.fast_failover = false;
            };
            let (cluster, master) = started(seed, 25, seldom).await;
            let (follower, other) = ((master + 1) % 3, (master + 2) % 3);
            let ledger = |i: usize| cluster.ledger(i).unwrap();
            // It is sent entries of which it does not hear that they are committed, and its answers are lost.
            cluster.hang_syncs(other, true);
            cluster.cut(follower, master);
            let appends: Vec<_> = (25..60)
                .map(|n| {
                    let cluster = cluster.clone();
                    spawn(async move { cluster.append(master, vec![record(n)]).await })
                })
                .collect();
            let has = || ledger(follower).status().end >= 35;
            cluster.wait("it to have a tail", SOON, has).await;
            pass(ms(20)).await;
            cluster.shun(follower);
            let end = ledger(follower).status().end;
            cluster.hang_syncs(other, false);
            for append in appends {
                append.await.unwrap();
            }
            for n in 60..100 {
                cluster.append(master, vec![record(n)]).await.unwrap();
            }
            assert_eq!(ledger(follower).status().committed, 25, "seed {seed}");
            let first = ledger(master).remove_below(end - 2).await.unwrap();
            assert!(first > 25 && first < end, "seed {seed}: {first} of {end}");
            pass(ms(seed * 7 % 200)).await;
            cluster.heal();
            let follows = || ledger(follower).status().committed == 100;
            cluster.wait("it to follow", SOON, follows).await;
            let read = ledger(follower).barrier_within(Consistency::Linearizable, SOON).await;
            assert_eq!(read, Ok(100), "seed {seed}");
            assert!(matches!(cluster.role(follower), Some(Role::Slave { .. })), "seed {seed}");
        });
    }
}
