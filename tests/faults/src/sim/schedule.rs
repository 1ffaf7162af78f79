//! What goes wrong and when: data, drawn from the seed before the run, so that a run can be repeated with less of it.

use dledger_sim::Rng;
use serde::{Deserialize, Serialize};

use super::plan::Plan;

/// Steps in the order of time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Schedule(pub Vec<Step>);

/// One thing that goes wrong, or is asked of the cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// When it begins, in milliseconds after the first master.
    pub at: u64,
    /// How long it lasts, if it lasts.
    pub lasts: u64,
    /// What it is.
    pub kind: Kind,
    /// To whom, by number; a node that cannot be had stands for the next one that can.
    pub nodes: Vec<Who>,
    /// How much of it: per mille, milliseconds, calls, bytes.
    #[serde(default)]
    pub much: i64,
}

/// To whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Who {
    /// The node that is the master then; node 0 if none is.
    Master,
    /// A node.
    Node(usize),
}

/// What it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "the names say it; `nemesis` does it")]
pub enum Kind {
    Isolate,
    OneWay,
    Mute,
    Deaf,
    Ring,
    Bridge,
    Loss,
    SlowLink,
    Duplicates,
    Disorder,
    PowerLoss,
    /// As soon as something is acknowledged, and nothing is left that was not synced.
    PowerLossAtAck,
    Kill,
    KillAtAck,
    Stop,
    SyncFails,
    WriteFails,
    ReadFails,
    Full,
    Hang,
    SlowDisk,
    Rot,
    Jump,
    Wipe,
    Transfer,
    Grow,
    Shrink,
    RemoveBelow,
}

impl Kind {
    /// Its name in a history.
    pub(super) fn name(self) -> String {
        let name = serde_json::to_string(&self).expect("a name");
        name.trim_matches('"').to_owned()
    }
}

impl Schedule {
    /// What the seed says.
    pub fn draw(seed: u64, plan: &Plan) -> Self {
        let mut rng = Rng::new(seed ^ 0x5c4e_d01e);
        let mut at = 0;
        let step = |_| {
            at += 40 + rng.below(450);
            Step::draw(&mut rng, plan, at)
        };
        Self((0..plan.steps).map(step).collect())
    }

    /// Reads what [`Schedule::text`] wrote: the text itself, or the name of a file that holds it.
    ///
    /// # Panics
    /// If it is no schedule.
    pub fn read(text_or_file: &str) -> Self {
        let text = if text_or_file.trim_start().starts_with('[') {
            text_or_file.to_owned()
        } else {
            std::fs::read_to_string(text_or_file).unwrap_or_else(|error| panic!("{text_or_file}: {error}"))
        };
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("no schedule: {error}: {text}"))
    }

    /// The schedule as JSON, a step a line.
    pub fn text(&self) -> String {
        let step = |step| serde_json::to_string(step).expect("a step is JSON");
        format!("[{}]", self.0.iter().map(step).collect::<Vec<_>>().join(",\n "))
    }
}

impl Step {
    fn draw(rng: &mut Rng, plan: &Plan, at: u64) -> Self {
        let kind = plan.kinds[rng.below(plan.kinds.len() as u64) as usize];
        let size = plan.nodes as u64;
        let first = rng.below(size);
        let second = (first + 1 + rng.below(size - 1)) % size;
        let (node, other) = (Who::Node(first as usize), Who::Node(second as usize));
        let one = if rng.chance(400) { Who::Master } else { node };
        let mut lasts = 150 + rng.below(900);
        let (nodes, much) = match kind {
            // Long enough for others to elect another master.
            Kind::Isolate | Kind::Mute | Kind::Deaf | Kind::Bridge => {
                lasts += 400;
                (vec![one], 0)
            }
            Kind::Stop | Kind::Grow | Kind::Transfer => (vec![one], 0),
            // With the master at one end: slaves hardly talk to each other.
            Kind::OneWay if rng.chance(500) => (vec![Who::Master, other], 0),
            Kind::OneWay => (vec![other, Who::Master], 0),
            Kind::Ring => (vec![], 0),
            Kind::Loss => (vec![], 20 + rng.below(80)),
            Kind::Duplicates => (vec![], 100 + rng.below(400)),
            Kind::Disorder => (vec![], 50 + rng.below(150)),
            Kind::SlowLink => (vec![Who::Master, other], 20 + rng.below(150)),
            Kind::PowerLoss | Kind::PowerLossAtAck | Kind::Kill | Kind::KillAtAck => {
                let all: Vec<_> = (0..plan.nodes).map(Who::Node).collect();
                // All, a quorum with the master, or one.
                let nodes = match rng.below(4) {
                    0 => all,
                    1 | 2 => all.into_iter().take(plan.nodes / 2).chain([Who::Master]).collect(),
                    _ => vec![one],
                };
                (nodes, rng.below(3))
            }
            Kind::SyncFails | Kind::WriteFails => (vec![one], rng.below(12)),
            Kind::ReadFails => (vec![one], rng.below(6)),
            Kind::Full => {
                lasts += 600;
                (vec![one], rng.below(40_000))
            }
            Kind::Hang => (vec![one], 0),
            Kind::SlowDisk => (vec![one], 5 + rng.below(120)),
            Kind::Rot => (vec![one], rng.below(1 << 32)),
            // The clock of the master is the one that records are stamped with.
            Kind::Jump => (vec![Who::Master], 1 + rng.below(3_600_000)),
            Kind::Wipe => (vec![node], 0),
            Kind::Shrink => (vec![Who::Node(rng.below(size + plan.spares as u64) as usize)], 0),
            Kind::RemoveBelow => (vec![node], rng.below(1001)),
        };
        let much = much as i64 * if kind == Kind::Jump && rng.chance(500) { -1 } else { 1 };
        Self { at, lasts, kind, nodes, much }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::plan;

    #[test]
    fn a_schedule_is_what_its_text_says() {
        let schedule = Schedule::draw(7, &plan::PARTITIONS);
        assert_eq!(Schedule::read(&schedule.text()), schedule);
        assert_ne!(Schedule::draw(8, &plan::PARTITIONS), schedule);
        assert_eq!(schedule.0.len() as u64, plan::PARTITIONS.steps);
    }
}
