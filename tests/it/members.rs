//! Members come, go, move and are replaced, while appends go on.

use std::time::Duration;

use dledger::testkit::Cluster;
use dledger::{Ledger, MemberError, NodeBuilder, NodeId, Peers, Role};
use futures::StreamExt;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::common::{GROUP, PATIENCE, bodies, kit, master_ledger, patient, segment_bytes};

fn id(n: usize) -> NodeId {
    NodeId::new(n as u64)
}

/// What moves a node to `address`.
fn at(address: &str) -> impl FnOnce(NodeBuilder) -> NodeBuilder {
    move |builder| builder.advertise(address).configure(|config| address.clone_into(&mut config.bind))
}

async fn formed(founders: usize, spares: usize) -> Cluster {
    kit(founders).spares(spares).start().await.unwrap()
}

/// Appends to the present master, one record after the other, until told to stop. Returns how many were acked.
struct Load(watch::Sender<bool>, JoinHandle<u64>);

impl Load {
    fn on(cluster: &Cluster) -> Self {
        let ledgers: Vec<Ledger> = cluster.running().into_iter().map(|n| cluster.ledger(n).unwrap()).collect();
        let (stop, stopped) = watch::channel(false);
        let load = tokio::spawn(async move {
            let mut acked = 0;
            let deadline = tokio::time::Instant::now() + PATIENCE;
            while !*stopped.borrow() && tokio::time::Instant::now() < deadline {
                for ledger in &ledgers {
                    if ledger.append(format!("load {acked}")).await.is_ok() {
                        acked += 1;
                    }
                }
                tokio::task::yield_now().await;
            }
            acked
        });
        Self(stop, load)
    }

    async fn end(self) -> u64 {
        self.0.send_replace(true);
        self.1.await.unwrap()
    }
}

fn voters(ledger: &Ledger) -> Vec<String> {
    let members = ledger.members();
    members.iter().filter(|m| m.voter).map(|m| m.member.id.to_string()).collect()
}

async fn assert_identical(cluster: &mut Cluster) {
    let running = cluster.running();
    let end = master_ledger(cluster).await.status().committed;
    cluster.wait_committed(end).await.unwrap();
    let position = running.iter().map(|n| cluster.ledger(*n).unwrap().status().committed_position).min().unwrap();
    cluster.stop_all().await;
    let first = segment_bytes(&cluster.dir(running[0]).join(GROUP), position);
    for n in &running[1..] {
        assert!(segment_bytes(&cluster.dir(*n).join(GROUP), position) == first, "node {n} differs");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_learner_joins_under_load_and_becomes_a_voter() {
    let mut cluster = formed(3, 1).await;
    let master = master_ledger(&cluster).await;
    let load = Load::on(&cluster);
    cluster.restart(3).await.unwrap();
    let added = patient(master.add_learner(cluster.address(3).unwrap())).await.unwrap();
    assert_eq!((added.id.clone(), added.address.as_str()), (id(3), cluster.address(3).unwrap()));
    assert_eq!(voters(&master), ["n0", "n1", "n2"]);
    // Once more is no change.
    assert_eq!(patient(master.add_learner(cluster.address(3).unwrap())).await.unwrap(), added);
    patient(master.promote(&id(3), PATIENCE)).await.unwrap();
    assert_eq!(voters(&master), ["n0", "n1", "n2", "n3"]);
    patient(master.promote(&id(3), PATIENCE)).await.unwrap();
    let acked = load.end().await;
    assert!(acked > 0);
    assert!(master.status().committed >= acked);
    assert_identical(&mut cluster).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_node_is_replaced_by_one_with_a_new_disk_and_its_old_disk_stays_out() {
    let mut cluster = formed(3, 0).await;
    let m = cluster.wait_for_master().await.unwrap();
    let (master, dead) = (cluster.ledger(m).unwrap(), (m + 1) % 3);
    for n in 0..20 {
        patient(master.append(format!("{n}"))).await.unwrap();
    }
    cluster.stop(dead).await.unwrap();
    let (dir, grave) = (cluster.dir(dead), cluster.dir(dead).with_extension("grave"));
    std::fs::rename(&dir, &grave).unwrap();
    cluster.restart(dead).await.unwrap();
    // Under its name, but with another disk, it is nobody: not even its vote counts.
    let error = patient(master.promote(&id(dead), Duration::ZERO)).await;
    assert!(matches!(error, Ok(()) | Err(MemberError::Behind { .. })), "{error:?}");
    let error = patient(master.add_learner(cluster.address(dead).unwrap())).await.unwrap_err();
    assert!(matches!(error, MemberError::OtherDisk { .. }), "{error}");
    assert!(error.to_string().contains("members replace"), "{error}");

    let address = cluster.address(dead).unwrap().to_owned();
    let new = patient(master.replace_member(&id(dead), &address, PATIENCE)).await.unwrap();
    assert_eq!(voters(&master), ["n0", "n1", "n2"]);
    patient(master.append("after")).await.unwrap();
    cluster.wait_committed_on(&[dead], 21).await.unwrap();
    assert_eq!(bodies(&cluster.ledger(dead).unwrap()).await.last().unwrap(), "after");
    // Interrupted and called again, it finds everything done.
    assert_eq!(patient(master.replace_member(&id(dead), &address, PATIENCE)).await.unwrap(), new);

    // The old disk comes back from the grave, where the new one was.
    cluster.stop(dead).await.unwrap();
    std::fs::rename(&dir, dir.with_extension("new")).unwrap();
    std::fs::rename(&grave, &dir).unwrap();
    cluster.restart(dead).await.unwrap();
    patient(master.append("after that")).await.unwrap();
    let ghost = cluster.ledger(dead).unwrap();
    let error = patient(master.add_learner(&address)).await.unwrap_err();
    assert!(matches!(error, MemberError::OtherDisk { .. }), "{error}");
    assert!(!ghost.role().borrow().is_master());
    assert!(ghost.status().committed <= 20);
    assert!(cluster.ledger(m).unwrap().status().role.is_master());
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_of_another_name_takes_the_place_of_a_dead_one() {
    let mut cluster = formed(3, 1).await;
    let m = cluster.wait_for_master().await.unwrap();
    let (master, dead) = (cluster.ledger(m).unwrap(), (m + 1) % 3);
    patient(master.append("before")).await.unwrap();
    cluster.stop(dead).await.unwrap();
    cluster.restart(3).await.unwrap();
    patient(master.replace_member(&id(dead), cluster.address(3).unwrap(), PATIENCE)).await.unwrap();
    let mut expected: Vec<_> = (0..4).filter(|n| *n != dead).map(|n| format!("n{n}")).collect();
    expected.sort();
    assert_eq!(voters(&master), expected);
    assert_eq!(master.members().len(), 3);
    patient(master.append("after")).await.unwrap();
    assert_identical(&mut cluster).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_command_takes_the_quorum_away() {
    let mut cluster = formed(3, 0).await;
    let m = cluster.wait_for_master().await.unwrap();
    let (master, dead, alive) = (cluster.ledger(m).unwrap(), (m + 1) % 3, (m + 2) % 3);
    cluster.stop(dead).await.unwrap();
    // Until the master has missed it for a lease, it may well be alive.
    let missed = async {
        let mut looks = tokio::time::interval(Duration::from_millis(10));
        while master
            .members()
            .iter()
            .any(|m| m.heard.is_some_and(|h| h < Duration::from_millis(800)) && m.member.id == id(dead))
        {
            looks.tick().await;
        }
    };
    patient(missed).await;
    let error = patient(master.remove_member(&id(alive))).await.unwrap_err();
    let missing = format!("n{dead} at {}", cluster.address(dead).unwrap());
    assert_eq!(error, MemberError::QuorumAtRisk { voters: 2, alive: 1, needed: 2, missing });
    assert_eq!(voters(&master).len(), 3);
    patient(master.remove_member(&id(dead))).await.unwrap();
    patient(master.remove_member(&id(dead))).await.unwrap();
    patient(master.append("two of two")).await.unwrap();
    patient(master.remove_member(&id(alive))).await.unwrap();
    patient(master.append("alone")).await.unwrap();
    let error = patient(master.remove_member(&id(m))).await.unwrap_err();
    assert!(matches!(error, MemberError::QuorumAtRisk { .. }), "{error}");
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_moves_to_another_address() {
    let mut cluster = formed(3, 1).await;
    let m = cluster.wait_for_master().await.unwrap();
    let (master, moving) = (cluster.ledger(m).unwrap(), (m + 1) % 3);
    patient(master.append("before")).await.unwrap();
    cluster.stop(moving).await.unwrap();
    let address = cluster.address(3).unwrap().to_owned();
    cluster.restart_with(moving, at(&address)).await.unwrap();
    patient(master.append("it is not found")).await.unwrap();
    let error = patient(master.move_member(&id((m + 2) % 3), &address)).await.unwrap_err();
    assert!(matches!(error, MemberError::Unfit { .. }), "{error}");
    patient(master.move_member(&id(moving), &address)).await.unwrap();
    patient(master.append("it is")).await.unwrap();
    cluster.wait_committed_on(&[moving], 3).await.unwrap();
    assert_identical(&mut cluster).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_of_a_disk_that_runs_elsewhere_stays_out() {
    let mut cluster = formed(3, 1).await;
    let m = cluster.wait_for_master().await.unwrap();
    let (master, copied) = (cluster.ledger(m).unwrap(), (m + 1) % 3);
    patient(master.append("before")).await.unwrap();
    cluster.wait_committed_on(&[copied], 1).await.unwrap();
    cluster.stop(copied).await.unwrap();
    let status = std::process::Command::new("cp").arg("-r").arg(cluster.dir(copied)).arg(cluster.dir(3)).status();
    assert!(status.unwrap().success());
    cluster.restart(copied).await.unwrap();
    let address = cluster.address(3).unwrap().to_owned();
    let copy = at(&address)(cluster.node_builder(copied).unwrap().data_dir(cluster.dir(3)));
    let copy = copy.start().await.unwrap();
    patient(master.append("after")).await.unwrap();
    cluster.wait_committed_on(&[copied], 2).await.unwrap();
    // The copy is alone, whatever becomes of the others.
    cluster.stop(m).await.unwrap();
    let next = cluster.wait_for_master().await.unwrap();
    patient(cluster.ledger(next).unwrap().append("without it")).await.unwrap();
    let ledger = copy.ledger(GROUP).unwrap();
    assert!(!ledger.role().borrow().is_master());
    assert!(ledger.status().committed <= 1, "{:?}", ledger.status());
    let error = patient(cluster.ledger(next).unwrap().add_learner(&address)).await.unwrap_err();
    // Asked by its original, it is itself that it meets.
    let said = error.to_string();
    assert!(said.contains("a copy, or") || said.contains("expected another node id"), "{said}");
    assert_eq!(cluster.ledger(next).unwrap().members().len(), 3);
    copy.shutdown().await;
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_was_away_learns_from_its_leader_that_the_leader_has_moved() {
    let mut cluster = formed(3, 1).await;
    let m = cluster.wait_for_master().await.unwrap();
    let (master, moving, away) = (cluster.ledger(m).unwrap(), (m + 1) % 3, (m + 2) % 3);
    patient(master.append("before")).await.unwrap();
    cluster.wait_committed(1).await.unwrap();
    let address = cluster.address(3).unwrap().to_owned();
    cluster.stop(moving).await.unwrap();
    cluster.restart_with(moving, at(&address)).await.unwrap();
    // It hears nothing of the move, nor of who leads then.
    cluster.stop(away).await.unwrap();
    let error = patient(master.move_member(&id(moving), &address)).await;
    if matches!(error, Err(MemberError::QuorumAtRisk { .. })) {
        // The master had missed the one that moves already: the other one must be there.
        cluster.restart(away).await.unwrap();
        patient(async {
            while patient(master.move_member(&id(moving), &address)).await.is_err() {
                tokio::task::yield_now().await;
            }
        })
        .await;
        cluster.stop(away).await.unwrap();
    }
    patient(master.append("it has moved")).await.unwrap();
    cluster.wait_committed_on(&[moving], 2).await.unwrap();
    patient(master.transfer_leadership(&id(moving))).await.unwrap();
    cluster.restart(away).await.unwrap();
    cluster.wait_committed_on(&[away], 2).await.unwrap();
    assert_identical(&mut cluster).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_is_not_taken_out_for_one_that_cannot_take_its_place() {
    let mut cluster = formed(3, 0).await;
    let m = cluster.wait_for_master().await.unwrap();
    let (master, other) = (cluster.ledger(m).unwrap(), (m + 1) % 3);
    patient(master.append("before")).await.unwrap();
    cluster.stop(other).await.unwrap();
    std::fs::rename(cluster.dir(other), cluster.dir(other).with_extension("good")).unwrap();
    // Its new directory belongs to a cluster of its own.
    let alone = cluster.node_builder(other).unwrap().peers(Peers::default()).single().start().await.unwrap();
    patient(alone.ledger(GROUP).unwrap().role().wait_for(Role::is_master)).await.unwrap();
    let error =
        patient(master.replace_member(&id(other), cluster.address(other).unwrap(), PATIENCE)).await.unwrap_err();
    assert!(matches!(error, MemberError::Unfit { .. }), "{error}");
    assert_eq!(voters(&master), ["n0", "n1", "n2"]);
    alone.shutdown().await;
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_survivor_of_a_lost_quorum_becomes_a_cluster_that_grows_and_that_the_dead_never_rejoin() {
    let mut cluster = formed(3, 2).await;
    let m = cluster.wait_for_master().await.unwrap();
    for n in 0..20 {
        patient(cluster.ledger(m).unwrap().append(format!("record {n}"))).await.unwrap();
    }
    cluster.wait_committed(20).await.unwrap();
    let (before, kept) = (cluster.ledger(0).unwrap().status(), bodies(&cluster.ledger(0).unwrap()).await);
    cluster.stop_all().await;
    let stopped = || dledger::offline::StoppedLedger::open(cluster.dir(0).join(GROUP)).unwrap();
    let plan = stopped().plan_new_cluster(None).unwrap();
    assert_eq!(plan.given_up.iter().map(|gone| gone.node.as_str()).collect::<Vec<_>>(), ["n1", "n2"]);
    let made = stopped().make_new_cluster(None).unwrap();

    // Its options are what they were: the membership counts.
    cluster.restart(0).await.unwrap();
    assert_eq!(cluster.wait_for_master().await.unwrap(), 0);
    let survivor = cluster.ledger(0).unwrap();
    cluster.wait_committed(20).await.unwrap();
    assert_eq!(bodies(&cluster.ledger(0).unwrap()).await, kept);
    let now = survivor.status();
    assert_eq!(voters(&survivor), ["n0"]);
    assert_ne!(now.cluster_incarnation, before.cluster_incarnation);
    assert_eq!(now.cluster_incarnation.map(|of| of.to_string()), made.incarnation);
    let ack = patient(survivor.append("after")).await.unwrap();
    assert_eq!(ack.index, 20);

    // One of the dead comes back, and knows nothing of it.
    cluster.restart(1).await.unwrap();
    let error = patient(survivor.add_learner(cluster.address(1).unwrap())).await.unwrap_err();
    let said = error.to_string();
    let old = before.cluster_incarnation.unwrap().to_string();
    assert!(said.contains(&old) && said.contains("nobody here has"), "{said}");
    // The other one too: they are a quorum of the old cluster, and go on without the survivor.
    cluster.restart(2).await.unwrap();
    let revenant = cluster.ledger(1).unwrap();
    let elected = |role: &Role| matches!(role, Role::Master { .. } | Role::Slave { .. });
    patient(revenant.role().wait_for(elected)).await.unwrap();
    patient(async {
        while survivor.status().term != now.term || !survivor.role().borrow().is_master() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(voters(&survivor), ["n0"]);
    assert_eq!(voters(&revenant), ["n0", "n1", "n2"]);
    assert!(revenant.members().iter().all(|member| member.member.id != id(0) || member.heard.is_none()));
    cluster.stop(1).await.unwrap();
    cluster.stop(2).await.unwrap();

    // Grown to three again.
    for spare in [3, 4] {
        cluster.restart(spare).await.unwrap();
        let member = patient(survivor.add_learner(cluster.address(spare).unwrap())).await.unwrap();
        patient(survivor.promote(&member.id, PATIENCE)).await.unwrap();
    }
    patient(survivor.append("of three")).await.unwrap();
    cluster.wait_committed(22).await.unwrap();
    assert_eq!(voters(&survivor), ["n0", "n3", "n4"]);
    assert_eq!(cluster.ledger(4).unwrap().status().cluster_incarnation, now.cluster_incarnation);
    assert_identical(&mut cluster).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_waits_says_that_the_quorum_is_lost_and_who_is_missing() {
    let mut cluster = formed(3, 1).await;
    let m = cluster.wait_for_master().await.unwrap();
    let master = cluster.ledger(m).unwrap();
    cluster.restart(3).await.unwrap();
    patient(master.add_learner(cluster.address(3).unwrap())).await.unwrap();
    // It will not catch up, and is so far behind that the call waits for it.
    cluster.stop(3).await.unwrap();
    for _ in 0..600 {
        patient(master.append("one more")).await.unwrap();
    }
    let others = [(m + 1) % 3, (m + 2) % 3];
    let promoted = tokio::spawn({
        let master = master.clone();
        async move { master.promote(&id(3), 10 * PATIENCE).await }
    });
    for other in others {
        cluster.stop(other).await.unwrap();
    }
    let error = patient(promoted).await.unwrap().unwrap_err();
    let said = error.to_string();
    for other in others {
        assert!(said.contains(&format!("n{other} at {}", cluster.address(other).unwrap())), "{said}");
    }
    assert!(matches!(error, MemberError::NoQuorum { .. }), "{error:?}");
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tail_goes_on_elsewhere_when_its_node_is_a_member_no_more() {
    let mut cluster = kit(4).start().await.unwrap();
    // A client that knows of no master begins at the first of its list.
    if cluster.wait_for_master().await.unwrap() == 0 {
        patient(cluster.ledger(0).unwrap().transfer_leadership(&id(1))).await.unwrap();
    }
    let master = master_ledger(&cluster).await;
    patient(master.append("before")).await.unwrap();
    let client = cluster.client();
    let mut tail = client.tail(0);
    assert_eq!(patient(tail.next()).await.unwrap().unwrap().body, "before");
    patient(master.remove_member(&id(0))).await.unwrap();
    patient(master.append("after")).await.unwrap();
    assert_eq!(patient(tail.next()).await.unwrap().unwrap().body, "after");
    // A client that knows only that node learns from it who the members are.
    let only = Peers::new(cluster.peers().iter().take(1).cloned().collect()).unwrap();
    let client = dledger::Client::builder(only, GROUP.parse().unwrap()).build();
    let bodies = patient(client.tail(0).take(2).map(|record| record.unwrap().body).collect::<Vec<_>>()).await;
    assert_eq!(bodies, ["before", "after"]);
    assert_eq!(patient(client.append("more")).await.unwrap().index, 2);
    let mut role = cluster.ledger(0).unwrap().role();
    patient(role.wait_for(|role| matches!(role, Role::Removed { .. }))).await.unwrap();
    let error = patient(cluster.ledger(0).unwrap().append("nowhere")).await.unwrap_err();
    assert!(error.to_string().contains("removed from the cluster"), "{error}");
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_of_one_moves_to_where_it_advertises_itself() {
    let mut cluster = formed(1, 2).await;
    cluster.wait_for_master().await.unwrap();
    patient(cluster.ledger(0).unwrap().append("before")).await.unwrap();
    cluster.stop(0).await.unwrap();
    let (address, other) = (cluster.address(1).unwrap().to_owned(), cluster.address(2).unwrap().to_owned());
    cluster.restart_with(0, at(&address)).await.unwrap();
    cluster.wait_for_master().await.unwrap();
    let master = cluster.ledger(0).unwrap();
    // Before that is noted nobody else would find it: with another voter there would be no master any more.
    cluster.restart(2).await.unwrap();
    let move_it = format!("`dledger members move n0 {address}`");
    let alarm = master.status().alarm.unwrap();
    assert!(alarm.contains(&move_it), "{alarm}");
    let error = patient(master.add_learner(&other)).await.unwrap_err();
    assert!(error.to_string().contains(&move_it), "{error}");
    let error = patient(master.move_member(&id(0), &other)).await.unwrap_err();
    assert!(error.to_string().contains(&format!("--advertise {other}")), "{error}");
    for _ in 0..2 {
        patient(master.move_member(&id(0), &address)).await.unwrap();
    }
    assert_eq!((master.members()[0].member.address.as_str(), master.status().alarm), (address.as_str(), None));
    // Whom it calls finds it where the membership says.
    let elsewhere = other.replace("127.0.0.1", "localhost");
    let error = patient(master.add_learner(&elsewhere)).await.unwrap_err();
    assert!(error.to_string().contains(&format!("it advertises {other}")), "{error}");
    patient(master.add_learner(&other)).await.unwrap();
    patient(master.promote(&id(2), PATIENCE)).await.unwrap();
    let error = patient(master.replace_member(&id(7), &other, PATIENCE)).await.unwrap_err();
    assert!(matches!(error, MemberError::UnknownMember { .. }), "{error}");
    patient(master.append("after")).await.unwrap();
    cluster.wait_committed_on(&[2], 2).await.unwrap();
    cluster.stop_all().await;
}
