//! The mastership moves to the node that the caller names, and what was acked stays.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use dledger::{AppendError, Client, ClientError, Consistency, Durability, Ledger, MemberError, NoMasterError, NodeId};
use dledger::{Master, Masters, ReadLimit, Role};
use futures::StreamExt;

use crate::common::{PATIENCE, bodies, kit, master_ledger, patient};

fn id(n: usize) -> NodeId {
    NodeId::new(n as u64)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_mastership_goes_where_it_is_told_under_open_tails() {
    let mut cluster = kit(3).start().await.unwrap();
    let mut appended = 0;
    let mut tails: Vec<_> = (0..3).map(|n| cluster.ledger(n).unwrap().tail(0)).collect();
    for _ in 0..4 {
        let from = cluster.wait_for_master().await.unwrap();
        let to = (from + 1) % 3;
        for _ in 0..10 {
            assert_eq!(patient(cluster.ledger(from).unwrap().append("x")).await.unwrap().index, appended);
            appended += 1;
        }
        let error = patient(cluster.ledger(to).unwrap().transfer_leadership(&id(to))).await.unwrap_err();
        assert!(matches!(&error, MemberError::NotMaster { master: Some(m) } if m.id == id(from)), "{error}");
        patient(cluster.ledger(from).unwrap().transfer_leadership(&id(to))).await.unwrap();
        // It says so itself a moment later.
        let mut role = cluster.ledger(to).unwrap().role();
        patient(role.wait_for(Role::is_master)).await.unwrap();
    }
    let unknown = patient(master_ledger(&cluster).await.transfer_leadership(&id(7))).await.unwrap_err();
    assert_eq!(unknown.to_string(), "n7 is not a member: the members are n0, n1, n2");
    for tail in &mut tails {
        for index in 0..appended {
            assert_eq!(patient(tail.next()).await.unwrap().unwrap().index, index);
        }
    }
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_append_of_a_leadership_that_is_over_is_refused() {
    let mut cluster = kit(3).start().await.unwrap();
    let first = cluster.wait_for_master().await.unwrap();
    let leadership = cluster.ledger(first).unwrap().leadership().unwrap();
    assert_eq!(patient(leadership.append("mine")).await.unwrap().term, leadership.term());
    let other = (first + 1) % 3;
    assert!(matches!(cluster.ledger(other).unwrap().leadership(), Err(AppendError::NotMaster { .. })));
    patient(cluster.ledger(first).unwrap().transfer_leadership(&id(other))).await.unwrap();
    patient(leadership.over()).await;
    patient(cluster.ledger(other).unwrap().role().wait_for(Role::is_master)).await.unwrap();
    patient(cluster.ledger(other).unwrap().transfer_leadership(&id(first))).await.unwrap();
    patient(cluster.ledger(first).unwrap().role().wait_for(Role::is_master)).await.unwrap();
    // The master again, but of another term: what was decided before does not count any more.
    let error = patient(leadership.append("too late")).await.unwrap_err();
    assert_eq!(error, AppendError::TermOver { term: leadership.term() });
    let again = cluster.ledger(first).unwrap().leadership().unwrap();
    assert_eq!(patient(again.append_batch(["mine", "again"])).await.unwrap()[1].term, again.term());
    cluster.wait_committed_on(&[first], 3).await.unwrap();
    let records = bodies(&cluster.ledger(first).unwrap()).await;
    assert_eq!(records, ["mine", "mine", "again"]);
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_leadership_is_given_once_and_begins_where_those_before_it_end() {
    let mut cluster = kit(3).start().await.unwrap();
    let first = cluster.wait_for_master().await.unwrap();
    let other = (first + 1) % 3;
    let (ledger, rival) = (cluster.ledger(first).unwrap(), cluster.ledger(other).unwrap());
    let (mut leaderships, mut of_rival) = (ledger.leaderships(), rival.leaderships());
    let mine = patient(leaderships.next()).await.unwrap();
    assert_eq!(mine, ledger.leadership().unwrap());
    assert_eq!((mine.first_index(), mine.is_over()), (0, false));
    patient(mine.append_batch(["a", "b", "c"])).await.unwrap();
    assert!(futures::poll!(leaderships.next()).is_pending(), "it was given twice");

    patient(ledger.transfer_leadership(&id(other))).await.unwrap();
    patient(mine.over()).await;
    let theirs = patient(of_rival.next()).await.unwrap();
    assert_eq!((theirs.first_index(), theirs.is_over(), mine.is_over()), (3, false, true));
    assert!(theirs.term() > mine.term() && theirs != mine);
    assert_eq!(mine.try_submit(vec!["late".into()]).unwrap_err(), AppendError::TermOver { term: mine.term() });
    let ack = patient(theirs.try_submit(vec!["d".into()]).unwrap()).await.unwrap();
    assert_eq!((ack.first_index, ack.term), (3, theirs.term()));

    patient(rival.transfer_leadership(&id(first))).await.unwrap();
    let again = patient(leaderships.next()).await.unwrap();
    assert_eq!((again.first_index(), again.is_over()), (4, false));
    assert!(again.term() > theirs.term() && again != mine && mine.is_over());
    cluster.stop_all().await;
    assert_eq!(patient(leaderships.next()).await, None);
    assert!(again.is_over());
    patient(again.over()).await;
    assert!(matches!(ledger.leadership(), Err(AppendError::Closed { .. })));
}

/// Waits for a master, in vain, until it is told what `expected` says.
async fn told(ledger: &Ledger, expected: &[&str]) {
    let told = async {
        loop {
            ledger.role().wait_for(|role| matches!(role, Role::Electing { .. })).await.unwrap();
            if let Err(error) = ledger.wait_for_master(Duration::from_millis(300)).await {
                assert!(matches!(error, NoMasterError::TimedOut { .. }), "{error}");
                if expected.iter().all(|expected| error.to_string().contains(expected)) {
                    break;
                }
                println!("not yet: {error}");
            }
        }
    };
    patient(told).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_for_a_master_that_does_not_come_is_told_who_is_missing() {
    let mut cluster = kit(3).down().unwrap();
    cluster.restart(1).await.unwrap();
    let ledger = cluster.ledger(1).unwrap();
    told(&ledger, &["no master within 300ms: waits for n0, which forms the cluster"]).await;
    cluster.restart(0).await.unwrap();
    cluster.restart(2).await.unwrap();
    let role = patient(ledger.wait_for_master(PATIENCE)).await.unwrap();
    assert!(matches!(role, Role::Master { .. } | Role::Slave { .. }), "{role:?}");
    cluster.stop(0).await.unwrap();
    cluster.stop(2).await.unwrap();
    told(&ledger, &["no answer from n0 (", ", n2 (", "2 of the 3 voters"]).await;
    cluster.stop(1).await.unwrap();
    let error = patient(ledger.wait_for_master(PATIENCE)).await.unwrap_err();
    assert!(matches!(error, NoMasterError::Closed { .. }), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_master_that_is_stopped_hands_over_first() {
    let mut cluster = kit(3).configure(|config| config.fast_failover = false).start().await.unwrap();
    let master = cluster.wait_for_master().await.unwrap();
    let ledger = cluster.ledger(master).unwrap();
    patient(ledger.append("before")).await.unwrap();
    let term = ledger.status().term;
    cluster.stop(master).await.unwrap();
    // Without it, nobody would be elected before the lease is over, and this node would not hear of it any more.
    assert!(ledger.status().term > term, "it was stopped as the master");
    let next = master_ledger(&cluster).await;
    assert_eq!(patient(next.append("after")).await.unwrap().index, 1);
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_preferred_node_leads_once_it_has_caught_up() {
    let builder = kit(3).configure(|config| config.preferred_leaders = vec![id(2), id(1)]);
    let mut cluster = builder.start().await.unwrap();
    patient(cluster.ledger(2).unwrap().role().wait_for(Role::is_master)).await.unwrap();
    // Without it the next one leads; it comes back, catches up, and leads again.
    cluster.stop(2).await.unwrap();
    patient(cluster.ledger(1).unwrap().role().wait_for(Role::is_master)).await.unwrap();
    for _ in 0..50 {
        patient(cluster.ledger(1).unwrap().append("x")).await.unwrap();
    }
    cluster.restart(2).await.unwrap();
    patient(cluster.ledger(2).unwrap().role().wait_for(Role::is_master)).await.unwrap();
    assert_eq!(cluster.ledger(2).unwrap().status().committed, 50);
    cluster.stop_all().await;
}

/// Appends eight records at once, again and again, until told to stop. Gives back the bodies that were acked with their
/// indexes, and when each ack came.
async fn appending(client: Client, stop: Arc<AtomicBool>) -> (Vec<(u64, String)>, Vec<Instant>) {
    let (mut acked, mut times) = (Vec::new(), Vec::new());
    let deadline = Instant::now() + PATIENCE;
    for n in 0u64.. {
        if stop.load(Ordering::Relaxed) || Instant::now() > deadline {
            break;
        }
        let bodies: Vec<String> = (0..8).map(|part| format!("record {n} part {part}")).collect();
        let appends = futures::future::join_all(bodies.iter().map(|body| client.append(body.clone()))).await;
        for (append, body) in appends.into_iter().zip(bodies) {
            let ack = append.unwrap_or_else(|error| panic!("append {n} failed: {error}"));
            acked.push((ack.index, body));
        }
        times.push(Instant::now());
    }
    (acked, times)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_client_decided_in_a_term_that_is_over_is_taken_by_no_master() {
    let mut cluster = kit(3).start().await.unwrap();
    let client = cluster.client_builder().timeout(PATIENCE).build();
    let old = patient(client.append("first")).await.unwrap().term;
    let fenced = client.in_term(old);
    patient(fenced.append("in its term")).await.unwrap();
    let to = cluster.wait_for_slave().await.unwrap();
    patient(client.transfer_leadership(&id(to))).await.unwrap();
    assert_eq!(patient(fenced.append("too late")).await, Err(ClientError::Fenced { term: old }));
    let ack = patient(client.append("second")).await.unwrap();
    assert!(ack.term > old);
    let next = patient(client.in_term(ack.term).append("in the next one")).await.unwrap();
    assert_eq!((next.index, next.term), (ack.index + 1, ack.term));
    let records = patient(client.read_with(0.., ReadLimit::default(), Consistency::Linearizable)).await.unwrap();
    let bodies: Vec<_> = records.iter().map(|record| record.body.clone()).collect();
    assert_eq!(bodies, ["first", "in its term", "second", "in the next one"]);
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_follows_the_master_through_hand_overs_and_deaths() {
    let mut cluster = kit(3).start().await.unwrap();
    let client = cluster.client();
    let (mut masters, mut terms) = (client.masters(), Vec::new());
    for kill in [false, true, false] {
        let master = patient(leads(&mut masters)).await;
        let n = (0..3).find(|n| id(*n) == master.member.id).unwrap();
        let ledger = cluster.ledger(n).unwrap();
        let own = ledger.members().into_iter().find(|known| known.member.id == id(n)).unwrap();
        assert_eq!((&master.member, ledger.status().term), (&own.member, master.term));
        terms.push(master.term);
        if kill {
            cluster.kill(n).await.unwrap();
        } else {
            let to = cluster.wait_for_slave().await.unwrap();
            patient(ledger.transfer_leadership(&id(to))).await.unwrap();
        }
    }
    assert!(terms.windows(2).all(|pair| pair[0] < pair[1]), "{terms:?}");
    cluster.stop_all().await;
}

/// The node that leads next.
async fn leads(masters: &mut Masters) -> Master {
    loop {
        if let Some(master) = masters.next().await.unwrap().unwrap() {
            return master;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rolling_restart_under_load_fails_no_append() {
    let mut cluster = kit(3).durability(Durability::Sync).start().await.unwrap();
    let client = cluster.client_builder().timeout(PATIENCE).build();
    patient(client.append("first")).await.unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let load = tokio::spawn(appending(client.clone(), stop.clone()));
    let mut restarts = Vec::new();
    for n in 0..3 {
        let began = Instant::now();
        patient(cluster.stop(n)).await.unwrap();
        cluster.restart(n).await.unwrap();
        // The next one stops when this one takes part again.
        let acked = patient(client.append("restarted")).await.unwrap();
        // And when there has been some load on all three.
        cluster.wait_committed_on(&[n], acked.index + 200).await.unwrap();
        restarts.push((began, Instant::now()));
    }
    stop.store(true, Ordering::Relaxed);
    let (acked, times) = patient(load).await.unwrap();
    let pause = |(from, to): &(Instant, Instant)| {
        let during: Vec<_> = times.iter().filter(|at| *at >= from && at <= &to).collect();
        during.windows(2).map(|pair| *pair[1] - *pair[0]).max().unwrap_or_default()
    };
    let pauses: Vec<Duration> = restarts.iter().map(pause).collect();
    println!("rolling restart: {} appends acked, none failed; longest pause in each restart {pauses:.1?}", acked.len());
    assert!(acked.len() > 10, "{}", acked.len());
    let last = acked.iter().map(|(index, _)| *index).max().unwrap();
    cluster.wait_committed_on(&[1], last + 1).await.unwrap();
    let ledger = cluster.ledger(1).unwrap();
    for (index, body) in &acked {
        assert_eq!(ledger.get(*index).await.unwrap().body, body.as_bytes());
    }
    patient(cluster.stop_all()).await;
}
