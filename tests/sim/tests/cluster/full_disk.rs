//! A cluster in which disks fill up, and are given room again.

use std::time::Duration;

use dledger::config::{Config, MIN_SEGMENT_SIZE};
use dledger::error::{AppendError, Outcome};
use dledger::seams::purge_all;
use dledger::types::{NodeId, Role};
use dledger_sim::{SimCluster, pass, run};

const SOON: Duration = Duration::from_secs(10);
const RECORD: usize = 4000;
/// Room for what is not segments.
const SMALL_FILES: u64 = 4096;

async fn started(seed: u64, size: usize) -> (SimCluster, usize) {
    started_with(seed, size, |_| {}).await
}

async fn started_with(seed: u64, size: usize, configure: impl Fn(&mut Config)) -> (SimCluster, usize) {
    let cluster = SimCluster::new(seed, size, configure);
    for i in 0..size {
        cluster.start(i).await.unwrap();
    }
    cluster.wait("a master", SOON, || cluster.master().is_some()).await;
    let master = cluster.master().unwrap();
    (cluster, master)
}

async fn append(cluster: &SimCluster, i: usize, n: u64) -> Result<u64, AppendError> {
    let record = format!("{n:0RECORD$}");
    cluster.append(i, vec![record.into()]).await.map(|acks| acks[0].index)
}

/// Appends on `i` until it refuses; the number of the record that it refused.
async fn fill_up(cluster: &SimCluster, i: usize, mut n: u64) -> u64 {
    for _ in 0..1000 {
        match append(cluster, i, n).await {
            Ok(index) => assert_eq!(index, n),
            Err(error @ AppendError::DiskFull { .. }) => {
                assert_eq!(error.outcome(), Outcome::Refused);
                assert!(error.to_string().contains("no room for another segment in /data/g"), "{error}");
                return n;
            }
            Err(other) => panic!("record {n}: {other}"),
        }
        n += 1;
    }
    panic!("the disk is never full");
}

async fn assert_all_everywhere(cluster: &SimCluster, end: u64, from: u64) {
    let all = |i: usize| cluster.ledger(i).is_some_and(|ledger| ledger.status().committed == end);
    cluster.wait("all to have it", SOON, || (0..cluster.size()).all(all)).await;
    for i in 0..cluster.size() {
        let records = cluster.committed(i, from).await;
        assert_eq!(records.len() as u64, end - from);
        for (record, n) in records.iter().zip(from..) {
            assert_eq!((record.index, &record.body[..]), (n, format!("{n:0RECORD$}").as_bytes()), "node {i}");
        }
    }
}

/// Nobody else has room either.
#[test]
fn a_master_whose_disk_is_full_refuses_stays_master_and_goes_on_when_there_is_room() {
    for seed in 0..3 {
        run(seed, async {
            let (cluster, master) = started(seed, 3).await;
            for i in 0..3 {
                cluster.set_capacity(i, Some(cluster.used(i) + 2 * MIN_SEGMENT_SIZE));
            }
            let end = fill_up(&cluster, master, 0).await;
            for _ in 0..5 {
                pass(Duration::from_secs(1)).await;
                assert_eq!(fill_up(&cluster, master, end).await, end);
            }
            let status = cluster.ledger(master).unwrap().status();
            assert!(matches!(status.role, Role::Master { .. }), "{}", cluster.describe());
            assert!(status.disk_full.unwrap().contains("no room for another segment"));
            assert_all_everywhere(&cluster, end, 0).await;

            (0..3).for_each(|i| cluster.set_capacity(i, None));
            pass(Duration::from_secs(1)).await;
            for n in end..end + 40 {
                assert_eq!(append(&cluster, master, n).await, Ok(n), "{}", cluster.describe());
            }
            assert_eq!(cluster.ledger(master).unwrap().status().disk_full, None);
            assert_all_everywhere(&cluster, end + 40, 0).await;
            assert!((0..3).all(|i| cluster.starts(i) == 1));
        });
    }
}

/// Two nodes are full and three have room. The one that everybody wants to lead is one of the two.
#[test]
fn a_master_whose_disk_is_full_hands_over_once_to_one_that_has_room() {
    for seed in 0..3 {
        run(seed, async {
            let wanted = |config: &mut Config| config.preferred_leaders = vec![NodeId::new(0)];
            let (cluster, _) = started_with(seed, 5, wanted).await;
            cluster.wait("the wanted master", SOON * 3, || cluster.master() == Some(0)).await;
            for i in [0, 1] {
                cluster.set_capacity(i, Some(cluster.used(i) + 2 * MIN_SEGMENT_SIZE));
            }
            let full = |i: usize| cluster.ledger(i).unwrap().status().disk_full.is_some();
            let led = cluster.ledger(0).unwrap().status().term;
            let (mut n, mut tries) = (0, 0);
            while n < 100 {
                tries += 1;
                assert!(tries < 2000, "nobody takes more than {n}: {}", cluster.describe());
                let Some(master) = cluster.master() else {
                    pass(Duration::from_millis(50)).await;
                    continue;
                };
                match append(&cluster, master, n).await {
                    Ok(index) => assert_eq!(index, n),
                    Err(error) => {
                        assert_eq!(error.outcome(), Outcome::Refused, "{error}");
                        if let AppendError::DiskFull { .. } = error {
                            assert!(error.to_string().contains("`dledger transfer`"), "{error}");
                        }
                        pass(Duration::from_millis(50)).await;
                        continue;
                    }
                }
                n += 1;
            }
            assert!(full(0) && full(1), "{}", cluster.describe());
            let master = cluster.master().unwrap();
            assert!(master > 1, "{}", cluster.describe());
            pass(Duration::from_secs(60)).await;
            let status = cluster.ledger(master).unwrap().status();
            assert!(status.role.is_master(), "{}", cluster.describe());
            assert_eq!(status.term, led + 1, "it was handed over more than once: {}", cluster.describe());
            [0, 1].into_iter().for_each(|i| cluster.set_capacity(i, None));
            cluster.wait("the wanted master", SOON * 70, || cluster.master() == Some(0)).await;
            assert_all_everywhere(&cluster, n, 0).await;
        });
    }
}

/// All were full, and somebody made room on the slaves only: nothing is appended there that would find out.
#[test]
fn a_master_whose_disk_is_full_hands_over_to_one_that_has_room_again() {
    for seed in 0..3 {
        run(seed, async {
            let (cluster, full) = started(seed, 3).await;
            for i in 0..3 {
                cluster.set_capacity(i, Some(cluster.used(i) + 2 * MIN_SEGMENT_SIZE));
            }
            let end = fill_up(&cluster, full, 0).await;
            assert_all_everywhere(&cluster, end, 0).await;
            pass(SOON).await;
            assert_eq!(cluster.master(), Some(full), "{}", cluster.describe());
            (0..3).filter(|i| *i != full).for_each(|i| cluster.set_capacity(i, None));
            let other = || cluster.master().filter(|master| *master != full);
            cluster.wait("a master that has room", SOON * 6, || other().is_some()).await;
            let master = other().unwrap();
            assert_eq!(append(&cluster, master, end).await, Ok(end), "{}", cluster.describe());
        });
    }
}

#[test]
fn a_purge_makes_room_on_a_master_whose_disk_is_full() {
    run(1, async {
        let (cluster, master) = started(1, 1).await;
        cluster.set_capacity(master, Some(cluster.used(master) + 3 * MIN_SEGMENT_SIZE + SMALL_FILES));
        let end = fill_up(&cluster, master, 0).await;
        assert!(cluster.ledger(master).unwrap().status().disk_full.is_some());
        purge_all(&cluster.ledger(master).unwrap()).await.unwrap();
        let first = cluster.ledger(master).unwrap().status().first;
        assert_eq!(first, end);
        for n in end..end + 40 {
            assert_eq!(append(&cluster, master, n).await, Ok(n), "{}", cluster.describe());
        }
        assert_all_everywhere(&cluster, end + 40, end).await;
    });
}

#[test]
fn many_appends_at_once_fill_a_disk_without_an_unknown_outcome() {
    // Of each length another number of entries fills a segment.
    for (seed, length) in (0..).zip([4000, 5900, 7000, 3000, 2000]) {
        run(seed, async {
            let (cluster, master) = started(seed, 3).await;
            cluster.set_capacity(master, Some(cluster.used(master) + 2 * MIN_SEGMENT_SIZE));
            let count = 4 * MIN_SEGMENT_SIZE / length;
            let one = |_| cluster.append(master, vec![vec![b'x'; length as usize].into()]);
            let outcomes = futures::future::join_all((0..count).map(one)).await;
            let acks = outcomes.iter().filter(|outcome| outcome.is_ok()).count() as u64;
            let refused = outcomes.iter().filter(|o| matches!(o, Err(AppendError::DiskFull { .. }))).count() as u64;
            assert_eq!(acks + refused, count, "{outcomes:?}");
            assert!(acks > count / 3 && refused > 0, "{acks} acks");
            assert_eq!(cluster.ledger(master).unwrap().status().committed, acks);
        });
    }
}

#[test]
fn a_slave_whose_disk_is_full_stays_a_member_and_catches_up_when_there_is_room() {
    for seed in 0..3 {
        run(seed, async {
            let (cluster, master) = started(seed, 3).await;
            let slave = (master + 1) % 3;
            cluster.set_capacity(slave, Some(cluster.used(slave) + MIN_SEGMENT_SIZE));
            for n in 0..100 {
                assert_eq!(append(&cluster, master, n).await, Ok(n), "{}", cluster.describe());
            }
            // The one that is full costs the master next to nothing: an attempt a second, and heartbeats.
            let (_, before) = cluster.trace();
            pass(Duration::from_secs(20)).await;
            let (_, after) = cluster.trace();
            assert!(after - before < 20 * 250, "{} messages in 20 s", after - before);
            let status = cluster.ledger(slave).unwrap().status();
            assert!(matches!(status.role, Role::Slave { .. }), "{}", cluster.describe());
            assert!(status.end < 50 && status.disk_full.is_some(), "{}", cluster.describe());
            assert!(matches!(cluster.role(master), Some(Role::Master { term: 1 })), "{}", cluster.describe());

            cluster.set_capacity(slave, None);
            assert_all_everywhere(&cluster, 100, 0).await;
            assert!((0..3).all(|i| cluster.starts(i) == 1));
        });
    }
}

/// Then nobody can commit a record, but there is a master that says so, and the vote of a full node counts.
#[test]
fn nodes_that_are_full_still_elect_a_master() {
    for seed in 0..3 {
        run(seed, async {
            let (cluster, master) = started(seed, 3).await;
            for i in 0..3 {
                cluster.set_capacity(i, Some(cluster.used(i) + MIN_SEGMENT_SIZE));
            }
            let end = fill_up(&cluster, master, 0).await;
            let others = |i: usize| cluster.ledger(i).is_some_and(|ledger| ledger.status().committed == end);
            cluster.wait("all to have it", SOON, || (0..3).all(others)).await;
            cluster.kill(master);
            cluster.wait("another master", SOON, || cluster.master().is_some_and(|new| new != master)).await;
            let new = cluster.master().unwrap();
            assert_eq!(fill_up(&cluster, new, end).await, end);
            cluster.start(master).await.unwrap();
            for i in 0..3 {
                cluster.set_capacity(i, None);
            }
            // It may hand over to one that has heard of its room first.
            pass(Duration::from_secs(5)).await;
            cluster.wait("a master", SOON, || cluster.master().is_some()).await;
            assert_eq!(append(&cluster, cluster.master().unwrap(), end).await, Ok(end));
            assert_all_everywhere(&cluster, end + 1, 0).await;
        });
    }
}

/// Retention takes from the others what it still needs: it begins anew where they do, in the room of what it had.
#[test]
fn a_slave_whose_disk_is_full_and_that_is_overtaken_begins_anew_and_catches_up() {
    for seed in 0..3 {
        run(seed, async {
            let (cluster, master) = started(seed, 3).await;
            let slave = (master + 1) % 3;
            cluster.set_capacity(slave, Some(cluster.used(slave) + MIN_SEGMENT_SIZE));
            for n in 0..100 {
                assert_eq!(append(&cluster, master, n).await, Ok(n), "{}", cluster.describe());
            }
            let status = || cluster.ledger(slave).unwrap().status();
            cluster.wait("it to be full", SOON, || status().disk_full.is_some()).await;
            // Not a byte more than it has.
            cluster.set_capacity(slave, Some(cluster.used(slave)));
            for i in (0..3).filter(|i| *i != slave) {
                cluster.wait("all to have it", SOON, || cluster.ledger(i).unwrap().status().committed == 100).await;
                cluster.ledger(i).unwrap().remove_below(90).await.unwrap();
            }
            cluster.wait("it to begin anew", 3 * SOON, || status().first > 50).await;
            assert!(matches!(status().role, Role::Slave { .. }), "{}", cluster.describe());
            cluster.set_capacity(slave, None);
            cluster.wait("it to catch up", 3 * SOON, || status().committed == 100).await;
            let from = status().first;
            assert_all_everywhere(&cluster, 100, from.max(90)).await;
            assert!((0..3).all(|i| cluster.starts(i) == 1));
        });
    }
}
