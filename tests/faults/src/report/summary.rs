//! The numbers of a scenario: a line of the table.

use dledger_history::FaultPhase;

use super::calls::{Outcome, Span};
use super::faults::Fault;
use super::load::Load;
use super::nodes::{NodeTrack, time_to_agree};

/// The numbers of a scenario.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Summary {
    /// Nanoseconds from the first event to the last.
    pub length: u64,
    /// Calls of all kinds.
    pub calls: u64,
    pub ok: u64,
    pub failed: u64,
    pub unknown: u64,
    /// Records acknowledged.
    pub acked: u64,
    pub faults: u64,
    pub proven: u64,
    /// Nanoseconds of the longest time in which an ack was wanted and none came.
    pub longest: Option<u64>,
    /// Nanoseconds from the end of the last fault until every node knew to be committed what any node knew then.
    pub agree: Option<u64>,
}

impl Summary {
    pub fn of(length: u64, spans: &[Span<'_>], faults: &[Fault], nodes: &[NodeTrack], load: &Load) -> Self {
        let outcome = |outcome| spans.iter().filter(|span| span.outcome == outcome).count() as u64;
        let healed = || {
            let removed: Option<Vec<u64>> = faults.iter().map(|fault| fault.first(FaultPhase::Removed)).collect();
            removed?.into_iter().max()
        };
        Self {
            length,
            calls: spans.len() as u64,
            ok: outcome(Outcome::Ok),
            failed: outcome(Outcome::Fail),
            unknown: outcome(Outcome::Unknown),
            acked: spans.iter().map(Span::acked_records).sum(),
            faults: faults.len() as u64,
            proven: faults.iter().filter(|fault| fault.is_proven()).count() as u64,
            longest: load.longest.map(|(start, end)| end - start),
            agree: healed().and_then(|healed| time_to_agree(nodes, healed)),
        }
    }

    /// The numbers of both: sums, and the longest times.
    pub fn and(self, other: Self) -> Self {
        Self {
            length: self.length + other.length,
            calls: self.calls + other.calls,
            ok: self.ok + other.ok,
            failed: self.failed + other.failed,
            unknown: self.unknown + other.unknown,
            acked: self.acked + other.acked,
            faults: self.faults + other.faults,
            proven: self.proven + other.proven,
            longest: self.longest.max(other.longest),
            agree: self.agree.max(other.agree),
        }
    }
}
