//! The faults of a history: when each was there, and whether it is proven.

use std::collections::BTreeMap;

use dledger_history::{Event, FaultEvent, FaultPhase, What};

/// Faults side by side on the timeline, at most.
const ROWS: usize = 6;

/// One fault from its first event to its last.
#[derive(Debug, Clone)]
pub(super) struct Fault {
    pub number: u64,
    pub kind: String,
    pub nodes: Vec<String>,
    pub start: u64,
    /// The end of the history, where it was not removed.
    pub end: u64,
    pub phases: Vec<Phase>,
    /// The row of the strip it is drawn in.
    pub row: usize,
}

/// An event of a fault.
#[derive(Debug, Clone)]
pub(super) struct Phase {
    pub at: u64,
    pub phase: FaultPhase,
    pub evidence: String,
}

impl Fault {
    pub fn has(&self, phase: FaultPhase) -> bool {
        self.phases.iter().any(|one| one.phase == phase)
    }

    /// Installed, observed and removed.
    pub fn is_proven(&self) -> bool {
        self.lacks().is_empty()
    }

    /// What it lacks to be proven, in words.
    pub fn lacks(&self) -> Vec<&'static str> {
        let all = [FaultPhase::Installed, FaultPhase::Observed, FaultPhase::Removed];
        all.into_iter().filter(|&phase| !self.has(phase)).map(word).collect()
    }

    /// Whether the process of its nodes is gone from its installation until they speak again.
    pub fn takes_down(&self) -> bool {
        let kind = self.kind.to_lowercase();
        ["kill", "crash", "power"].iter().any(|word| kind.contains(word))
    }

    pub fn first(&self, phase: FaultPhase) -> Option<u64> {
        self.phases.iter().find(|one| one.phase == phase).map(|one| one.at)
    }
}

/// `installed`.
pub(super) fn word(phase: FaultPhase) -> &'static str {
    match phase {
        FaultPhase::Installed => "installed",
        FaultPhase::Observed => "observed",
        FaultPhase::Removed => "removed",
    }
}

/// All faults, in the order they began.
pub(super) fn faults(events: &[Event]) -> Vec<Fault> {
    let last = events.iter().map(|event| event.at).max().unwrap_or(0);
    let mut all: BTreeMap<u64, Fault> = BTreeMap::new();
    for event in events {
        let What::Fault(FaultEvent { fault, kind, nodes, phase, evidence }) = &event.what else { continue };
        let one = all.entry(*fault).or_insert_with(|| Fault {
            number: *fault,
            kind: kind.clone(),
            nodes: nodes.clone(),
            start: event.at,
            end: last,
            phases: Vec::new(),
            row: 0,
        });
        for node in nodes.iter().filter(|node| !one.nodes.contains(node)).cloned().collect::<Vec<_>>() {
            one.nodes.push(node);
        }
        if *phase == FaultPhase::Removed {
            one.end = event.at;
        }
        one.phases.push(Phase { at: event.at, phase: *phase, evidence: evidence.clone() });
    }
    let mut all: Vec<Fault> = all.into_values().collect();
    all.sort_by_key(|fault| (fault.start, fault.number));
    lay_out(&mut all, last);
    all
}

/// Gives each fault a row in which nothing else is drawn as long as it lasts, while there are rows. A short one keeps
/// its row for a while: its label needs the room.
fn lay_out(all: &mut [Fault], last: u64) {
    let label = last / 8;
    let mut free_from = [0_u64; ROWS];
    for (i, fault) in all.iter_mut().enumerate() {
        fault.row = free_from.iter().position(|&free| free <= fault.start).unwrap_or(i % ROWS);
        free_from[fault.row] = fault.end.max(fault.start.saturating_add(label));
    }
}
