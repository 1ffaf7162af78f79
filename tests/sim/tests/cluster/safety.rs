//! Scenarios that once broke a promise.

#![allow(clippy::unwrap_used, reason = "test code: a failure is the finding")]

use std::time::Duration;

use dledger::error::Outcome;
use dledger::seams::transfer;
use dledger::types::{Consistency, Role};
use dledger_sim::{SimCluster, now, pass, run, spawn};

const SOON: Duration = Duration::from_secs(10);

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// Three nodes and the number of the master.
async fn started(seed: u64) -> (SimCluster, usize) {
    let cluster = SimCluster::new(seed, 3, |config| {
        config.append_timeout = ms(5000);
        config.stall_timeout = SOON;
    });
    for i in 0..3 {
        cluster.start(i).await.unwrap();
    }
    cluster.wait("a master", SOON, || cluster.master().is_some()).await;
    let master = cluster.master().unwrap();
    cluster.append(master, vec!["before".into()]).await.unwrap();
    pass(ms(200)).await;
    (cluster, master)
}

/// openraft takes votes and entries for one sequence: a vote that is durable says that the entries before it are.
#[test]
fn a_vote_releases_no_acknowledgement_of_what_is_not_synced() {
    let mut acked = 0;
    for seed in 0..20 {
        run(seed, async {
            let (cluster, master) = started(seed).await;
            let others = [(master + 1) % 3, (master + 2) % 3];
            others.iter().for_each(|i| cluster.hang_syncs(*i, true));
            let appending = cluster.clone();
            let append = spawn(async move { appending.append(master, vec!["precious".into()]).await });
            pass(ms(30)).await;
            // The others elect one of them; what they say to the old master still arrives.
            others.iter().for_each(|i| cluster.cut(master, *i));
            let Ok(acks) = append.await else { return };
            acked += 1;
            cluster.kill(master);
            for i in others {
                cluster.crash(i);
                cluster.hang_syncs(i, false);
            }
            cluster.heal();
            for i in others {
                cluster.start(i).await.unwrap();
            }
            cluster.wait("a master of the two", SOON, || cluster.master().is_some()).await;
            let ledger = cluster.ledger(cluster.master().unwrap()).unwrap();
            let record = ledger.get_with(acks[0].index, Consistency::Linearizable).await;
            assert_eq!(record.unwrap().body, "precious", "seed {seed}: acknowledged, and gone");
        });
    }
    assert!(acked > 0, "nothing was acknowledged: the scenario says nothing");
}

/// It finds in its sockets what was acknowledged to it before it was deposed.
#[test]
fn a_leader_that_stood_still_answers_no_stale_read() {
    for consistency in [Consistency::Linearizable, Consistency::Lease] {
        for seed in 0..20 {
            run(seed, async {
                let (cluster, old) = started(seed).await;
                let others = [(old + 1) % 3, (old + 2) % 3];
                others.iter().for_each(|i| cluster.delay(*i, old, ms(2000)));
                let (appending, began) = (cluster.clone(), now());
                let _in_flight = spawn(async move { appending.append(old, vec!["in flight".into()]).await });
                pass(ms(10)).await;
                others.iter().for_each(|i| cluster.cut(old, *i));
                cluster.wait("another master", SOON, || cluster.master().is_some_and(|new| new != old)).await;
                let acks = cluster.append(cluster.master().unwrap(), vec!["new".into()]).await.unwrap();
                pass(began + ms(1999) - now()).await;
                let end = cluster.ledger(old).unwrap().barrier_within(consistency, ms(300)).await;
                assert!(!end.is_ok_and(|end| end <= acks[0].index), "seed {seed}: a stale {consistency} read");
            });
        }
    }
}

/// It hears nobody, and one of the others hears it: that one would vote for nobody else as long as it does.
#[test]
fn a_leader_without_a_quorum_is_succeeded_though_one_hears_it() {
    for seed in 0..5 {
        run(seed, async {
            let (cluster, old) = started(seed).await;
            let (hears, other) = ((old + 1) % 3, (old + 2) % 3);
            cluster.cut(hears, old);
            cluster.cut(old, other);
            cluster.cut(other, old);
            // Who reads where it leads keeps nobody waiting for it either.
            let reader = cluster.clone();
            let reads = spawn(async move {
                while reader.master().is_none_or(|master| master == old) {
                    let read = reader.ledger(old).unwrap().barrier_within(Consistency::Linearizable, ms(50)).await;
                    assert!(read.is_err(), "a read without a quorum");
                    pass(ms(1)).await;
                }
            });
            cluster.wait("a successor", SOON, || cluster.master().is_some_and(|new| new != old)).await;
            reads.await;
            cluster.heal();
            cluster.append(cluster.master().unwrap(), vec!["after".into()]).await.unwrap();
        });
    }
}

/// Who is told that a node is master may read there what its predecessors acknowledged.
#[test]
fn a_master_knows_from_the_first_moment_what_was_acknowledged_before_it() {
    for seed in 0..5 {
        run(seed, async {
            let (cluster, old) = started(seed).await;
            let others = [(old + 1) % 3, (old + 2) % 3];
            let announced = others.map(|i| {
                let ledger = cluster.ledger(i).unwrap();
                spawn(async move {
                    let mut role = ledger.role();
                    let master = role.wait_for(Role::is_master).await.is_ok();
                    master.then(|| ledger.status().committed)
                })
            });
            // The others have it, and have not heard that it is committed.
            let acks = cluster.append(old, vec!["the last one".into()]).await.unwrap();
            cluster.kill(old);
            let [one, two] = announced;
            let known = futures::future::select(Box::pin(one), Box::pin(two)).await.factor_first().0;
            let known = known.expect("one of them becomes the master");
            assert!(known > acks[0].index, "seed {seed}: the new master knows {known} of {acks:?}");
        });
    }
}

/// It was in the log of its master all the time.
#[test]
fn an_append_that_is_committed_after_its_deadline_was_not_said_to_be_refused() {
    run(1, async {
        let (cluster, master) = started(1).await;
        let others = [(master + 1) % 3, (master + 2) % 3];
        others.iter().for_each(|i| cluster.hang_syncs(*i, true));
        let ledger = cluster.ledger(master).unwrap();
        let late = ledger.submit(vec!["late".into()], Some(ms(100))).await.unwrap();
        let error = late.await.unwrap_err();
        others.iter().for_each(|i| cluster.hang_syncs(*i, false));
        cluster.wait("the late append", SOON, || ledger.status().committed == 2).await;
        assert_eq!(ledger.get(1).await.unwrap().body, "late");
        assert_eq!(error.outcome(), Outcome::Unknown, "it was said to be refused: {error}");
    });
}

/// The old master wrote that a member is gone, and nobody else knows; that member leads, and is to tell it otherwise.
#[test]
fn a_removal_that_was_not_committed_keeps_nobody_away() {
    let mut half = 0;
    for delay in 0..40 {
        run(7, async {
            let cluster = SimCluster::new(7, 4, |_| {});
            for i in 0..4 {
                cluster.start(i).await.unwrap();
            }
            cluster.wait("a master", SOON, || cluster.master().is_some()).await;
            let old = cluster.master().unwrap();
            cluster.append(old, vec!["before".into()]).await.unwrap();
            let removed = (old + 1) % 4;
            let (ledger, id) = (cluster.ledger(old).unwrap(), cluster.ledger(removed).unwrap().status().node);
            let removing = spawn(async move { ledger.remove_member(&id).await });
            pass(Duration::from_micros(100 * delay)).await;
            cluster.isolate(old);
            let members = |i: usize| cluster.ledger(i).unwrap().status().members.len();
            cluster.wait("another master", SOON, || cluster.master().is_some_and(|master| master != old)).await;
            if members(old) == 4 || members(removed) == 3 {
                return;
            }
            half += 1;
            let id = cluster.ledger(removed).unwrap().status().node;
            let master = cluster.ledger(cluster.master().unwrap()).unwrap();
            transfer(&master, id).await.unwrap();
            let leads = || matches!(cluster.role(removed), Some(Role::Master { .. }));
            cluster.wait("the one to be removed to lead", SOON, leads).await;
            cluster.heal();
            let follows = || matches!(cluster.role(old), Some(Role::Slave { .. })) && members(old) == 4;
            cluster.wait("the old master to follow", SOON, follows).await;
            assert!(removing.await.is_err());
        });
    }
    assert!(half > 0, "no removal was ever half done");
}
