//! A lane for each client: the calls that matter one by one, and all of them counted in bins.
//!
//! A browser draws thousands of bars fluently and hundred thousands not, and nobody could tell them apart. So there is
//! a budget of calls that are drawn one by one: those of a violation first, then those nobody can say the outcome of,
//! those around a violation, those that failed, the slowest. What is not drawn is in the bins; no outcome is hidden.

use std::collections::{BTreeMap, HashSet};

use super::calls::{Outcome, Span};

/// Lanes, at most: further clients share the last one.
const LANES: usize = 24;
/// Bins of a lane.
const BINS: u64 = 500;
/// Rows of bars in a lane, for a client that has several calls under way.
const ROWS: usize = 4;

/// One lane.
#[derive(Debug, Clone, Default)]
pub(super) struct Lane {
    pub name: String,
    /// Positions in the list of all calls, with the row each is drawn in.
    pub calls: Vec<(usize, usize)>,
    /// Rows that are in use.
    pub rows: usize,
    /// Number of a bin, and the calls that ended in it: ok, failed, unknown. Empty if every call is drawn.
    pub bins: Vec<(u64, [u64; 3])>,
    /// All calls: ok, failed, unknown.
    pub total: [u64; 3],
}

/// Lanes, and the nanoseconds of their bins.
#[derive(Debug, Clone, Default)]
pub(super) struct Lanes {
    pub lanes: Vec<Lane>,
    pub bin: u64,
}

/// The lanes of `spans`, in a history of the moments `from..=to`, with at most `budget` calls drawn one by one besides
/// those of `marked`: the numbers of the calls of violations.
pub(super) fn lanes(spans: &[Span<'_>], marked: &HashSet<u64>, from: u64, to: u64, budget: usize) -> Lanes {
    let bin = ((to - from) / BINS).max(1_000_000);
    let kept = choose(spans, marked, budget);
    let lane_of = assign(spans, marked);
    let shared = lane_of.values().copied().max().unwrap_or(0);
    let mut lanes: Vec<Lane> = vec![Lane::default(); lane_of.values().collect::<HashSet<_>>().len()];
    let mut bins: Vec<BTreeMap<u64, [u64; 3]>> = vec![BTreeMap::new(); lanes.len()];
    let mut ends: Vec<[u64; ROWS]> = vec![[0; ROWS]; lanes.len()];
    for (i, span) in spans.iter().enumerate() {
        let at = lane_of[&span.client];
        let lane = &mut lanes[at];
        lane.total[span.outcome as usize] += 1;
        bins[at].entry((span.end - from) / bin).or_default()[span.outcome as usize] += 1;
        if kept.contains(&i) {
            let ends = &mut ends[at];
            let row = ends.iter().position(|&end| end <= span.start).unwrap_or(i % ROWS);
            ends[row] = ends[row].max(span.end);
            lane.rows = lane.rows.max(row + 1);
            lane.calls.push((i, row));
        }
    }
    for (lane, bins) in lanes.iter_mut().zip(bins) {
        if (lane.calls.len() as u64) < lane.total.iter().sum() {
            lane.bins = bins.into_iter().collect();
        }
    }
    for (client, &at) in &lane_of {
        lanes[at].name = format!("client {client}");
    }
    let alone = lane_of.values().filter(|&&lane| lane == shared).count();
    if let Some(lane) = lanes.last_mut().filter(|_| alone > 1) {
        lane.name = format!("{alone} more clients");
    }
    Lanes { lanes, bin }
}

/// Which lane each client is drawn in: by number, those of violations in any case in one of their own.
fn assign(spans: &[Span<'_>], marked: &HashSet<u64>) -> BTreeMap<u64, usize> {
    let all: BTreeMap<u64, bool> = spans.iter().fold(BTreeMap::new(), |mut all, span| {
        *all.entry(span.client).or_default() |= marked.contains(&span.op);
        all
    });
    if all.len() <= LANES {
        return all.into_keys().zip(0..).collect();
    }
    let mut order: Vec<(bool, u64)> = all.into_iter().map(|(client, marked)| (!marked, client)).collect();
    order.sort_unstable();
    let (own, shared) = order.split_at(LANES - 1);
    let mut own: Vec<u64> = own.iter().map(|&(_, client)| client).collect();
    own.sort_unstable();
    let own = own.into_iter().zip(0..);
    own.chain(shared.iter().map(|&(_, client)| (client, LANES - 1))).collect()
}

/// The calls that are drawn one by one.
fn choose(spans: &[Span<'_>], marked: &HashSet<u64>, budget: usize) -> HashSet<usize> {
    let all = 0..spans.len();
    if spans.len() <= budget {
        return all.collect();
    }
    let mut kept: HashSet<usize> = all.clone().filter(|&i| marked.contains(&spans[i].op)).collect();
    let around: Vec<(u64, u64)> = kept.iter().map(|&i| (spans[i].start, spans[i].end)).collect();
    let near = |span: &Span<'_>| around.iter().any(|&(start, end)| span.start <= end && start <= span.end);
    let unknown: Vec<usize> = all.clone().filter(|&i| spans[i].outcome == Outcome::Unknown).collect();
    let beside: Vec<usize> = all.clone().filter(|&i| near(&spans[i])).collect();
    let failed: Vec<usize> = all.clone().filter(|&i| spans[i].outcome == Outcome::Fail).collect();
    let mut slowest: Vec<usize> = all.collect();
    slowest.sort_by_key(|&i| std::cmp::Reverse(spans[i].length()));
    // Each kind has its share, so that a flood of one does not hide the others.
    for (some, share) in [(unknown, budget / 3), (beside, budget / 6), (failed, budget / 6)] {
        let step = some.len().div_ceil(share.max(1)).max(1);
        kept.extend(some.into_iter().step_by(step));
    }
    for i in slowest {
        if kept.len() >= budget {
            break;
        }
        kept.insert(i);
    }
    kept
}
