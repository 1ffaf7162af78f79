//! Nodes that start for the first time, in whatever order and whatever happens meanwhile.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use dledger::error::StartError;
use dledger::{NodeId, Peer, Peers};
use dledger_sim::{self as sim, Rng, SimCluster};
use parking_lot::Mutex;

use super::Outcome;

/// Longer than any healthy formation takes.
const PATIENCE: Duration = Duration::from_secs(30);
/// As long as a node that could form something would need, many times over.
const ENOUGH: Duration = Duration::from_secs(2);

fn formed(clusters: u64, cluster: &SimCluster, slowest: Duration) -> Outcome {
    let mut outcome = Outcome { trace: cluster.trace(), virtual_time: sim::now(), ..Outcome::default() };
    outcome.count("clusters formed", clusters);
    outcome.count("starts", (0..cluster.size()).map(|i| cluster.starts(i)).sum());
    outcome.took("recovery after the last fault", slowest);
    outcome
}

/// Members by id, with their disks.
type Membership = BTreeMap<String, String>;

/// Every membership that any node ever had.
#[derive(Clone)]
struct Observer {
    cluster: SimCluster,
    seen: Arc<Mutex<BTreeSet<Membership>>>,
    over: Arc<Mutex<bool>>,
}

impl Observer {
    fn new(cluster: &SimCluster) -> Self {
        let observer = Self { cluster: cluster.clone(), seen: Arc::default(), over: Arc::default() };
        let watching = observer.clone();
        // It ends with the simulation.
        drop(sim::spawn(async move {
            while !*watching.over.lock() {
                watching.look();
                sim::pass(Duration::from_millis(3)).await;
            }
        }));
        observer
    }

    fn membership(&self, i: usize) -> Membership {
        let Some(ledger) = self.cluster.ledger(i) else { return Membership::new() };
        let members = ledger.status().members.into_iter().map(|m| m.member);
        members.map(|member| (member.id.to_string(), member.incarnation.to_string())).collect()
    }

    fn look(&self) {
        for i in 0..self.cluster.size() {
            let membership = self.membership(i);
            if !membership.is_empty() {
                self.seen.lock().insert(membership);
            }
        }
    }

    /// All that were seen: one cluster at most.
    fn at_most_one(&self) -> Option<Membership> {
        *self.over.lock() = true;
        self.look();
        let seen = self.seen.lock();
        assert!(seen.len() <= 1, "{} clusters were formed: {seen:?}", seen.len());
        seen.first().cloned()
    }
}

/// Starts a node, which must be able to start: unless its list names it alone. Such a list may be what is left of a
/// longer one, so the node must refuse it.
async fn start(cluster: &SimCluster, i: usize) {
    let names_itself_alone = cluster.names_itself_alone(i);
    match cluster.start(i).await {
        Ok(()) => assert!(!names_itself_alone, "node {i} starts, and its list names nobody else"),
        Err(StartError::NoCluster { .. }) if names_itself_alone => {}
        Err(error) => panic!("node {i} does not start: {error}"),
    }
}

fn shuffled(rng: &mut Rng, size: usize) -> Vec<usize> {
    let mut order: Vec<_> = (0..size).collect();
    for last in (1..size).rev() {
        order.swap(last, rng.below(last as u64 + 1) as usize);
    }
    order
}

/// Starts all nodes in any order, with pauses.
async fn trickle(cluster: SimCluster, mut rng: Rng, pause: u64) {
    for i in shuffled(&mut rng, cluster.size()) {
        sim::pass(Duration::from_millis(rng.below(pause))).await;
        start(&cluster, i).await;
    }
}

/// Cuts, loses, kills and starts again, for a while.
async fn disturb(cluster: &SimCluster, rng: &mut Rng, restarts: bool) {
    let size = cluster.size() as u64;
    for _ in 0..2 + rng.below(12) {
        sim::pass(Duration::from_millis(rng.below(150))).await;
        let (i, j) = (rng.below(size) as usize, rng.below(size) as usize);
        match rng.below(if restarts { 10 } else { 6 }) {
            0 | 1 => cluster.cut(i, j),
            2 => cluster.isolate(i),
            3 => cluster.heal(),
            4 | 5 => cluster.lose(rng.below(400)),
            6 => cluster.crash(i),
            7 => cluster.kill(i),
            8 => cluster.stop(i).await.unwrap(),
            _ => start(cluster, i).await,
        }
    }
}

/// Whatever happens while they start for the first time, they end as one cluster of all.
pub(super) fn start_ups(seed: u64) -> Outcome {
    sim::run(seed, async move {
        let mut rng = Rng::new(seed ^ 0x5eed);
        let size = if rng.chance(700) { 3 } else { 2 + rng.below(4) as usize };
        let cluster = SimCluster::new(seed, size, |_| {});
        let observer = Observer::new(&cluster);
        let (other, pause) = (Rng::new(rng.draw()), 1 + rng.below(400));
        let starting = sim::spawn(trickle(cluster.clone(), other, pause));
        disturb(&cluster, &mut rng, true).await;
        starting.await;
        cluster.heal();
        let healed = sim::now();
        for i in shuffled(&mut rng, size) {
            start(&cluster, i).await;
        }
        agree(&cluster, &observer, &(0..size).collect::<Vec<_>>()).await;
        formed(1, &cluster, sim::now() - healed)
    })
}

/// Waits until the nodes are one cluster, of them and nobody else, that takes records.
async fn agree(cluster: &SimCluster, observer: &Observer, nodes: &[usize]) {
    let full = |i: &usize| observer.membership(*i).len() == nodes.len();
    cluster.wait("the whole membership everywhere", PATIENCE, || nodes.iter().all(full)).await;
    let deadline = sim::now() + PATIENCE;
    loop {
        assert!(sim::now() < deadline, "no append succeeds: {}", cluster.describe());
        if let Some(master) = cluster.master()
            && cluster.append(master, vec!["a record".into()]).await.is_ok()
        {
            break;
        }
        sim::pass(Duration::from_millis(20)).await;
    }
    let committed = |i: &usize| cluster.ledger(*i).is_some_and(|ledger| ledger.status().committed > 0);
    cluster.wait("the record everywhere", PATIENCE, || nodes.iter().all(committed)).await;
    let one = observer.at_most_one().expect("a cluster was formed");
    let records = cluster.committed(nodes[0], 0).await;
    for i in nodes {
        assert_eq!(observer.membership(*i), one);
        assert!(cluster.committed(*i, 0).await.starts_with(&records[..1]), "the records are others on node {i}");
    }
}

fn peers(nodes: &BTreeSet<usize>) -> Peers {
    let peer = |i: &usize| Peer { id: NodeId::new(*i as u64), address: format!("n{i}:1") };
    Peers::new(nodes.iter().map(peer).collect()).unwrap()
}

/// Two lists that have nodes in common; every node has one of those that name it.
pub(super) fn different_lists(seed: u64) -> Outcome {
    sim::run(seed, async move {
        let mut rng = Rng::new(seed ^ 0x11575);
        let size = 3 + rng.below(3) as usize;
        let cluster = SimCluster::new(seed, size, |_| {});
        let mut lists = [BTreeSet::new(), BTreeSet::new()];
        let shared = rng.below(size as u64) as usize;
        for i in 0..size {
            let which = if i == shared { 2 } else { rng.below(4) };
            for (_, list) in lists.iter_mut().enumerate().filter(|(n, _)| which != *n as u64) {
                list.insert(i);
            }
        }
        // A node that one list names has that list.
        let has: Vec<usize> = (0..size)
            .map(|i| match (lists[0].contains(&i), lists[1].contains(&i)) {
                (true, true) => rng.below(2) as usize,
                (first, _) => usize::from(!first),
            })
            .collect();
        for i in 0..size {
            let list = peers(&lists[has[i]]);
            cluster.configure(i, |config| config.peers = list);
        }
        let observer = Observer::new(&cluster);
        let (other, pause) = (Rng::new(rng.draw()), 1 + rng.below(300));
        let starting = sim::spawn(trickle(cluster.clone(), other, pause));
        disturb(&cluster, &mut rng, true).await;
        starting.await;
        cluster.heal();
        let healed = sim::now();
        for i in shuffled(&mut rng, size) {
            start(&cluster, i).await;
        }
        // A list is agreed on if all whom it names have it; two lists with a node in common cannot both be. A node that
        // is told of itself alone does not start.
        let agreed = lists.iter().enumerate().find(|(n, list)| {
            let equal = |i: &usize| has[*i] == *n || lists[has[*i]] == **list;
            list.len() > 1 && list.iter().all(equal)
        });
        let clusters = match agreed {
            Some((_, list)) => {
                agree(&cluster, &observer, &list.iter().copied().collect::<Vec<_>>()).await;
                1
            }
            None => {
                sim::pass(ENOUGH).await;
                assert_eq!(observer.at_most_one(), None, "a cluster was formed of a list that not all have: {lists:?}");
                0
            }
        };
        formed(clusters, &cluster, sim::now() - healed)
    })
}

/// Two processes with the lowest id, each with a disk of its own: a copied command line.
pub(super) fn twins(seed: u64) -> Outcome {
    sim::run(seed, async move {
        let mut rng = Rng::new(seed ^ 0x7715);
        let cluster = SimCluster::new(seed, 4, |_| {});
        let list = peers(&BTreeSet::from([0, 1, 2]));
        for i in 0..4 {
            let list = list.clone();
            cluster.configure(i, |config| {
                config.peers = list;
                config.id = NodeId::new(i as u64 % 3);
            });
        }
        let observer = Observer::new(&cluster);
        let (other, pause) = (Rng::new(rng.draw()), 1 + rng.below(40));
        let starting = sim::spawn(trickle(cluster.clone(), other, pause));
        // No restarts: a promise is kept until the node that gave it restarts.
        disturb(&cluster, &mut rng, false).await;
        starting.await;
        cluster.heal();
        let healed = sim::now();
        sim::pass(ENOUGH).await;
        let clusters = u64::from(observer.at_most_one().is_some());
        formed(clusters, &cluster, sim::now() - healed)
    })
}

/// Three nodes that form a cluster, one of their list that only joins, or one that nobody names.
pub(super) fn joining(seed: u64) -> Outcome {
    sim::run(seed, async move {
        let mut rng = Rng::new(seed ^ 0x1017);
        let listed = rng.chance(500);
        let cluster = SimCluster::new(seed, 4, |_| {});
        let list = peers(&(if listed { 0..4 } else { 0..3 }).collect());
        let joins = if listed { rng.below(4) as usize } else { 3 };
        for i in 0..4 {
            let own = if i == joins { Peers::default() } else { list.clone() };
            cluster.configure(i, |config| {
                config.peers = own;
                config.join = i == joins;
            });
        }
        let observer = Observer::new(&cluster);
        trickle(cluster.clone(), Rng::new(rng.draw()), 200).await;
        let healed = sim::now();
        let clusters = if listed {
            // The others wait for one that never says that it may be had.
            sim::pass(ENOUGH).await;
            assert_eq!(observer.at_most_one(), None);
            0
        } else {
            agree(&cluster, &observer, &[0, 1, 2]).await;
            assert!(observer.membership(joins).is_empty());
            1
        };
        formed(clusters, &cluster, sim::now() - healed)
    })
}
