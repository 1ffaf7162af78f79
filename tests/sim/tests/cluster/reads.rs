//! Reads that promise something, while leaders are cut off, deposed, restarted and told to hand over.
//!
//! `DLEDGER_SEEDS=n` runs more seeds, `DLEDGER_SEED=x` runs one again.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use dledger::error::ReadError;
use dledger::seams::transfer;
use dledger::types::{Consistency, NodeId, Role};
use dledger_sim::{Rng, SimCluster, now, pass, run, spawn};

pub(crate) const NODES: usize = 3;
pub(crate) const SOON: Duration = Duration::from_secs(10);
const PROMISES: [Consistency; 2] = [Consistency::Lease, Consistency::Linearizable];

pub(crate) fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

#[derive(Clone)]
pub(crate) struct World {
    pub(crate) cluster: SimCluster,
    pub(crate) state: Arc<Mutex<State>>,
}

#[derive(Default)]
pub(crate) struct State {
    /// Behind the last index that somebody had an ack for, or had read.
    known: u64,
    pub(crate) over: bool,
    /// Nobody appends.
    pub(crate) quiet: bool,
    /// So much longer than usual a read may take.
    pub(crate) longer: Duration,
    /// Reads that were served, per node.
    pub(crate) served: [u64; NODES],
    refused: u64,
    /// The first read that missed something.
    pub(crate) stale: Option<String>,
}

pub(crate) async fn started(seed: u64) -> World {
    let cluster = SimCluster::new(seed, NODES, |config| config.append_timeout = millis(300));
    for i in 0..NODES {
        cluster.start(i).await.unwrap();
    }
    cluster.wait("a master", SOON, || cluster.master().is_some()).await;
    World { cluster, state: Arc::default() }
}

impl World {
    pub(crate) fn over(&self) -> bool {
        let state = self.state.lock();
        state.over || state.stale.is_some()
    }

    /// Appends on node `i` while it takes itself for the master.
    pub(crate) async fn write(self, i: usize) {
        let mut n = 0;
        while !self.over() {
            pass(millis(1)).await;
            if self.state.lock().quiet || !self.cluster.role(i).is_some_and(|role| role.is_master()) {
                continue;
            }
            n += 1;
            if let Ok(acks) = self.cluster.append(i, vec![format!("{i} {n}").into()]).await {
                let mut state = self.state.lock();
                state.known = state.known.max(acks[0].index + 1);
            }
        }
    }

    /// Reads on node `i`, over and over.
    pub(crate) async fn read(self, i: usize, promises: &'static [Consistency], mut rng: Rng) {
        while !self.over() {
            pass(Duration::from_micros(200 + rng.below(4000))).await;
            let Some(ledger) = self.cluster.ledger(i) else { continue };
            let consistency = promises[rng.below(promises.len() as u64) as usize];
            let (began, life) = (now(), self.cluster.starts(i));
            let (known, longer) = {
                let state = self.state.lock();
                (state.known, state.longer)
            };
            let end = ledger.barrier_within(consistency, longer + millis(10 + rng.below(100))).await;
            // What a dead process answers reaches nobody.
            if self.cluster.ledger(i).is_none() || self.cluster.starts(i) != life {
                continue;
            }
            let newest = ledger.get(known.saturating_sub(1)).await;
            let mut state = self.state.lock();
            match end {
                Ok(end) if end < known || (known > 0 && newest.is_err()) => {
                    let (role, now) = (self.cluster.role(i), now());
                    let read = format!("{consistency} read on n{i} ({role:?}) from {began:?} to {now:?}");
                    state.stale.get_or_insert(format!("{read} ended at {end}, but {known} were known: {newest:?}"));
                }
                Ok(end) => {
                    state.served[i] += 1;
                    if consistency != Consistency::Local {
                        state.known = state.known.max(end);
                    }
                }
                Err(ReadError::Unconfirmed { .. } | ReadError::Closed { .. }) => state.refused += 1,
                Err(other) => panic!("{other}"),
            }
        }
    }

    /// One thing that goes wrong, and its end.
    async fn harm(&self, rng: &mut Rng) {
        let cluster = &self.cluster;
        let master = cluster.master().unwrap_or(rng.below(NODES as u64) as usize);
        let other = (master + 1 + rng.below(2) as usize) % NODES;
        let third = NODES - master - other;
        match rng.below(8) {
            0 => cluster.isolate(master),
            1 => self.break_a_promise(master, other, third).await,
            2 => self.restart(other).await,
            3 => {
                if let Some(ledger) = cluster.ledger(master) {
                    let to = NodeId::new(other as u64);
                    transfer(&ledger, to).await.unwrap();
                    pass(Duration::from_micros(rng.below(8000))).await;
                    cluster.isolate(master);
                }
            }
            4 => self.restart(master).await,
            // Seems dead to the others, and lives.
            5 => cluster.shun(master),
            6 => cluster.lose(rng.below(150)),
            _ => cluster.cut(master, other),
        }
        pass(millis(20 + rng.below(700))).await;
        cluster.heal();
        pass(millis(rng.below(300))).await;
    }

    /// Who acknowledged the master's last request forgets it, where another node is waiting for its vote.
    async fn break_a_promise(&self, master: usize, forgetful: usize, waiting: usize) {
        let cluster = &self.cluster;
        cluster.cut(master, waiting);
        cluster.cut(waiting, master);
        // There is nothing to catch up with: the node that is elected commits an entry at once.
        self.state.lock().quiet = true;
        pass(millis(900)).await;
        self.state.lock().quiet = false;
        cluster.isolate(master);
        self.restart(forgetful).await;
    }

    pub(crate) async fn restart(&self, i: usize) {
        self.cluster.kill(i);
        self.cluster.start(i).await.unwrap();
    }
}

/// Runs until enough went wrong, or a read missed something.
fn simulate(seed: u64, promises: &'static [Consistency], harms: u64) -> State {
    run(seed, async {
        let world = started(seed).await;
        let mut rng = Rng::new(seed ^ 0x5ead);
        let mut tasks = Vec::new();
        for i in 0..NODES {
            let reader = world.clone().read(i, promises, rng.fork());
            tasks.push((spawn(world.clone().write(i)), spawn(reader)));
        }
        for _ in 0..harms {
            world.harm(&mut rng).await;
            if world.over() {
                break;
            }
        }
        world.state.lock().over = true;
        for (writer, reader) in tasks {
            writer.await;
            reader.await;
        }
        std::mem::take(&mut *world.state.lock())
    })
}

pub(crate) fn seeds(usual: u64) -> Range<u64> {
    let number = |key| std::env::var(key).ok().map(|value| value.parse::<u64>().expect("a number"));
    match number("DLEDGER_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("DLEDGER_SEEDS").unwrap_or(usual),
    }
}

#[test]
fn a_promised_read_sees_all_that_was_acknowledged_before_it() {
    let (mut served, mut refused) = ([0; NODES], 0);
    for seed in seeds(3) {
        let state = simulate(seed, &PROMISES, 8);
        assert_eq!(state.stale, None, "seed {seed}: DLEDGER_SEED={seed} runs it again");
        (0..NODES).for_each(|i| served[i] += state.served[i]);
        refused += state.refused;
    }
    println!("{served:?} reads served per node, {refused} refused");
    assert!(served.iter().all(|reads| *reads > 100), "{served:?}");
}

#[test]
fn the_simulation_finds_stale_reads_where_nothing_is_promised() {
    let stale = (0..3).filter(|seed| simulate(*seed, &[Consistency::Local], 8).stale.is_some()).count();
    assert_eq!(stale, 3, "a law that cannot be broken checks nothing");
}

#[test]
fn a_follower_that_restarts_keeps_the_promise_it_made() {
    for seed in seeds(6) {
        run(seed, async {
            let world = started(seed).await;
            let cluster = &world.cluster;
            let master = cluster.master().unwrap();
            let tasks: Vec<_> = (0..NODES)
                .map(|i| {
                    let reader = world.clone().read(i, &[Consistency::Lease], Rng::new(seed + i as u64));
                    (spawn(world.clone().write(i)), spawn(reader))
                })
                .collect();
            world.break_a_promise(master, (master + 1) % NODES, (master + 2) % NODES).await;
            cluster.wait("another master", SOON, || cluster.master().is_some_and(|new| new != master)).await;
            pass(millis(200)).await;
            world.state.lock().over = true;
            for (writer, reader) in tasks {
                writer.await;
                reader.await;
            }
            assert_eq!(world.state.lock().stale, None, "seed {seed}");
        });
    }
}

#[test]
fn a_deposed_leader_that_is_cut_off_refuses_and_is_not_stale() {
    run(3, async {
        let World { cluster, .. } = started(3).await;
        let old = cluster.master().unwrap();
        cluster.append(old, vec!["before".into()]).await.unwrap();
        cluster.isolate(old);
        cluster.wait("another master", SOON, || cluster.master().is_some_and(|new| new != old)).await;
        let new = cluster.master().unwrap();
        let acks = cluster.append(new, vec!["after".into()]).await.unwrap();
        let (there, lonely) = (cluster.ledger(new).unwrap(), cluster.ledger(old).unwrap());
        for consistency in PROMISES {
            assert_eq!(there.barrier(consistency).await, Ok(acks[0].index + 1));
            let began = now();
            let error = lonely.get_with(0, consistency).await.unwrap_err();
            let expected = matches!(&error, ReadError::Unconfirmed { consistency: asked, .. } if *asked == consistency);
            assert!(expected, "{error}");
            assert!(now() - began <= millis(320), "it took {:?}", now() - began);
        }
        // What it has it may give to who asks for no more.
        assert_eq!(lonely.get(0).await.unwrap().body, "before");

        // Back in touch, it is a follower that asks.
        cluster.heal();
        cluster.wait("a slave", SOON, || matches!(cluster.role(old), Some(Role::Slave { .. }))).await;
        lonely.barrier_within(PROMISES[1], SOON).await.unwrap();
        for consistency in PROMISES {
            assert_eq!(lonely.get_with(acks[0].index, consistency).await.unwrap().body, "after");
        }
    });
}
