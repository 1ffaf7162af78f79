//! What is done when. Each ends with [`Cluster::finish`], where the laws are that hold in all of them.

use std::time::Duration;

use super::cluster::Cluster;
use super::harm::Harm;
use super::load::Load;
use super::outcome::Outcome;

/// How long a call of a client may take.
const TIMEOUT: Duration = Duration::from_secs(2);
/// Within this, clients that lost their master have appended at the next one: an election (0.5 s at most, tried twice),
/// the silence after which a client asks the others (0.5 s), the search.
const GOES_ON: Duration = Duration::from_secs(4);
/// Within this a node is level with the others again: a stream that gets no answers is given up after a second, a
/// connection without a sign of life after three, a connect is tried for one.
const LEVEL: Duration = Duration::from_secs(6);
/// A client finds out within this that the other end of its connection shows no sign of life.
const FOUND_OUT: Duration = Duration::from_secs(5);
/// Small records.
const SMALL: usize = 2 << 10;
/// Records of many packets.
const LARGE: usize = 200 << 10;

/// Three nodes with a master, and two hosts of clients that have begun.
fn begin<'a>(run: &str, seed: u64, record: usize) -> (Cluster<'a>, Load) {
    let mut cluster = Cluster::new(run, seed, 3);
    let load = Load::new(&cluster, TIMEOUT, record);
    cluster.wait_for_master(&[0, 1, 2]);
    for host in 0..2 {
        let rng = cluster.rng.fork();
        let name = format!("c{host}");
        let clients = load.clone().run(name.clone(), host * 10, 3, rng);
        cluster.client(&name, clients);
    }
    appends(&mut cluster, &load, 20, GOES_ON);
    (cluster, load)
}

/// Waits for that number of further acks.
fn appends(cluster: &mut Cluster<'_>, load: &Load, count: u64, bound: Duration) {
    let before = load.told().acked;
    cluster.wait("clients to append", bound, |_| load.told().acked >= before + count);
}

/// Waits until node `i` has all that was committed by now.
fn level(cluster: &mut Cluster<'_>, i: usize) {
    let ends = cluster.nodes.iter().filter_map(|node| Some(node.ledger()?.status().committed));
    let end = ends.max().expect("a node runs");
    let name = cluster.name(i);
    cluster.wait(&format!("{name} to be level"), LEVEL, |cluster| {
        cluster.nodes[i].ledger().is_some_and(|ledger| ledger.status().committed >= end)
    });
}

/// All are far apart, nodes and clients: `ROUND_TRIP` milliseconds there and back. With settings that suit it
/// (`docs/operations.md`) every call is answered, nobody is succeeded who lives, and a master that dies is.
pub fn far_apart<const ROUND_TRIP: u64>(run: &str, seed: u64) -> Outcome {
    let millis = Duration::from_millis;
    let one_way = (millis(ROUND_TRIP / 2 - ROUND_TRIP / 20), millis(ROUND_TRIP / 2));
    let heartbeat = millis((ROUND_TRIP * 3 / 2).max(100));
    let mut cluster = Cluster::apart(run, seed, 3, one_way, |config| {
        config.heartbeat_interval = heartbeat;
        config.election_timeout = (heartbeat * 4, heartbeat * 8);
        config.append_timeout = heartbeat * 20 + TIMEOUT;
        config.stall_timeout = heartbeat * 4 + TIMEOUT;
    });
    let load = Load::new(&cluster, heartbeat * 20 + TIMEOUT, SMALL);
    let bound = heartbeat * 40 + GOES_ON;
    cluster.wait("a master", bound, |cluster| cluster.master().is_some());
    for host in 0..2 {
        let rng = cluster.rng.fork();
        let name = format!("c{host}");
        let clients = load.clone().run(name.clone(), host * 10, 3, rng);
        cluster.client(&name, clients);
    }
    appends(&mut cluster, &load, 40, bound);
    let begun = load.told();
    cluster.pass(heartbeat * 10);
    let told = load.told();
    assert_eq!((told.unknown, told.refused, told.term), (0, 0, begun.term), "{told:?}");
    assert!(told.reads >= 10, "{told:?}");

    let master = cluster.master().expect("nobody was succeeded");
    let down = cluster.kill(master);
    cluster.wait("appends at the next master", bound, |_| load.told().term > told.term);
    cluster.start(down);
    appends(&mut cluster, &load, 20, bound);
    cluster.finish(&load)
}

/// The master is held, for longer than any call may take: clients go on at the next one, and what they sent to the old
/// one in vain ends unknown. Then all that was held arrives.
pub fn held_master(run: &str, seed: u64) -> Outcome {
    let (mut cluster, load) = begin(run, seed, SMALL);
    let master = cluster.wait_for_master(&[0, 1, 2]);
    let before = load.told();
    let harmed = cluster.harm(Harm::Hold, &cluster.host(master), &cluster.rest(master));
    let others = cluster.others(master);
    cluster.wait_for_master(&others);
    cluster.wait("appends at the next master", GOES_ON, |_| load.told().term > before.term);
    cluster.pass(TIMEOUT);
    let told = load.told();
    assert!(told.unknown > before.unknown, "what was sent to a master that hangs may be in the log: {told:?}");
    cluster.undo(harmed);
    level(&mut cluster, master);
    cluster.finish(&load)
}

/// The clients' links to all nodes are held. Calls under way end unknown at their deadline, not later; calls made
/// meanwhile are refused at theirs, for nobody was reached. Then all that was held arrives.
pub fn held_clients(run: &str, seed: u64) -> Outcome {
    let (mut cluster, load) = begin(run, seed, SMALL);
    let before = load.told();
    let harmed = cluster.harm(Harm::Hold, &cluster.client_hosts(), &cluster.hosts());
    cluster.pass(FOUND_OUT + TIMEOUT * 2);
    let told = load.told();
    assert_eq!(told.acked, before.acked, "acknowledged over links that are held");
    // One client may have had nothing under way.
    assert!(told.unknown > before.unknown, "{told:?}");
    assert!(told.refused > before.refused, "{told:?}");
    cluster.undo(harmed);
    appends(&mut cluster, &load, 20, GOES_ON);
    cluster.finish(&load)
}

/// A slave's connections to the master lose packets for a moment, both ways or one way. Afterwards packets arrive, but
/// what was lost is not sent again: the connections are half open for ever. They are given up for new ones.
pub fn half_open(run: &str, seed: u64) -> Outcome {
    let (mut cluster, load) = begin(run, seed, SMALL);
    for _ in 0..2 {
        let master = cluster.wait_for_master(&[0, 1, 2]);
        let slave = cluster.others(master)[cluster.rng.below(2) as usize];
        let harm = [Harm::Part, Harm::PartTo, Harm::PartFrom][cluster.rng.below(3) as usize];
        let made: u64 = cluster.nodes.iter().map(|node| node.meter.made()).sum();
        let harmed = cluster.harm(harm, &cluster.host(master), &cluster.host(slave));
        cluster.pass_some(20, 400);
        cluster.undo(harmed);
        appends(&mut cluster, &load, 10, GOES_ON);
        level(&mut cluster, slave);
        let again = |cluster: &Cluster<'_>| cluster.nodes.iter().map(|node| node.meter.made()).sum::<u64>() > made;
        cluster.wait("a connection to be made anew", LEVEL, again);
    }
    cluster.finish(&load)
}

/// The master hears and is not heard, or is heard and does not hear: there is another one soon, and clients find it.
pub fn one_way(run: &str, seed: u64) -> Outcome {
    let (mut cluster, load) = begin(run, seed, SMALL);
    for harm in [Harm::PartTo, Harm::PartFrom] {
        let master = cluster.wait_for_master(&[0, 1, 2]);
        let before = load.told();
        let harmed = cluster.harm(harm, &cluster.host(master), &cluster.rest(master));
        let others = cluster.others(master);
        cluster.wait_for_master(&others);
        cluster.wait("appends at the next master", GOES_ON, |_| load.told().term > before.term);
        cluster.undo(harmed);
        level(&mut cluster, master);
    }
    cluster.finish(&load)
}

/// Processes die and power fails, of master and slave, and they come back: nobody is left with a connection to a life
/// that is over.
pub fn restarts(run: &str, seed: u64) -> Outcome {
    let (mut cluster, load) = begin(run, seed, SMALL);
    for round in 0..4 {
        let master = cluster.wait_for_master(&[0, 1, 2]);
        let slave = cluster.others(master)[cluster.rng.below(2) as usize];
        let victim = if round % 2 == 0 { master } else { slave };
        let down = if cluster.rng.chance(500) { cluster.kill(victim) } else { cluster.power_off(victim) };
        let others = cluster.others(victim);
        cluster.wait_for_master(&others);
        appends(&mut cluster, &load, 10, GOES_ON);
        cluster.pass_some(0, 1500);
        cluster.start(down);
        level(&mut cluster, victim);
    }
    cluster.finish(&load)
}

/// Large records, in many small reads. The connections of all nodes break at any byte of what they write; then the
/// power of the master fails while a large message is under way.
pub fn cut_frames(run: &str, seed: u64) -> Outcome {
    let (mut cluster, load) = begin(run, seed, LARGE);
    for node in &cluster.nodes {
        node.meter.read_shortly(cluster.rng.fork());
    }
    let harmed = cluster.harm(Harm::Cut(48 << 10), &cluster.hosts(), &Vec::new());
    cluster.pass(Duration::from_secs(2));
    cluster.undo(harmed);
    appends(&mut cluster, &load, 10, GOES_ON);

    let master = cluster.wait_for_master(&[0, 1, 2]);
    let host = cluster.host(master);
    let slaves: Vec<_> = cluster.others(master).into_iter().map(|slave| cluster.name(slave)).collect();
    cluster.wait("a large message to be under way", GOES_ON, |cluster| {
        slaves.iter().any(|slave| cluster.bytes_under_way(&host[0], slave) > LARGE as u64 / 4)
    });
    let down = cluster.power_off(master);
    appends(&mut cluster, &load, 10, GOES_ON * 2);
    cluster.start(down);
    level(&mut cluster, master);
    cluster.finish(&load)
}

/// One harm after the other, whichever, while now and then a process dies or power fails as well.
pub fn chaos(run: &str, seed: u64) -> Outcome {
    let (mut cluster, load) = begin(run, seed, 16 << 10);
    for _ in 0..8 {
        let victim = cluster.rng.below(3) as usize;
        let down = match cluster.rng.below(4) {
            0 => Some(cluster.kill(victim)),
            1 => Some(cluster.power_off(victim)),
            _ => None,
        };
        if let Some(down) = down {
            cluster.pass_some(100, 1500);
            cluster.start(down);
        } else {
            let harm = Harm::ALL[cluster.rng.below(Harm::ALL.len() as u64) as usize];
            let harmed = cluster.harm(harm, &cluster.host(victim), &cluster.rest(victim));
            cluster.pass_some(100, 2500);
            cluster.undo(harmed);
        }
        cluster.pass_some(0, 600);
    }
    appends(&mut cluster, &load, 20, GOES_ON * 2);
    cluster.finish(&load)
}
