//! Layer A: whole clusters of this very code, deterministic: simulated disk, network and time.
//!
//! A [`Family`] is a kind of simulation; a seed determines everything in one. `DLEDGER_SEEDS=n` runs more seeds,
//! `DLEDGER_SEED=x` runs one again.
//!
//! | file | what it is |
//! |---|---|
//! | this | [`families`]: all there are |
//! | `outcome`, `failure` | what comes of one |
//! | `seeds` | which seeds run |
//! | `chaos`, `nemesis`, `operator` | clients append while a nemesis does its worst |
//! | `history` | what was asked, answered and seen, and the laws about it |
//! | `first_steps` | the walk in short |
//! | `formations` | nodes that start for the first time |
//! | `succession` | how long a cluster is without a master |

mod chaos;
mod failure;
pub mod first_steps;
mod formations;
mod history;
mod nemesis;
mod operator;
mod outcome;
mod seeds;
pub mod succession;

use std::path::Path;

pub use failure::Failure;
pub use outcome::Outcome;
pub use seeds::each;

/// A kind of simulation.
pub struct Family {
    /// Its name.
    pub name: &'static str,
    /// What it shows, in a line; the `#[test]` of that name runs it.
    pub law: &'static str,
    /// How many seeds run if nobody says otherwise.
    pub seeds: u64,
    /// Panics where a law is broken. Writes what happened to a file if there is one.
    simulate: fn(u64, Option<&Path>) -> Outcome,
}

impl Family {
    /// Runs one seed. What happened is written to `history` if that is asked for.
    ///
    /// # Errors
    /// If a law is broken.
    pub fn run(&self, seed: u64, history: Option<&Path>) -> Result<Outcome, Failure> {
        failure::caught(|| (self.simulate)(seed, history)).map_err(|law| {
            let replay = format!("DLEDGER_SEED={seed} cargo test -p dledger-faults --test sim {}", self.law);
            Failure { family: self.name, seed, law, replay }
        })
    }
}

/// All families.
pub fn families() -> &'static [Family] {
    FAMILIES
}

/// The family of that name.
pub fn family(name: &str) -> Option<&'static Family> {
    FAMILIES.iter().find(|family| family.name == name)
}

const FAMILIES: &[Family] = &[
    Family {
        name: "power-loss",
        law: "acknowledged_records_survive_power_loss_and_partitions",
        seeds: 4,
        simulate: |seed, history| chaos::run(seed, &chaos::POWER_LOSS, history),
    },
    Family {
        name: "failing-disks",
        law: "acknowledged_records_survive_failing_disks",
        seeds: 2,
        simulate: |seed, history| chaos::run(seed, &chaos::FAILING_DISKS, history),
    },
    Family {
        name: "kills-interval",
        law: "acknowledged_records_survive_killed_processes_without_a_sync",
        seeds: 2,
        simulate: |seed, history| chaos::run(seed, &chaos::KILLS_INTERVAL, history),
    },
    Family {
        name: "start-ups",
        law: "nodes_that_start_in_any_order_form_exactly_one_cluster_of_all",
        seeds: 40,
        simulate: |seed, _| formations::start_ups(seed),
    },
    Family {
        name: "different-lists",
        law: "nodes_with_different_peer_lists_never_form_two_clusters",
        seeds: 15,
        simulate: |seed, _| formations::different_lists(seed),
    },
    Family {
        name: "twins",
        law: "two_processes_of_the_lowest_id_never_form_two_clusters",
        seeds: 15,
        simulate: |seed, _| formations::twins(seed),
    },
    Family {
        name: "joining",
        law: "a_node_that_joins_forms_nothing_and_promises_itself_to_nobody",
        seeds: 6,
        simulate: |seed, _| formations::joining(seed),
    },
    Family {
        name: "retention",
        law: "acknowledged_records_survive_power_loss_until_retention_removes_them",
        seeds: 2,
        simulate: |seed, history| {
            let outcome = chaos::run(seed, &chaos::RETENTION, history);
            assert!(outcome.counted("removed") > 0, "nothing was removed");
            outcome
        },
    },
    Family {
        name: "retention-failing-disks",
        law: "acknowledged_records_survive_failing_disks_until_retention_removes_them",
        seeds: 2,
        simulate: |seed, history| chaos::run(seed, &chaos::RETENTION_FAILING_DISKS, history),
    },
    Family {
        name: "lost-disks",
        law: "acknowledged_records_survive_lost_disks_that_are_replaced_one_by_one",
        seeds: 3,
        simulate: |seed, history| {
            let outcome = chaos::run(seed, &chaos::LOST_DISKS, history);
            assert!(outcome.counted("disks replaced") > 0, "nothing was replaced");
            outcome
        },
    },
];
