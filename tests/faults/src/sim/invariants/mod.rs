//! What must hold inside the nodes at every moment.
//!
//! | file | what must hold |
//! |---|---|
//! | `election_safety` | a term has one leader |
//! | `log_matching` | equal number and term: equal up to there |
//! | `leader_completeness` | a leader has all that was committed before its term |
//! | `committed_immutable` | what is committed is the same everywhere and for ever |
//! | `committed_durable` | what is committed would be left by a power loss of any minority |
//! | `pointers_ordered` | first <= committed <= end, durable <= end |
//! | `vote_monotone` | a vote is never taken back |
//! | `positions_identical` | a record is at one position, everywhere |
//!
//! A *step* is a message that arrives: before its receiver gets it, all nodes are looked at, as everything before
//! has left them. Of a node that has not changed since, nothing is looked at twice.

mod committed_durable;
mod committed_immutable;
mod election_safety;
mod leader_completeness;
mod log_matching;
mod pointers_ordered;
mod positions_identical;
mod vote_monotone;

use std::collections::{BTreeMap, BTreeSet};

use dledger::Durability;
use dledger_sim::{EntryView, NodeView, SimCluster};

use super::plan::Plan;

/// A node that has changed.
pub(super) struct Moment<'a> {
    cluster: &'a SimCluster,
    node: usize,
    view: &'a NodeView,
    /// What it was when it was last looked at, on the same disk.
    before: Option<&'a NodeView>,
    /// Entries that are new here.
    entries: &'a [EntryView],
    /// Those that this node has come to know to be committed, as far as it has them.
    committed: &'a [EntryView],
}

/// What must hold; a broken one says how.
trait Invariant: Send {
    fn check(&mut self, moment: &Moment<'_>) -> Result<(), String>;
}

/// Looks at all nodes, step after step.
pub(super) struct Watch {
    invariants: Vec<(&'static str, Box<dyn Invariant>)>,
    nodes: Vec<Seen>,
    /// An invariant does not hold. What fails then unwinds, which makes more steps: they look at nothing.
    broken: bool,
    pub(super) steps: u64,
    /// Times that a node had changed.
    pub(super) changes: u64,
    /// Committed entries that ended a segment, by number.
    pub(super) rolls: BTreeSet<u64>,
}

#[derive(Default)]
struct Seen {
    view: Option<NodeView>,
    /// Chain values of its entries by number, from the committed ones on.
    chains: BTreeMap<u64, u32>,
}

impl Watch {
    pub(super) fn new(plan: &Plan, nodes: usize) -> Self {
        let mut invariants: Vec<(&'static str, Box<dyn Invariant>)> = vec![
            ("election safety", Box::new(election_safety::ElectionSafety::default())),
            ("log matching", Box::new(log_matching::LogMatching::default())),
            ("leader completeness", Box::new(leader_completeness::LeaderCompleteness::default())),
            ("committed immutable", Box::new(committed_immutable::CommittedImmutable::default())),
            ("pointers ordered", Box::new(pointers_ordered::PointersOrdered)),
            ("vote monotone", Box::new(vote_monotone::VoteMonotone)),
            ("positions identical", Box::new(positions_identical::PositionsIdentical::default())),
        ];
        // Who the voters are is not known here where they come and go.
        if matches!(plan.durability, Durability::Sync) && plan.spares == 0 {
            let durable = committed_durable::CommittedDurable::new(plan.nodes);
            invariants.push(("committed durable", Box::new(durable)));
        }
        let nodes = (0..nodes).map(|_| Seen::default()).collect();
        Self { invariants, nodes, broken: false, steps: 0, changes: 0, rolls: BTreeSet::new() }
    }

    /// Looks at all nodes. Says the first thing that is wrong.
    pub(super) fn step(&mut self, cluster: &SimCluster) -> Result<(), String> {
        if self.broken {
            return Ok(());
        }
        self.steps += 1;
        for i in 0..self.nodes.len() {
            let Some(view) = cluster.view(i) else { continue };
            if self.nodes[i].view.as_ref() != Some(&view) {
                self.changed(cluster, i, view).inspect_err(|_| self.broken = true)?;
            }
        }
        Ok(())
    }

    fn changed(&mut self, cluster: &SimCluster, i: usize, view: NodeView) -> Result<(), String> {
        self.changes += 1;
        let seen = &mut self.nodes[i];
        let before = seen.view.take().filter(|before| before.disk == view.disk);
        let same_life = before.as_ref().is_some_and(|before| before.start == view.start);
        if !same_life {
            seen.chains.clear();
        }
        // What is below was compared by the chain value of the commit point.
        let lowest = match &before {
            Some(before) if same_life => before.committed.number.max(view.numbers.start),
            _ => view.committed.number.max(view.numbers.start),
        };
        let chain = |number| cluster.entry(i, number).map(|entry| entry.chain);
        let mut from = view.numbers.end.min(seen.chains.last_key_value().map_or(lowest, |(last, _)| last + 1));
        // The end may have been cut off and written anew since.
        while from > lowest && chain(from - 1) != seen.chains.get(&(from - 1)).copied() {
            from -= 1;
        }
        let entries: Vec<_> = (from.max(lowest)..view.numbers.end).filter_map(|n| cluster.entry(i, n)).collect();
        seen.chains.split_off(&from);
        seen.chains.extend(entries.iter().map(|entry| (entry.number, entry.chain)));
        let committed: Vec<_> = (lowest..view.committed.number).filter_map(|n| cluster.entry(i, n)).collect();
        self.rolls.extend(committed.iter().filter(|entry| entry.rolls).map(|entry| entry.number));
        let moment =
            Moment { cluster, node: i, view: &view, before: before.as_ref(), entries: &entries, committed: &committed };
        for (name, invariant) in &mut self.invariants {
            invariant.check(&moment).map_err(|broken| format!("{name}, node {i}: {broken}; it holds {view:?}"))?;
        }
        seen.chains = seen.chains.split_off(&view.committed.number.saturating_sub(1));
        seen.view = Some(view);
        Ok(())
    }
}
