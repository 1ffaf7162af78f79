//! Every scenario.

use std::time::Duration;

use super::{Act, Scenario, damage, disks, members, mixed, network, processes};
use crate::workload::Load;

/// Damage is found when a node starts, and taken from the others.
const REPAIRS: &[&str] = &["--segment-size", "16MiB", "--repair", "from-peers"];
const PLAIN: &[&str] = &["--segment-size", "16MiB"];
const RETAINS: &[&str] = &["--segment-size", "16MiB", "--retention-size", "40MiB", "--retention-every", "1s"];
const INTERVAL: &[&str] = &["--segment-size", "16MiB", "--durability", "interval:50ms"];

macro_rules! act {
    ($($path:tt)+) => {
        |stage| Box::pin($($path)+(stage))
    };
}

const fn plain(name: &'static str, about: &'static str, act: Act) -> Scenario {
    Scenario { name, about, voters: 3, spare: 0, options: PLAIN, retention: false, load: Load::default, act }
}

const fn five(name: &'static str, about: &'static str, act: Act) -> Scenario {
    Scenario { voters: 5, ..plain(name, about, act) }
}

const fn damaged(name: &'static str, about: &'static str, act: Act) -> Scenario {
    Scenario { options: REPAIRS, load: filled, ..plain(name, about, act) }
}

fn filled() -> Load {
    Load { fill: 40 << 20, ..Load::default() }
}

fn light() -> Load {
    Load { every: Duration::from_millis(25), ..Load::default() }
}

/// Every scenario.
pub fn all() -> &'static [Scenario] {
    ALL
}

/// The scenario of that name.
pub fn find(name: &str) -> Option<&'static Scenario> {
    ALL.iter().find(|scenario| scenario.name == name)
}

const ALL: &[Scenario] = &[
    plain("kill-leader", "kill -9 of the master", act!(processes::kill_leader)),
    plain("kill-follower", "kill -9 of a slave", act!(processes::kill_follower)),
    plain("kill-all", "kill -9 of all nodes at once", act!(processes::kill_all)),
    plain("kill-storm", "kill -9 of any node, again and again", act!(processes::kill_storm)),
    Scenario {
        options: INTERVAL,
        ..plain("kill-all-interval", "kill -9 of all nodes, acks without fsync", act!(processes::kill_all))
    },
    plain("pause-leader", "the master is stopped, succeeded, and goes on", act!(processes::pause_leader)),
    plain("pause-majority", "most nodes are stopped", act!(processes::pause_majority)),
    plain("stutter", "the master stops again and again, shortly", act!(processes::stutter)),
    plain("rolling-restart", "each node stops and starts in turn", act!(processes::rolling_restart)),
    plain("isolate-leader", "the other nodes do not reach the master", act!(network::isolate_leader)),
    plain("isolate-follower", "a slave is cut off", act!(network::isolate_follower)),
    five("split", "two nodes with the master, three without", act!(network::split)),
    plain("leader-unheard", "what the master says is lost", act!(network::leader_unheard)),
    plain("leader-deaf", "what the master is told is lost", act!(network::leader_deaf)),
    five("ring", "each node sees its neighbours only", act!(network::ring)),
    five("bridge", "two halves that share one node", act!(network::bridge)),
    plain("flicker", "partitions come and go", act!(network::flicker)),
    plain("clients-cut", "the clients do not reach the master", act!(network::clients_cut)),
    plain("reset", "connections are reset", act!(network::reset)),
    plain("loss", "packets are lost", act!(network::loss)),
    Scenario { load: light, ..plain("delay", "packets are late, and overtake each other", act!(network::delay)) },
    plain("slow-disk", "the master's disk is slow", act!(disks::slow)),
    plain("hung-disk-leader", "the master's disk hangs", act!(disks::hang_leader)),
    plain("hung-disk-follower", "a slave's disk hangs", act!(disks::hang_follower)),
    plain("full-disk-leader", "the master's disk is full", act!(disks::full_leader)),
    plain("full-disk-follower", "a slave's disk is full", act!(disks::full_follower)),
    plain("sync-fails", "fsync returns EIO", act!(disks::fail_syncs)),
    plain("power-one", "one node loses its power", act!(disks::power_of_one)),
    plain("power-majority", "most nodes lose their power", act!(disks::power_of_a_majority)),
    plain("power-all", "all nodes lose their power", act!(disks::power_of_all)),
    damaged("bit-flips", "bits of one replica turn over", act!(damage::flips)),
    damaged("truncated-segment", "a segment of one replica is cut short", act!(damage::truncated)),
    damaged("deleted-segment", "a segment of one replica is gone", act!(damage::deleted)),
    damaged("stale-segment", "a segment of one replica is an old copy", act!(damage::stale)),
    damaged("damaged-index", "the index of a segment is damaged", act!(damage::index)),
    damaged("helix", "every piece is damaged on exactly one node", act!(damage::everywhere)),
    plain("clock-jump", "the clock of a node is off by an hour", act!(disks::clock)),
    Scenario { spare: 1, ..plain("members", "a node joins, another leaves", act!(members::churn)) },
    plain("replace", "a disk is lost, and its node replaced", act!(members::replace)),
    plain("transfers", "masters hand over", act!(members::transfers)),
    Scenario { options: RETAINS, retention: true, ..plain("retention", "old records go", act!(members::retention)) },
    Scenario { options: REPAIRS, load: filled, ..five("mixed", "whatever the seed says", act!(mixed::mixed)) },
];

/// What `mixed` chooses from.
pub(super) const MIXED: &[Act] = &[
    act!(processes::kill_leader),
    act!(processes::kill_follower),
    act!(processes::kill_all),
    act!(processes::kill_storm),
    act!(processes::pause_leader),
    act!(processes::pause_majority),
    act!(processes::stutter),
    act!(processes::rolling_restart),
    act!(network::isolate_leader),
    act!(network::isolate_follower),
    act!(network::split),
    act!(network::leader_unheard),
    act!(network::leader_deaf),
    act!(network::ring),
    act!(network::bridge),
    act!(network::flicker),
    act!(network::clients_cut),
    act!(network::reset),
    act!(network::loss),
    act!(network::delay),
    act!(disks::slow),
    act!(disks::hang_leader),
    act!(disks::hang_follower),
    act!(disks::fail_syncs),
    act!(disks::power_of_one),
    act!(disks::power_of_a_majority),
    act!(disks::power_of_all),
    act!(disks::clock),
    act!(damage::flips),
    act!(damage::deleted),
    act!(damage::everywhere),
    act!(members::transfers),
];
