//! Clusters that keep records for two hours and are hardly written to: segments end because of their age.

use crate::retention::{JUMP, MINUTE, aging_nodes, append, assert_alike, first};
use dledger::config::MIN_SEGMENT_SIZE;
use dledger::seams::end_segment;
use dledger_sim::{SimCluster, pass, run};

/// For how long records are kept, minutes.
const KEPT: u32 = 120;

fn master(cluster: &SimCluster) -> usize {
    cluster.master().unwrap()
}

/// Segments that have been begun so far, but for the first.
fn segments_ended(cluster: &SimCluster) -> u64 {
    cluster.ledger(master(cluster)).unwrap().status().committed_position / MIN_SEGMENT_SIZE
}

#[test]
fn the_records_of_a_ledger_that_rests_go_when_they_are_old_on_every_node_alike() {
    run(1, async {
        let cluster = aging_nodes(1, 3).await;
        append(&cluster, master(&cluster), 0..5).await;
        pass((KEPT - 5) * MINUTE).await;
        append(&cluster, master(&cluster), 5..6).await;
        assert_eq!((segments_ended(&cluster), first(&cluster, 0)), (0, 0));
        // The first has its age, and the last one keeps them all for as long again.
        pass(10 * MINUTE).await;
        assert_eq!((segments_ended(&cluster), first(&cluster, 0)), (1, 0));
        let gone = || (0..3).all(|i| first(&cluster, i) == 6);
        cluster.wait("all records to go", KEPT * MINUTE, gone).await;
        // What is left holds no record: it has no age.
        pass((KEPT + 30) * MINUTE).await;
        assert_eq!(segments_ended(&cluster), 1, "{}", cluster.describe());
        assert!((0..3).all(|i| cluster.ledger(i).unwrap().retention().unwrap().segments == 1));
        append(&cluster, master(&cluster), 6..9).await;
        assert_alike(&cluster, 9).await;
        cluster.wait("the next ones to go", (KEPT + 5) * MINUTE, || (0..3).all(|i| first(&cluster, i) == 9)).await;
        assert_eq!(segments_ended(&cluster), 2);
    });
}

/// However slowly clients append, and on every leader.
#[test]
fn no_record_stays_for_longer_than_twice_its_age() {
    run(3, async {
        let cluster = aging_nodes(3, 3).await;
        let mut written = Vec::new();
        for n in 0..40 {
            if n % 13 == 12 {
                cluster.crash(master(&cluster));
                cluster.wait("another master", 10 * MINUTE, || cluster.master().is_some()).await;
                let dead = (0..3).find(|i| cluster.ledger(*i).is_none()).unwrap();
                cluster.start(dead).await.unwrap();
            }
            append(&cluster, master(&cluster), n..n + 1).await;
            written.push(dledger_sim::now());
            for _ in 0..25 {
                pass(MINUTE).await;
                for i in 0..3 {
                    let oldest = written.get(first(&cluster, i) as usize).copied();
                    let age = oldest.map_or(MINUTE, |written| dledger_sim::now() - written);
                    assert!(age <= (2 * KEPT + 10) * MINUTE, "{age:?} on node {i}: {}", cluster.describe());
                }
            }
        }
        assert!(segments_ended(&cluster) > 5 && first(&cluster, 0) > 20, "{}", cluster.describe());
        assert_alike(&cluster, 40).await;
    });
}

#[test]
fn a_clock_that_jumps_ahead_ends_one_segment_and_not_before_it_is_believed() {
    run(4, async {
        let cluster = aging_nodes(4, 1).await;
        append(&cluster, 0, 0..3).await;
        pass(5 * MINUTE).await;
        for _ in 0..3 {
            cluster.jump(0, JUMP);
            pass(20 * MINUTE).await;
            cluster.jump(0, -JUMP);
            pass(3 * MINUTE).await;
        }
        assert_eq!(segments_ended(&cluster), 0, "it was never believed");
        cluster.jump(0, JUMP);
        pass(65 * MINUTE).await;
        assert_eq!((segments_ended(&cluster), first(&cluster, 0)), (1, 3));
        cluster.jump(0, -JUMP);
        pass(3 * MINUTE).await;
        cluster.jump(0, JUMP);
        pass((KEPT + 90) * MINUTE).await;
        assert_eq!(segments_ended(&cluster), 1);
    });
}

#[test]
fn records_stamped_in_the_future_end_their_segment_when_they_have_been_there_for_long_enough() {
    run(5, async {
        let cluster = aging_nodes(5, 1).await;
        cluster.jump(0, 10 * JUMP);
        append(&cluster, 0, 0..3).await;
        cluster.jump(0, -10 * JUMP);
        pass((KEPT - 5) * MINUTE).await;
        assert_eq!(segments_ended(&cluster), 0);
        pass(10 * MINUTE).await;
        assert_eq!(segments_ended(&cluster), 1);
        pass((KEPT + 5) * MINUTE).await;
        assert_eq!(first(&cluster, 0), 3);
        // Stamps never fall: from its first record on this one has them only from there.
        append(&cluster, 0, 3..5).await;
        pass((KEPT - 5) * MINUTE).await;
        assert_eq!(segments_ended(&cluster), 1);
        pass(10 * MINUTE).await;
        assert_eq!(segments_ended(&cluster), 2);
        pass((KEPT + 5) * MINUTE).await;
        assert_eq!(first(&cluster, 0), 5);
    });
}

/// Who asks looks at what is written, and asks again when nothing has come of it: also while appends come in.
#[test]
fn a_segment_that_is_asked_to_end_more_than_once_ends_once() {
    for seed in 0..5 {
        run(seed, async {
            let cluster = aging_nodes(seed, 3).await;
            let leads = master(&cluster);
            let ledger = cluster.ledger(leads).unwrap();
            append(&cluster, leads, 0..2).await;
            let pending: Vec<_> = (0..3).map(|_| ledger.try_submit(vec!["beside".into()]).unwrap()).collect();
            (0..4).for_each(|_| end_segment(&ledger, 0).unwrap());
            // None begins with that entry.
            end_segment(&ledger, 3).unwrap();
            for pending in pending {
                pending.await.unwrap();
            }
            ledger.append("behind").await.unwrap();
            assert_eq!(segments_ended(&cluster), 1, "seed {seed}");
            // A slave ends none.
            let slave = cluster.ledger((leads + 1) % 3).unwrap();
            end_segment(&slave, slave.status().end).unwrap();
            pass(MINUTE).await;
            assert_eq!(segments_ended(&cluster), 1, "seed {seed}");
        });
    }
}
