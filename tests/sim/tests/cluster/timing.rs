//! Disks that are slow and nodes that are far apart: time alone changes no role, refuses no read and loses no order.
//!
//! `DLEDGER_SEEDS=n` runs more seeds, `DLEDGER_SEED=x` runs one again.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use parking_lot::Mutex;

use crate::reads::{NODES, SOON, millis, seeds};
use dledger::config::Config;
use dledger::seams::refused_while_more_waited;
use dledger::types::{Consistency, Role};
use dledger_sim::{Rng, SimCluster, now, pass, run, spawn};

const PROMISES: [Consistency; 2] = [Consistency::Lease, Consistency::Linearizable];

/// What happened while a cluster was watched.
#[derive(Default)]
struct Seen {
    over: bool,
    /// Changes of role, with their time.
    roles: Vec<String>,
    acked: u64,
    served: [u64; NODES],
    /// Appends and reads that failed.
    failed: Vec<String>,
}

struct Watched {
    cluster: SimCluster,
    /// How long a promised read may take on each node.
    patience: [Duration; NODES],
    seen: Arc<Mutex<Seen>>,
}

impl Watched {
    async fn start(seed: u64, patience: Duration, configure: impl Fn(&mut Config)) -> Self {
        let cluster = SimCluster::new(seed, NODES, |config| {
            config.append_timeout = Duration::from_secs(30);
            configure(config);
        });
        for i in 0..NODES {
            cluster.start(i).await.unwrap();
        }
        Self { cluster, patience: [patience; NODES], seen: Arc::default() }
    }

    async fn settled(&self) {
        let follows = |i| matches!(self.cluster.role(i), Some(Role::Slave { .. } | Role::Master { .. }));
        self.cluster.wait("a master and its slaves", SOON * 6, || (0..NODES).all(follows)).await;
    }

    /// Appends at the master and reads everywhere for `time`; what happened.
    async fn under_load(&self, time: Duration) -> Seen {
        let mut tasks = Vec::new();
        for i in 0..NODES {
            tasks.push(spawn(self.roles(i)));
            tasks.push(spawn(self.reads(i)));
        }
        let master = self.cluster.master().unwrap();
        (0..4).for_each(|writer| tasks.push(spawn(self.appends(master, writer))));
        pass(time).await;
        self.seen.lock().over = true;
        for task in tasks {
            task.await;
        }
        std::mem::take(&mut *self.seen.lock())
    }

    fn roles(&self, i: usize) -> BoxFuture<'static, ()> {
        let (mut role, seen) = (self.cluster.ledger(i).unwrap().role(), self.seen.clone());
        role.mark_unchanged();
        let task = async move {
            while !seen.lock().over {
                if dledger_sim::within(millis(100), role.changed()).await.is_some() {
                    let change = format!("n{i} {:?} at {:?}", *role.borrow_and_update(), now());
                    seen.lock().roles.push(change);
                }
            }
        };
        task.boxed()
    }

    fn reads(&self, i: usize) -> BoxFuture<'static, ()> {
        let (ledger, seen, patience) = (self.cluster.ledger(i).unwrap(), self.seen.clone(), self.patience[i]);
        let task = async move {
            for consistency in PROMISES.into_iter().cycle() {
                if seen.lock().over {
                    return;
                }
                // Now and then: most of the time nobody asks who leads.
                pass(millis(150)).await;
                let read = ledger.barrier_within(consistency, patience).await;
                let mut seen = seen.lock();
                match read {
                    Ok(_) => seen.served[i] += 1,
                    Err(error) => seen.failed.push(format!("{consistency} read on n{i} at {:?}: {error}", now())),
                }
            }
        };
        task.boxed()
    }

    fn appends(&self, master: usize, writer: u64) -> BoxFuture<'static, ()> {
        let (cluster, seen) = (self.cluster.clone(), self.seen.clone());
        let task = async move {
            while !seen.lock().over {
                pass(millis(25 + 7 * writer)).await;
                let appended = cluster.append(master, vec!["record".into()]).await;
                let mut seen = seen.lock();
                match appended {
                    Ok(_) => seen.acked += 1,
                    Err(error) => seen.failed.push(format!("append at {:?}: {error}", now())),
                }
            }
        };
        task.boxed()
    }
}

impl Seen {
    fn assert_nothing_but_time(&self, what: &str) {
        assert_eq!(self.roles, Vec::<String>::new(), "{what}: roles changed");
        assert_eq!(self.failed, Vec::<String>::new(), "{what}: {} acked, {:?} served", self.acked, self.served);
        assert!(self.acked >= 4, "{what}: {} acked", self.acked);
        assert!(self.served.iter().all(|served| *served >= 4), "{what}: {:?} served", self.served);
    }
}

/// Which nodes, and how much longer each of their syncs takes.
const SLOW: [(&[usize], u64); 5] =
    [(&[1], 1_000), (&[0], 1_000), (&[0, 1, 2], 300), (&[0, 1, 2], 1_000), (&[0, 1, 2], 2_500)];

#[test]
fn slow_disks_change_no_role_and_refuse_no_read() {
    for seed in seeds(1) {
        for (nodes, more) in SLOW {
            run(seed, async {
                let mut watched = Watched::start(seed, millis(500), |_| {}).await;
                watched.settled().await;
                let master = watched.cluster.master().unwrap();
                // What a slave lacks has to come through its disk; the master has it.
                nodes.iter().filter(|i| **i != master).for_each(|i| watched.patience[*i] += millis(more * 4));
                nodes.iter().for_each(|i| watched.cluster.slow_syncs(*i, millis(more)));
                let seen = watched.under_load(Duration::from_secs(12)).await;
                seen.assert_nothing_but_time(&format!("seed {seed}, syncs of {nodes:?} take {more} ms longer"));
            });
        }
    }
}

#[test]
fn a_follower_whose_disk_hangs_is_alive_to_its_leader() {
    run(3, async {
        let watched = Watched::start(3, millis(500), |_| {}).await;
        watched.settled().await;
        let cluster = &watched.cluster;
        let master = cluster.master().unwrap();
        let (hung, other) = ((master + 1) % NODES, (master + 2) % NODES);
        cluster.hang_syncs(hung, true);
        cluster.append(master, vec!["it cannot make durable".into()]).await.unwrap();
        // Without it there is no quorum.
        cluster.isolate(other);
        pass(Duration::from_secs(5)).await;
        assert!(cluster.role(master).is_some_and(|role| role.is_master()));
        let ledger = cluster.ledger(master).unwrap();
        for consistency in PROMISES {
            ledger.barrier_within(consistency, millis(500)).await.unwrap();
        }
        // It acknowledges no log that is not on its disk.
        let appended =
            dledger_sim::within(Duration::from_secs(5), cluster.append(master, vec!["nor that".into()])).await;
        assert!(appended.is_none(), "{appended:?}");
        cluster.hang_syncs(hung, false);
        cluster.append(master, vec!["now it can".into()]).await.unwrap();
    });
}

/// Its leader has nothing to send, and has been refused for so long that it begins no stream for a while: a heartbeat
/// alone says what is committed.
#[test]
fn a_follower_that_comes_back_with_all_there_is_learns_that_it_is_committed() {
    for seed in seeds(8) {
        run(seed, async {
            let watched = Watched::start(seed, millis(500), |_| {}).await;
            watched.settled().await;
            let cluster = &watched.cluster;
            let master = cluster.master().unwrap();
            let back = (master + 1) % NODES;
            for n in 0..5 {
                cluster.append(master, vec![format!("{n}").into()]).await.unwrap();
            }
            let has = |i: usize| cluster.ledger(i).unwrap().status();
            cluster.wait("it to have all", SOON, || has(back).durable == 5).await;
            let term = has(master).term;
            cluster.crash(back);
            pass(Duration::from_secs(5)).await;
            cluster.start(back).await.unwrap();
            cluster.wait("it to know what is committed", millis(300), || has(back).committed == 5).await;
            assert_eq!((cluster.master(), has(master).term), (Some(master), term), "seed {seed}");
        });
    }
}

/// Round trips, and the heartbeat interval that suits them; `docs/operations.md` says the same.
const DISTANCES: [(u64, u64); 4] = [(50, 100), (200, 300), (400, 600), (800, 1_200)];

#[test]
fn far_apart_with_settings_that_suit_it_all_is_as_usual() {
    for seed in seeds(1) {
        for (round_trip, heartbeat) in DISTANCES {
            run(seed, async {
                let watched = Watched::start(seed, millis(round_trip * 5), |config| {
                    config.heartbeat_interval = millis(heartbeat);
                    config.election_timeout = (millis(heartbeat * 4), millis(heartbeat * 8));
                    config.stall_timeout = millis(5_000);
                })
                .await;
                watched.cluster.all_apart(millis(round_trip / 2));
                watched.settled().await;
                let seen = watched.under_load(Duration::from_secs(15)).await;
                seen.assert_nothing_but_time(&format!("seed {seed}, round trips of {round_trip} ms"));
            });
        }
    }
}

/// A round trip is longer than a quarter of a second, and than several heartbeats of these settings.
#[test]
fn a_promised_read_takes_as_long_as_its_caller_has_whatever_the_distance() {
    run(7, async {
        let watched = Watched::start(7, millis(5_000), |_| {}).await;
        watched.settled().await;
        let master = watched.cluster.master().unwrap();
        let ledger = watched.cluster.ledger(master).unwrap();
        watched.cluster.all_apart(millis(150));
        let [lease, linearizable] = PROMISES.map(|consistency| ledger.barrier_within(consistency, millis(2_000)));
        let (lease, linearizable) = futures::join!(lease, linearizable);
        lease.unwrap();
        linearizable.unwrap();
    });
}

/// What one caller submitted in order, and where it came to lie.
#[derive(Default)]
struct Submitted {
    acked: Vec<(u64, u64)>,
    unacked: u64,
}

/// Submits at node `i` over and over; the acks, in the order in which they were submitted.
async fn submits(cluster: SimCluster, i: usize, over: Arc<Mutex<bool>>, mut rng: Rng) -> Submitted {
    let (mut pending, mut submitted) = (Vec::new(), Submitted::default());
    let ledger = cluster.ledger(i).unwrap();
    for n in 0.. {
        if *over.lock() {
            break;
        }
        // Several batches at once, now and then.
        let record = vec![b'x'; 1 + rng.below(6 << 10) as usize];
        let timeout = Some(Duration::from_secs(5));
        match dledger_sim::within(millis(20), ledger.submit(vec![record.into()], timeout)).await {
            Some(Ok(outcome)) => pending.push((n, outcome)),
            Some(Err(error)) => panic!("{error}"),
            // No room: it was not submitted.
            None => {}
        }
        pass(Duration::from_micros(rng.below(1500))).await;
    }
    for (n, outcome) in pending {
        match outcome.await {
            Ok(ack) => submitted.acked.push((n, ack.first_index)),
            Err(_) => submitted.unacked += 1,
        }
    }
    submitted
}

/// Answers take about as long as the lease: it is over when they come, or not, and is renewed by the next one.
#[test]
fn what_is_submitted_in_order_lies_in_order_across_a_renewed_lease() {
    let mut reached = 0;
    for seed in seeds(4) {
        let before = refused_while_more_waited();
        run(seed, async {
            let watched = Watched::start(seed, millis(500), |_| {}).await;
            watched.settled().await;
            let (cluster, over) = (&watched.cluster, Arc::new(Mutex::new(false)));
            let master = cluster.master().unwrap();
            let mut rng = Rng::new(seed ^ 0x0bde);
            let caller = spawn(submits(cluster.clone(), master, over.clone(), rng.fork()));
            for _ in 0..6 {
                pass(millis(100 + rng.below(100))).await;
                cluster.all_apart(Duration::from_micros(194_000 + rng.below(5_000)));
                pass(millis(1_500)).await;
                cluster.heal();
            }
            pass(SOON / 10).await;
            *over.lock() = true;
            let Submitted { acked, unacked } = caller.await;
            let swapped = acked.windows(2).find(|pair| pair[0].1 >= pair[1].1);
            assert_eq!(swapped, None, "seed {seed}: (submitted, index), {} acked, {unacked} not", acked.len());
            assert!(acked.len() > 100, "seed {seed}: {} acked, {unacked} not", acked.len());
            assert_eq!(cluster.master(), Some(master), "seed {seed}: {}", cluster.describe());
        });
        reached += u64::from(refused_while_more_waited() > before);
    }
    assert!(reached > 0, "{reached} seeds had a batch refused while more waited");
}
