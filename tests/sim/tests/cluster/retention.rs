//! Clusters whose nodes remove what is old, each by itself, while others need it, die and come back.

use std::time::Duration;

use futures::StreamExt;

use dledger::config::{Config, MIN_SEGMENT_SIZE, Retention};
use dledger::error::{AppendError, ReadError, RemoveError};
use dledger::seams::transfer;
use dledger::types::{DiskLevel, RemovalReason, Role};
use dledger_sim::{SimCluster, pass, run, spawn};

const SOON: Duration = Duration::from_secs(10);
const RECORD: usize = 4000;

/// Two segments and the active one.
fn small(config: &mut Config) {
    let every = Duration::from_millis(100);
    config.retention = Some(Retention { max_bytes: Some(3 * MIN_SEGMENT_SIZE), every, ..Retention::default() });
}

async fn started(seed: u64, change: fn(&mut Config)) -> (SimCluster, usize) {
    let cluster = SimCluster::new(seed, 3, change);
    for i in 0..3 {
        cluster.start(i).await.unwrap();
    }
    (cluster.clone(), master(&cluster).await)
}

async fn master(cluster: &SimCluster) -> usize {
    cluster.wait("a master", SOON, || cluster.master().is_some()).await;
    cluster.master().unwrap()
}

pub(crate) async fn append(cluster: &SimCluster, i: usize, numbers: std::ops::Range<u64>) {
    for n in numbers {
        let acks = cluster.append(i, vec![format!("{n:0RECORD$}").into()]).await;
        assert_eq!(acks.unwrap()[0].index, n, "{}", cluster.describe());
    }
}

pub(crate) fn first(cluster: &SimCluster, i: usize) -> u64 {
    cluster.ledger(i).map_or(0, |ledger| ledger.status().first)
}

/// Waits until all that run have committed `end` records; then what two nodes both have is the same, to the byte.
pub(crate) async fn assert_alike(cluster: &SimCluster, end: u64) {
    let running: Vec<_> = (0..3).filter(|i| cluster.ledger(*i).is_some()).collect();
    let status = |i: usize| cluster.ledger(i).unwrap().status();
    let all = || running.iter().all(|i| status(*i).committed >= end);
    cluster.wait("all to have it", 3 * SOON, all).await;
    let place = |i: usize| (status(i).committed_position, status(i).committed_chain);
    let (least, _) = place(running[0]);
    for i in &running {
        assert_eq!(place(*i), place(running[0]), "{}", cluster.describe());
        let from = first(cluster, *i);
        for (record, n) in cluster.committed(*i, from).await.iter().zip(from..) {
            assert_eq!((record.index, &record.body[..]), (n, format!("{n:0RECORD$}").as_bytes()), "node {i}");
        }
        for (other, position) in running.iter().zip([least; 3]) {
            let starts = [*i, *other].map(|i| cluster.ledger(i).unwrap().retention().unwrap().first_position);
            let (start, theirs) = (starts[0].max(starts[1]), cluster.segments(*other));
            for (at, bytes) in cluster.segments(*i) {
                let Some(same) = theirs.get(&at) else { continue };
                let range = (start.max(at) - at) as usize..(position.max(at) - at).min(bytes.len() as u64) as usize;
                assert!(range.is_empty() || bytes[range.clone()] == same[range], "segment {at} of {i} and {other}");
            }
        }
    }
}

#[test]
fn every_node_keeps_its_size_by_itself_and_readers_are_told_where_to_go_on() {
    for seed in 0..3 {
        run(seed, async {
            let (cluster, master) = started(seed, small).await;
            let tails: Vec<_> = (0..3).map(|i| cluster.ledger(i).unwrap().tail(0)).collect();
            append(&cluster, master, 0..150).await;
            let kept = |i: usize| cluster.segments(i).len() <= 3 && first(&cluster, i) > 50;
            cluster.wait("all to remove", SOON, || (0..3).all(kept)).await;
            for (i, mut tail) in tails.into_iter().enumerate() {
                let (ledger, first) = (cluster.ledger(i).unwrap(), first(&cluster, i));
                let removed = |index| ReadError::Removed { index, first };
                assert_eq!(ledger.get(0).await, Err(removed(0)));
                assert_eq!(ledger.read(first - 1.., Default::default()).await, Err(removed(first - 1)));
                assert_eq!(tail.next().await, Some(Err(removed(0))));
                assert_eq!(ledger.tail(first).next().await.unwrap().unwrap().index, first);
                let status = ledger.retention().unwrap();
                assert_eq!((status.first, status.segments, status.problem), (first, 3, None));
                assert_eq!(status.bytes, 3 * MIN_SEGMENT_SIZE);
                assert_eq!(status.last.unwrap().reason, RemovalReason::Size);
                assert_eq!(status.last.unwrap().first, first);
                assert_eq!(status.oldest, Some(ledger.get(first).await.unwrap().timestamp));
            }
            assert_alike(&cluster, 150).await;
            // They start again where they began.
            let before: Vec<_> = (0..3).map(|i| first(&cluster, i)).collect();
            (0..3).for_each(|i| cluster.crash(i));
            for (i, before) in before.into_iter().enumerate() {
                cluster.start(i).await.unwrap();
                assert!(first(&cluster, i) == before, "node {i}");
            }
            append(&cluster, self::master(&cluster).await, 150..160).await;
            assert_alike(&cluster, 160).await;
        });
    }
}

#[test]
fn a_follower_that_was_away_begins_where_its_leader_does_and_ends_alike() {
    for seed in 0..3 {
        run(seed, async {
            let (cluster, master) = started(seed, |_| {}).await;
            append(&cluster, master, 0..20).await;
            let away = (master + 1) % 3;
            cluster.kill(away);
            append(&cluster, master, 20..120).await;
            for i in (0..3).filter(|i| *i != away) {
                cluster.wait("all to have it", SOON, || cluster.ledger(i).unwrap().status().committed == 120).await;
                let left = cluster.ledger(i).unwrap().remove_below(90).await.unwrap();
                assert!((70..=90).contains(&left), "{left}");
            }
            cluster.start(away).await.unwrap();
            append(&cluster, self::master(&cluster).await, 120..125).await;
            assert_alike(&cluster, 125).await;
            // All that the leader has left, and not only what is not applied there.
            assert_eq!(first(&cluster, away), first(&cluster, master));
            assert_eq!(cluster.ledger(away).unwrap().get(0).await, cluster.ledger(master).unwrap().get(0).await);
            // It can do without the others now, and the others without their old master.
            cluster.crash(master);
            append(&cluster, self::master(&cluster).await, 125..130).await;
            assert_alike(&cluster, 130).await;
        });
    }
}

/// As a learner begins: it has voted and has nothing else.
#[test]
fn a_node_that_never_had_an_entry_begins_where_its_leader_does() {
    run(5, async {
        let (cluster, late) = (SimCluster::new(5, 3, small), 2);
        for i in 0..3 {
            cluster.start(i).await.unwrap();
        }
        while cluster.ledger(0).unwrap().status().term == 0 {
            pass(Duration::from_micros(100)).await;
        }
        cluster.kill(late);
        let master = master(&cluster).await;
        append(&cluster, master, 0..150).await;
        cluster.wait("the others to remove", SOON, || (0..2).all(|i| first(&cluster, i) > 50)).await;
        cluster.start(late).await.unwrap();
        assert_eq!(cluster.ledger(late).unwrap().status().end, 0, "it was to have nothing");
        append(&cluster, self::master(&cluster).await, 150..155).await;
        assert_alike(&cluster, 155).await;
        assert!(first(&cluster, late) > 50);
        assert_eq!(cluster.ledger(late).unwrap().status().members.len(), 3);
    });
}

/// It goes on to take what it is sent, and its answers are lost; nothing else breaks its stream for ten minutes.
async fn with_a_stalled_follower(seed: u64) -> (SimCluster, usize, usize) {
    let (cluster, master) = started(seed, |config| config.stall_timeout = Duration::from_secs(600)).await;
    append(&cluster, master, 0..20).await;
    let stalled = (master + 1) % 3;
    cluster.cut(stalled, master);
    append(&cluster, master, 20..120).await;
    (cluster, master, stalled)
}

#[test]
fn a_follower_that_does_not_answer_does_not_keep_its_leader_from_removing() {
    for seed in 0..4 {
        run(seed, async {
            let (cluster, master, _) = with_a_stalled_follower(seed).await;
            let before = dledger_sim::now();
            let left = cluster.ledger(master).unwrap().remove_below(90).await.unwrap();
            assert!((70..=90).contains(&left), "{left}");
            assert!(dledger_sim::now() - before < Duration::from_secs(3), "it took {:?}", dledger_sim::now() - before);
            cluster.heal();
            append(&cluster, master, 120..125).await;
            assert_alike(&cluster, 125).await;
            assert!(matches!(cluster.role(master), Some(Role::Master { term: 1 })), "{}", cluster.describe());
            assert!((0..3).all(|i| cluster.starts(i) == 1));
        });
    }
}

/// openraft does not do it when it stops leading, and does not let itself be told again.
#[test]
fn a_removal_that_was_waiting_when_the_leader_changed_is_done() {
    run(7, async {
        let (cluster, old, _) = with_a_stalled_follower(7).await;
        let ledger = cluster.ledger(old).unwrap();
        let waiting = spawn({
            let ledger = ledger.clone();
            async move { ledger.remove_below(90).await }
        });
        pass(Duration::from_millis(500)).await;
        let heir = cluster.ledger((old + 2) % 3).unwrap().status().node;
        transfer(&ledger, heir).await.unwrap();
        cluster.wait("a slave", SOON, || matches!(cluster.role(old), Some(Role::Slave { .. }))).await;
        let left = waiting.await.unwrap();
        assert!((70..=90).contains(&left), "{left}");
        cluster.heal();
        append(&cluster, master(&cluster).await, 120..125).await;
        assert_alike(&cluster, 125).await;
    });
}

#[test]
fn what_is_asked_for_is_done_in_whole_segments_and_never_above_what_is_committed() {
    run(1, async {
        let (cluster, master) = started(1, |_| {}).await;
        append(&cluster, master, 0..60).await;
        let ledger = cluster.ledger(master).unwrap();
        assert_eq!(ledger.remove_below(0).await, Ok(0));
        assert_eq!(ledger.remove_below(61).await, Err(RemoveError::NotCommitted { index: 61, committed: 60 }));
        let held = ledger.get(3).await.unwrap();
        let left = ledger.remove_below(60).await.unwrap();
        assert!((40..60).contains(&left), "{left}");
        assert_eq!(ledger.remove_below(20).await, Ok(left));
        assert_eq!(ledger.status().first, left);
        assert_eq!(held.body, format!("{:0RECORD$}", 3));
        let status = ledger.retention().unwrap();
        assert_eq!((status.segments, status.level), (1, None));
        assert_eq!(status.last.map(|last| (last.reason, last.first)), Some((RemovalReason::Asked, left)));
        // The others were not asked.
        assert_eq!(first(&cluster, (master + 1) % 3), 0);
        append(&cluster, master, 60..65).await;
        assert_alike(&cluster, 65).await;
    });
}

const TIGHT: Retention = Retention {
    max_age: None,
    max_bytes: None,
    check: 0.4,
    force: 0.6,
    refuse: 0.9,
    every: Duration::from_millis(100),
};

#[test]
fn nodes_on_small_disks_go_on_for_ever_because_the_oldest_records_go() {
    run(2, async {
        let (cluster, master) = started(2, |config| config.retention = Some(TIGHT)).await;
        (0..3).for_each(|i| cluster.set_capacity(i, Some(10 * MIN_SEGMENT_SIZE)));
        append(&cluster, master, 0..300).await;
        for i in 0..3 {
            let status = cluster.ledger(i).unwrap().retention().unwrap();
            assert_eq!(status.last.map(|last| last.reason), Some(RemovalReason::DiskForced), "{status:?}");
            assert!(status.level >= Some(DiskLevel::Filling) && status.disk_used < 0.9, "{status:?}");
            assert!(status.first > 150, "{status:?}");
        }
        assert_alike(&cluster, 300).await;
    });
}

#[test]
fn a_node_takes_no_more_of_its_disk_than_it_was_told() {
    run(3, async {
        let refuse = Retention { check: 0.2, force: 0.25, refuse: 0.25, ..TIGHT };
        let cluster = SimCluster::new(3, 1, |config| config.retention = Some(refuse));
        cluster.set_capacity(0, Some(10 * MIN_SEGMENT_SIZE));
        cluster.start(0).await.unwrap();
        master(&cluster).await;
        let mut refused = None;
        for n in 0..40_u64 {
            if let Err(error) = cluster.append(0, vec![format!("{n:0RECORD$}").into()]).await {
                refused = Some(error);
                break;
            }
        }
        // Not for want of room, and not although something could go: there is one segment.
        let Some(AppendError::DiskFull { reason }) = refused else { panic!("{refused:?}") };
        assert!(reason.contains("the limit is 25.0 %"), "{reason}");
    });
}

pub(crate) const MINUTE: Duration = Duration::from_secs(60);
const DAY: i64 = 24 * 3_600_000;
/// Thirty days and a little.
pub(crate) const JUMP: i64 = 30 * DAY + 15 * 60_000;

/// One node that keeps records for two hours.
async fn aging(seed: u64) -> SimCluster {
    aging_nodes(seed, 1).await
}

/// So many of them.
pub(crate) async fn aging_nodes(seed: u64, nodes: usize) -> SimCluster {
    let aged = |config: &mut Config| {
        let max_age = Some(120 * MINUTE);
        config.retention = Some(Retention { max_age, every: MINUTE, ..Retention::default() });
        // Hours pass: nobody is there to hear the beats.
        config.heartbeat_interval = Duration::from_secs(4);
        config.stall_timeout = Duration::from_secs(5);
        config.election_timeout = (Duration::from_secs(12), Duration::from_secs(24));
    };
    let cluster = SimCluster::new(seed, nodes, aged);
    for i in 0..nodes {
        cluster.start(i).await.unwrap();
    }
    alone(&cluster).await;
    cluster
}

async fn alone(cluster: &SimCluster) {
    cluster.wait("a master", 10 * MINUTE, || cluster.master().is_some()).await;
}

fn problem(cluster: &SimCluster) -> String {
    cluster.ledger(0).unwrap().retention().unwrap().problem.unwrap_or_default()
}

#[test]
fn a_clock_that_jumps_ahead_removes_nothing_before_it_has_stood_for_an_hour() {
    run(4, async {
        let cluster = aging(4).await;
        append(&cluster, 0, 0..60).await;
        pass(5 * MINUTE).await;
        cluster.jump(0, JUMP);
        append(&cluster, 0, 60..65).await;
        pass(10 * MINUTE).await;
        assert_eq!(first(&cluster, 0), 0, "{}", problem(&cluster));
        assert!(problem(&cluster).contains("30 days ahead"), "{}", problem(&cluster));
        // Set right: as if nothing had been. What was stamped meanwhile is told of.
        cluster.jump(0, -JUMP);
        pass(20 * MINUTE).await;
        assert_eq!(first(&cluster, 0), 0);
        assert!(problem(&cluster).contains("stamped 29 days ahead"), "{}", problem(&cluster));
        // So it is, after all.
        cluster.jump(0, JUMP);
        pass(50 * MINUTE).await;
        assert_eq!(first(&cluster, 0), 0);
        pass(15 * MINUTE).await;
        assert!(first(&cluster, 0) > 0, "{}", problem(&cluster));
    });
}

#[test]
fn records_stamped_in_the_future_go_when_they_have_been_there_for_long_enough() {
    run(5, async {
        let cluster = aging(5).await;
        cluster.jump(0, 300 * DAY);
        append(&cluster, 0, 0..60).await;
        cluster.jump(0, -300 * DAY);
        append(&cluster, 0, 60..65).await;
        pass(60 * MINUTE).await;
        assert_eq!(first(&cluster, 0), 0);
        assert!(problem(&cluster).contains("days ahead of this node's clock"), "{}", problem(&cluster));
        pass(65 * MINUTE).await;
        assert!(first(&cluster, 0) > 0, "{}", problem(&cluster));
    });
}

#[test]
fn after_a_long_downtime_records_still_age_out() {
    run(6, async {
        let cluster = aging(6).await;
        append(&cluster, 0, 0..60).await;
        cluster.stop(0).await.unwrap();
        cluster.jump(0, JUMP);
        cluster.start(0).await.unwrap();
        alone(&cluster).await;
        // By the time of the first look they are not the newest any more.
        append(&cluster, 0, 60..65).await;
        pass(30 * MINUTE).await;
        assert_eq!(first(&cluster, 0), 0);
        pass(35 * MINUTE).await;
        assert!(first(&cluster, 0) > 0, "{}", problem(&cluster));
    });
}
