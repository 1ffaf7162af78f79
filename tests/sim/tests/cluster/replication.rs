//! Followers that the leader's picture of them does not fit: it sends what they do not expect.

#![allow(clippy::unwrap_used, clippy::panic, reason = "test code: a failure is the finding")]

use std::time::Duration;

use dledger::config::Config;
use dledger::seams::{has_heard_from_leader, lacks_acknowledged, transfer};
use dledger::types::{Consistency, Role};
use dledger_sim::{SimCluster, pass, run, spawn};

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

/// Whether the copy of the directory is of a time when the member led.
#[derive(Clone, Copy, PartialEq)]
enum Copy {
    Followed,
    Led,
}

/// A master with `end` records, a member that comes back with the first 5 of them, and a third one that is cut off and
/// has seen no more.
async fn set_back_to(copy: Copy, seed: u64, end: u64) -> (SimCluster, [usize; 3]) {
    let (cluster, first) = started(seed, 5, |config| config.append_timeout = ms(2000)).await;
    let member = if copy == Copy::Led { first } else { (first + 1) % 3 };
    cluster.kill(member);
    let backup = cluster.backup(member);
    cluster.wait("a master", SOON, || cluster.master().is_some()).await;
    let master = cluster.master().unwrap();
    cluster.start(member).await.unwrap();
    let follows = || matches!(cluster.role(member), Some(Role::Slave { .. }));
    cluster.wait("it to follow", SOON, follows).await;
    let other = 3 - master - member;
    cluster.isolate(other);
    for n in 5..end {
        cluster.append(master, vec![record(n)]).await.unwrap();
    }
    pass(ms(100)).await;
    cluster.kill(member);
    cluster.restore(member, &backup);
    assert_eq!(cluster.master(), Some(master), "seed {seed}");
    (cluster, [master, member, other])
}

async fn set_back(seed: u64, end: u64) -> (SimCluster, [usize; 3]) {
    set_back_to(Copy::Followed, seed, end).await
}

fn alarm(cluster: &SimCluster, i: usize) -> String {
    cluster.ledger(i).unwrap().status().alarm.unwrap_or_default()
}

/// An older copy of its directory, a snapshot of its volume, a log that was cut: the ledger is idle meanwhile.
#[test]
fn a_member_that_comes_back_with_less_is_named_and_brought_up_to_date() {
    for seed in seeds(4) {
        run(seed, async {
            let (cluster, [master, member, _]) = set_back(seed, 40).await;
            cluster.start(member).await.unwrap();
            let committed = || cluster.ledger(member).unwrap().status().committed;
            cluster.wait("it to be up to date", SOON, || committed() == 40).await;
            let whole = || alarm(&cluster, master).ends_with("it has all of it again");
            cluster.wait("the master to say so", SOON, whole).await;
            pass(ms(20)).await;
            let said = alarm(&cluster, master);
            assert!(said.contains("(records below 40) and came back with entries to"), "seed {seed}: {said}");
            assert!(said.starts_with(&format!("n{member} had acknowledged entries to ")), "seed {seed}: {said}");
            assert!(said.contains("(records below 5)"), "seed {seed}: {said}");
            let members = cluster.ledger(master).unwrap().members();
            let seen = members.iter().find(|seen| seen.alarm.is_some()).expect("a member with an alarm");
            assert_eq!((seen.end, seen.behind), (Some(40), Some(0)), "seed {seed}");
            assert_eq!(cluster.append(master, vec![record(40)]).await.unwrap()[0].index, 40, "seed {seed}");
            assert_eq!((cluster.master(), alarm(&cluster, member)), (Some(master), String::new()), "seed {seed}");
        });
    }
}

/// What it had acknowledged is gone from it: a majority without it is none.
#[test]
fn a_member_counts_for_what_it_has_and_not_for_what_it_had() {
    for seed in seeds(3) {
        run(seed, async {
            let (cluster, [master, member, _]) = set_back(seed, 40).await;
            cluster.hang_syncs(member, true);
            cluster.start(member).await.unwrap();
            cluster.wait("the alarm", SOON, || !alarm(&cluster, master).is_empty()).await;
            assert!(alarm(&cluster, master).ends_with("until it has the rest again"), "seed {seed}");
            let seen = || cluster.ledger(master).unwrap().members();
            assert!(seen().iter().all(|seen| seen.alarm.is_none() || seen.end < Some(40)), "seed {seed}: {:?}", seen());
            let append = cluster.append(master, vec![record(40)]).await;
            append.expect_err("acknowledged on the strength of what was lost");
            cluster.hang_syncs(member, false);
            let ledger = |i: usize| cluster.ledger(i).unwrap();
            cluster.wait("all to be committed", SOON, || ledger(master).status().committed == 41).await;
            cluster.wait("it to have all", SOON, || ledger(member).status().durable == 41).await;
        });
    }
}

/// The two that are left are a majority, and neither has what was committed.
#[test]
fn a_member_that_lost_what_it_acknowledged_elects_nobody_who_lacks_it() {
    let mut reminded = 0;
    for seed in seeds(6) {
        run(seed, async {
            let (cluster, [master, member, other]) = set_back(seed, 40).await;
            cluster.start(member).await.unwrap();
            let owes = || lacks_acknowledged(&cluster.ledger(member).unwrap());
            for _ in 0..20_000 {
                if owes() || cluster.ledger(member).unwrap().status().end == 40 {
                    break;
                }
                pass(Duration::from_micros(50)).await;
            }
            if !owes() {
                return;
            }
            reminded += 1;
            cluster.kill(master);
            cluster.heal();
            pass(SOON).await;
            assert_eq!(cluster.master(), None, "seed {seed}: {}", cluster.describe());
            cluster.start(master).await.unwrap();
            let all = || [master, member, other].iter().all(|i| cluster.ledger(*i).unwrap().status().committed == 40);
            cluster.wait("all to have it", SOON, all).await;
        });
    }
    assert!(reminded > 0, "nobody was reminded in time: the scenario says nothing");
}

/// Its master lives, and is silent to it: without a quorum it sends no heartbeats for two election timeouts.
fn votes_for_nobody_before_its_master_may_speak(copy: Copy) {
    let mut unheard = 0;
    for seed in seeds(12) {
        run(seed, async {
            let (cluster, [master, member, other]) = set_back_to(copy, seed, 40).await;
            pass(ms(350 + seed * 97 % 900)).await;
            cluster.start(member).await.unwrap();
            if seed % 2 == 0 {
                cluster.heal();
            } else {
                cluster.mend_link(member, other);
                cluster.mend_link(other, member);
            }
            // A candidate that may be elected at once has asked by then.
            pass(ms(400)).await;
            unheard += u32::from(!has_heard_from_leader(&cluster.ledger(member).unwrap()));
            pass(ms(2000)).await;
            cluster.heal();
            let all = || (0..3).all(|i| cluster.ledger(i).unwrap().status().committed == 40);
            cluster.wait("all to have what was acknowledged", SOON, all).await;
            let last = cluster.ledger(cluster.master().unwrap()).unwrap().get(39).await.unwrap();
            assert_eq!(last.body, record(39), "seed {seed}");
            assert!(alarm(&cluster, master).starts_with(&format!("n{member} had")), "seed {seed}");
        });
    }
    assert!(unheard > 0, "no master was silent: the scenario says nothing");
}

#[test]
fn a_member_that_lost_what_it_acknowledged_votes_for_nobody_before_its_master_may_speak() {
    votes_for_nobody_before_its_master_may_speak(Copy::Followed);
}

/// The vote that it comes back with does not say that there was another master.
#[test]
fn a_member_whose_copy_is_of_a_time_when_it_led_votes_for_nobody_before_its_master_may_speak() {
    votes_for_nobody_before_its_master_may_speak(Copy::Led);
}

/// It steps down between the member's loss and its return, and is elected again.
#[test]
fn a_member_that_comes_back_with_less_in_another_term_of_the_same_master_is_named() {
    for seed in seeds(4) {
        run(seed, async {
            let (cluster, [master, member, other]) = set_back(seed, 40).await;
            let ledger = |i: usize| cluster.ledger(i).unwrap();
            let term = ledger(master).status().term;
            let id = ledger(other).status().node;
            transfer(&ledger(master), id).await.unwrap();
            cluster.wait("it to step down", SOON, || ledger(master).status().term > term).await;
            let again = || cluster.master() == Some(master) && ledger(master).status().term > term;
            if seed % 2 == 0 {
                cluster.heal();
                cluster.wait("it to lead again", SOON, again).await;
                cluster.start(member).await.unwrap();
            } else {
                cluster.start(member).await.unwrap();
                cluster.wait("it to lead again", SOON, again).await;
                cluster.heal();
            }
            let all = || (0..3).all(|i| ledger(i).status().committed == 40);
            cluster.wait("all to have it", SOON, all).await;
            let whole = || alarm(&cluster, master).ends_with("it has all of it again");
            cluster.wait("the master to say so", SOON, whole).await;
            let said = alarm(&cluster, master);
            assert!(said.starts_with(&format!("n{member} had acknowledged entries to ")), "seed {seed}: {said}");
            assert!(said.contains("(records below 40) and came back with entries to"), "seed {seed}: {said}");
        });
    }
}

/// openraft takes no entry from the moment a hand-over begins, and does not take that back.
#[test]
fn a_hand_over_that_nobody_takes_is_taken_back() {
    for seed in seeds(3) {
        run(seed, async {
            let (cluster, master) = started(seed, 5, |config| config.fast_failover = false).await;
            let to = (master + 1) % 3;
            let term = cluster.ledger(master).unwrap().status().term;
            (0..3).for_each(|i| cluster.isolate(i));
            let id = cluster.ledger(to).unwrap().status().node;
            transfer(&cluster.ledger(master).unwrap(), id).await.unwrap();
            let over = || cluster.ledger(master).unwrap().status().term > term;
            cluster.wait("it to step down", SOON, over).await;
            cluster.heal();
            cluster.wait("a master", SOON, || cluster.master().is_some()).await;
            let acks = cluster.append(cluster.master().unwrap(), vec![record(5)]).await.unwrap();
            assert_eq!(acks[0].index, 5, "seed {seed}");
        });
    }
}

/// Its master has not heard of it yet, and hands over to it.
#[test]
fn a_hand_over_to_a_member_that_came_back_with_less_ends() {
    for seed in seeds(3) {
        run(seed, async {
            let (cluster, [master, member, _]) = set_back(seed, 40).await;
            cluster.start(member).await.unwrap();
            let id = cluster.ledger(member).unwrap().status().node;
            transfer(&cluster.ledger(master).unwrap(), id).await.unwrap();
            cluster.heal();
            pass(ms(3000)).await;
            cluster.wait("a master", SOON, || cluster.master().is_some()).await;
            let acks = cluster.append(cluster.master().unwrap(), vec![record(40)]).await.unwrap();
            assert_eq!(acks[0].index, 40, "seed {seed}");
        });
    }
}
