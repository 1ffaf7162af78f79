//! Nodes without a master: whether they know it, and for whom they say that they wait.

use std::pin::pin;
use std::time::Duration;

use futures::StreamExt;
use futures::future::{Either, select};

use dledger::error::{AppendError, ReadError};
use dledger::seams::{has_membership_entry, is_told_removed, purge_all, tell_removed};
use dledger::types::{NodeId, Peers, Role};
use dledger_sim::{SimCluster, pass, run};

const SOON: Duration = Duration::from_secs(15);

fn waiting(cluster: &SimCluster, i: usize) -> String {
    cluster.ledger(i).and_then(|ledger| ledger.status().waiting).unwrap_or_default()
}

/// Waits until node `i` says all of `parts` of what it waits for.
async fn says(cluster: &SimCluster, i: usize, parts: &[&str]) {
    let all = || parts.iter().all(|part| waiting(cluster, i).contains(part));
    cluster.wait(&format!("node {i} to say {parts:?}"), SOON, all).await;
}

async fn formed(seed: u64, size: usize) -> (SimCluster, usize) {
    let cluster = SimCluster::new(seed, size, |_| {});
    for i in 0..size {
        cluster.start(i).await.unwrap();
    }
    cluster.wait("a master", SOON, || cluster.master().is_some()).await;
    let master = cluster.master().unwrap();
    cluster.append(master, vec!["first".into()]).await.unwrap();
    (cluster, master)
}

fn id(cluster: &SimCluster, i: usize) -> NodeId {
    cluster.ledger(i).unwrap().status().node
}

/// Peers of the nodes `of`.
fn peers(cluster: &SimCluster, of: std::ops::Range<usize>) -> Peers {
    let list: Vec<String> = of.map(|i| format!("n{i}={}", cluster.address(i))).collect();
    list.join(";").parse().unwrap()
}

#[test]
fn every_node_that_waits_to_be_formed_says_for_whom_and_again_when_that_changes() {
    run(1, async {
        let cluster = SimCluster::new(1, 4, |_| {});
        cluster.start(2).await.unwrap();
        says(&cluster, 2, &["waits for n0, which forms the cluster", "n0"]).await;
        cluster.start(0).await.unwrap();
        says(&cluster, 0, &["waits for n1 (", "n3 ("]).await;
        // The one that does not form it passes on what the other waits for.
        says(&cluster, 2, &["n0 waits for n1 (", "n3 ("]).await;
        cluster.start(1).await.unwrap();
        says(&cluster, 2, &["n0 waits for n3 ("]).await;
        let error = cluster.append(2, vec!["early".into()]).await.unwrap_err();
        assert!(error.to_string().contains("n0 waits for n3 ("), "{error}");
        cluster.start(3).await.unwrap();
        cluster.wait("a master", SOON, || cluster.master().is_some()).await;
        cluster.wait("nobody to wait", SOON, || (0..4).all(|i| waiting(&cluster, i).is_empty())).await;
    });
}

#[test]
fn a_node_that_was_only_written_into_the_list_says_that_it_must_be_added() {
    run(2, async {
        let cluster = SimCluster::new(2, 4, |_| {});
        for i in 0..3 {
            let three = peers(&cluster, 0..3);
            cluster.configure(i, |config| config.peers = three);
            cluster.start(i).await.unwrap();
        }
        cluster.wait("a master", SOON, || cluster.master().is_some()).await;
        cluster.start(3).await.unwrap();
        let add = format!("has formed its cluster already: `dledger members add {}`", cluster.address(3));
        says(&cluster, 3, &[&add]).await;
        let error = cluster.append(3, vec!["early".into()]).await.unwrap_err();
        assert!(matches!(error, AppendError::NoMaster { .. }) && error.to_string().contains(&add), "{error}");
        let master = cluster.ledger(cluster.master().unwrap()).unwrap();
        master.add_learner(&cluster.address(3)).await.unwrap();
        let follows = || matches!(cluster.role(3), Some(Role::Slave { .. })) && waiting(&cluster, 3).is_empty();
        cluster.wait("it to follow", SOON, follows).await;
    });
}

#[test]
fn a_node_that_is_to_join_names_both_ways_in() {
    run(2, async {
        let cluster = SimCluster::new(2, 2, |_| {});
        cluster.configure(1, |config| config.join = true);
        cluster.start(1).await.unwrap();
        let address = cluster.address(1);
        let (add, replace) = (format!("`dledger members add {address}`"), format!("members replace n1 {address}`"));
        says(&cluster, 1, &[&add, "a member whose disk was lost", &replace]).await;
    });
}

#[test]
fn nodes_with_different_lists_say_so_with_both() {
    run(3, async {
        let cluster = SimCluster::new(3, 3, |_| {});
        let two = peers(&cluster, 0..2);
        cluster.configure(0, |config| config.peers = two.clone());
        cluster.start(0).await.unwrap();
        cluster.start(2).await.unwrap();
        says(&cluster, 2, &["n0=n0:1;n1=n1:1", "n0=n0:1;n1=n1:1;n2=n2:1", "correct them"]).await;
    });
}

#[test]
fn a_slave_that_is_cut_off_knows_it_and_says_whom_it_misses() {
    for seed in 0..3 {
        run(seed, async {
            let (cluster, master) = formed(seed, 3).await;
            let slave = (master + 1) % 3;
            let follows = || matches!(cluster.role(slave), Some(Role::Slave { .. }));
            cluster.wait("it to follow", SOON, follows).await;
            cluster.isolate(slave);
            let electing = || matches!(cluster.role(slave), Some(Role::Electing { .. }));
            cluster.wait("it to notice", SOON, electing).await;
            let other = format!("n{}", (master + 2) % 3);
            says(&cluster, slave, &["no answer from", &format!("n{master}"), &other, "2 of the 3 voters"]).await;
            cluster.heal();
            cluster.wait("it to follow again", SOON, || follows() && waiting(&cluster, slave).is_empty()).await;
        });
    }
}

/// A slave whose disk is slow hears its master all the same.
#[test]
fn a_slave_whose_disk_hangs_is_not_one_that_has_lost_its_master() {
    run(4, async {
        let (cluster, master) = formed(4, 3).await;
        let slave = (master + 1) % 3;
        cluster.wait("it to follow", SOON, || matches!(cluster.role(slave), Some(Role::Slave { .. }))).await;
        cluster.hang_syncs(slave, true);
        for n in 0..40 {
            cluster.append(master, vec![format!("{n}").into()]).await.unwrap();
            pass(Duration::from_millis(250)).await;
            assert!(matches!(cluster.role(slave), Some(Role::Slave { .. })), "{}", cluster.describe());
        }
        cluster.hang_syncs(slave, false);
    });
}

/// What names it is gone from the logs of all others.
#[test]
fn a_removed_disk_is_told_so_by_the_others_also_after_retention() {
    for seed in 0..4 {
        run(seed, async {
            let (cluster, master) = formed(seed, 4).await;
            let removed = (master + 1) % 4;
            cluster.isolate(removed);
            let ledger = cluster.ledger(master).unwrap();
            ledger.remove_member(&id(&cluster, removed)).await.unwrap();
            // More than a segment: what names it lies in the first one, and goes with that.
            for _ in 0..40 {
                ledger.append(vec![b'x'; 4000]).await.unwrap();
            }
            let rest: Vec<usize> = (0..4).filter(|i| *i != removed).collect();
            let has = |i: &usize| cluster.ledger(*i).unwrap().status().committed == 41;
            cluster.wait("all to have it", SOON, || rest.iter().all(has)).await;
            if seed % 2 == 0 {
                for i in &rest {
                    purge_all(&cluster.ledger(*i).unwrap()).await.unwrap();
                    assert!(!has_membership_entry(&cluster.ledger(*i).unwrap()));
                }
            }
            let term = cluster.ledger(master).unwrap().status().term;
            cluster.heal();
            let knows = || matches!(cluster.role(removed), Some(Role::Removed { .. }));
            cluster.wait("it to know", SOON, knows).await;
            says(&cluster, removed, &["removed from the cluster", "`dledger members add`"]).await;
            let error = cluster.append(removed, vec!["x".into()]).await.unwrap_err();
            assert!(error.to_string().contains("removed from the cluster"), "{error}");
            // It stays so, and disturbs nobody.
            pass(Duration::from_secs(5)).await;
            assert!(knows(), "{}", cluster.describe());
            assert_eq!(cluster.ledger(master).unwrap().status().term, term);
            // Also when it is started again.
            cluster.kill(removed);
            cluster.start(removed).await.unwrap();
            cluster.wait("it to know again", SOON, knows).await;
        });
    }
}

#[test]
fn a_node_that_hears_of_its_own_removal_knows_it() {
    for seed in 0..4 {
        run(seed, async {
            let (cluster, master) = formed(seed, 4).await;
            let removed = (master + 1) % 4;
            let mut tail = cluster.ledger(removed).unwrap().tail(0);
            assert_eq!(tail.next().await.unwrap().unwrap().body, "first");
            let mut next = tail.next();
            assert!(futures::poll!(&mut next).is_pending());
            cluster.ledger(master).unwrap().remove_member(&id(&cluster, removed)).await.unwrap();
            let knows = || matches!(cluster.role(removed), Some(Role::Removed { .. }));
            cluster.wait("it to know", SOON, knows).await;
            says(&cluster, removed, &["removed from the cluster"]).await;
            // A task that waits here for more would wait for ever.
            let Either::Left((Some(Err(error)), _)) = select(next, pin!(pass(SOON))).await else { panic!("it waits") };
            assert!(matches!(&error, ReadError::NoMember { reason } if reason.contains("removed")), "{error}");
            assert!(tail.next().await.is_none());
            assert_eq!(cluster.ledger(removed).unwrap().get(0).await.unwrap().body, "first");
        });
    }
}

/// A node that no membership names cannot have been removed; it forgets what it was told of that.
#[test]
fn a_node_that_was_never_a_member_believes_nobody_that_it_was_removed() {
    run(3, async {
        let cluster = SimCluster::new(3, 4, |_| {});
        let three = peers(&cluster, 0..3);
        (0..3).for_each(|i| cluster.configure(i, |config| config.peers = three.clone()));
        cluster.configure(3, |config| (config.peers, config.join) = (Peers::default(), true));
        for i in 0..4 {
            cluster.start(i).await.unwrap();
        }
        cluster.wait("a master", SOON, || cluster.master().is_some()).await;
        let ledger = cluster.ledger(3).unwrap();
        tell_removed(&ledger, "n0");
        cluster.wait("it to be forgotten", SOON, || !is_told_removed(&ledger)).await;
        assert!(matches!(cluster.role(3), Some(Role::Electing { .. })), "{}", cluster.describe());
    });
}
