//! Layer A: whole clusters of this very code, deterministic: simulated disk, network and time.
//!
//! A [`Family`] is a kind of simulation; a seed determines everything in one. `DLEDGER_SEEDS=n` runs more seeds,
//! `DLEDGER_SEED=x` runs one again, with `DLEDGER_SCHEDULE=TEXT-OR-FILE` under another schedule and with
//! `DLEDGER_HISTORY=FILE` written down. `DLEDGER_UNWATCHED=1` leaves the judge alone with what clients were told:
//! so one sees what it finds without the invariants.
//!
//! | file | what it is |
//! |---|---|
//! | this | [`families`]: all there are |
//! | `outcome`, `failure` | what comes of one |
//! | `seeds` | which seeds run |
//! | `chaos` | clients call while a nemesis does its worst; then the judge looks at what they were told |
//! | `plan`, `schedule` | what may go wrong; what does and when, as data |
//! | `world` | what all who take part share |
//! | `clients` | who appends, reads and tails |
//! | `nemesis`, `evidence` | does what the schedule says, and proves that it did something |
//! | `members` | who replaces disks, adds and removes members, hands the leadership about |
//! | `invariants` | what must hold inside the nodes, after every message |
//! | `shrink` | the smallest schedule that still fails |
//! | `first_steps` | the walk in short |
//! | `formations` | nodes that start for the first time |
//! | `succession` | how long a cluster is without a master |

mod chaos;
mod clients;
mod evidence;
mod failure;
pub mod first_steps;
mod formations;
mod invariants;
mod members;
mod nemesis;
mod outcome;
mod plan;
mod schedule;
mod seeds;
mod shrink;
pub mod succession;
mod world;

use std::path::Path;

pub use failure::Failure;
pub use outcome::Outcome;
pub use plan::Plan;
pub use schedule::{Kind, Schedule, Step, Who};
pub use seeds::each;
pub use shrink::shrink;

/// A kind of simulation.
pub struct Family {
    /// Its name.
    pub name: &'static str,
    /// What it shows; the `#[test]` of that name runs it.
    pub law: &'static str,
    /// How many seeds run if nobody says otherwise.
    pub seeds: u64,
    /// What must have happened at least once in that number of seeds, or nothing was shown.
    pub shows: &'static [&'static str],
    /// What runs.
    scenario: Scenario,
}

enum Scenario {
    /// Clients, and a nemesis that keeps to a schedule.
    Chaos(&'static Plan),
    /// Panics where a law is broken.
    Other(fn(u64) -> Outcome),
}

impl Family {
    /// Runs one seed. What happened is written to `history` if that is asked for.
    ///
    /// # Errors
    /// If a law is broken.
    pub fn run(&self, seed: u64, history: Option<&Path>) -> Result<Outcome, Failure> {
        self.run_with(seed, self.schedule(seed).as_ref(), history)
    }

    /// What goes wrong in a run of this seed, and when; `None` if the family keeps to no schedule.
    pub fn schedule(&self, seed: u64) -> Option<Schedule> {
        match self.scenario {
            Scenario::Chaos(plan) => Some(Schedule::draw(seed, plan)),
            Scenario::Other(_) => None,
        }
    }

    /// As [`Family::run`], with another schedule than the seed's.
    ///
    /// # Errors
    /// If a law is broken.
    pub fn run_with(&self, seed: u64, schedule: Option<&Schedule>, history: Option<&Path>) -> Result<Outcome, Failure> {
        let replay = self.replay(seed);
        let ran = match (&self.scenario, schedule) {
            (Scenario::Chaos(plan), Some(schedule)) => {
                let run = chaos::Run { name: self.name, seed, plan, schedule, replay: replay.clone() };
                chaos::run(&run, history)
            }
            (Scenario::Chaos(_), None) => Err("it needs a schedule".into()),
            (Scenario::Other(simulate), _) => failure::caught(|| simulate(seed)),
        };
        ran.map_err(|law| Failure { family: self.name, seed, law, replay })
    }

    /// The command that runs a seed again.
    pub fn replay(&self, seed: u64) -> String {
        format!("DLEDGER_SEED={seed} cargo test -p dledger-faults --test sim {}", self.law)
    }

    /// Whether what was to happen has, if that number of seeds is enough to ask.
    ///
    /// # Errors
    /// What has not.
    pub fn shown(&self, seeds: u64, sum: &Outcome) -> Result<(), String> {
        let missing = self.shows.iter().find(|what| seeds >= self.seeds && sum.counted(what) == 0);
        missing.map_or(Ok(()), |what| Err(format!("{}: {seeds} seeds, and no {what}: {sum}", self.name)))
    }

    /// The smallest schedule with which the seed still fails, found in at most that number of runs.
    pub fn shrink(&self, seed: u64, most: usize) -> Option<Schedule> {
        let schedule = self.schedule(seed)?;
        let fails = |candidate: &Schedule| self.run_with(seed, Some(candidate), None).is_err();
        Some(shrink(&schedule, most, fails).0)
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

const fn chaos(
    name: &'static str,
    law: &'static str,
    seeds: u64,
    shows: &'static [&'static str],
    plan: &'static Plan,
) -> Family {
    Family { name, law, seeds, shows, scenario: Scenario::Chaos(plan) }
}

const fn other(name: &'static str, law: &'static str, seeds: u64, simulate: fn(u64) -> Outcome) -> Family {
    Family { name, law, seeds, shows: &[], scenario: Scenario::Other(simulate) }
}

const FAMILIES: &[Family] = &[
    chaos(
        "power-loss",
        "acknowledged_records_survive_power_loss_and_partitions",
        6,
        &["records acknowledged", "reads answered", "records tailed"],
        &plan::POWER_LOSS,
    ),
    chaos("partitions", "acknowledged_records_survive_all_that_a_network_can_do", 4, &[], &plan::PARTITIONS),
    chaos("failing-disks", "acknowledged_records_survive_failing_disks", 4, &[], &plan::FAILING_DISKS),
    chaos("bit-rot", "acknowledged_records_survive_bit_rot_on_a_minority", 3, &[], &plan::BIT_ROT),
    chaos(
        "kills-interval",
        "acknowledged_records_survive_killed_processes_without_a_sync",
        3,
        &[],
        &plan::KILLS_INTERVAL,
    ),
    chaos(
        "retention",
        "acknowledged_records_survive_power_loss_until_retention_removes_them",
        3,
        &["records removed", "removals"],
        &plan::RETENTION,
    ),
    chaos(
        "retention-failing-disks",
        "acknowledged_records_survive_failing_disks_until_retention_removes_them",
        3,
        &["records removed"],
        &plan::RETENTION_FAILING_DISKS,
    ),
    chaos(
        "lost-disks",
        "acknowledged_records_survive_lost_disks_that_are_replaced_one_by_one",
        3,
        &["disks replaced", "transfers"],
        &plan::LOST_DISKS,
    ),
    chaos(
        "members",
        "acknowledged_records_survive_members_that_come_and_go",
        3,
        &["members added", "members removed"],
        &plan::MEMBERS,
    ),
    other("start-ups", "nodes_that_start_in_any_order_form_exactly_one_cluster_of_all", 40, formations::start_ups),
    other(
        "different-lists",
        "nodes_with_different_peer_lists_never_form_two_clusters",
        15,
        formations::different_lists,
    ),
    other("twins", "two_processes_of_the_lowest_id_never_form_two_clusters", 15, formations::twins),
    other("joining", "a_node_that_joins_forms_nothing_and_promises_itself_to_nobody", 6, formations::joining),
];
