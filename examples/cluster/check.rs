//! What every node must hold.

use std::collections::HashMap;

use bytes::Bytes;
use dledger::{Client, ReadLimit};
use futures::StreamExt;

use crate::load::Outcome;
use crate::nodes::Nodes;
use crate::{Result, text};

/// What was found.
pub(crate) struct Verdict {
    /// Records read from each node.
    pub(crate) records: u64,
    /// Acknowledged records that are not at their index with their bytes on some node.
    pub(crate) lost: usize,
    /// Records that are there more than once although no outcome was unknown.
    pub(crate) duplicates: usize,
    /// Indexes that are missing or that hold what was never appended.
    pub(crate) holes: usize,
    /// Whether the stored bytes of all nodes are the same.
    pub(crate) identical: bool,
    /// Terms that records were appended in.
    pub(crate) elections: usize,
}

/// Reads every record from every node and compares it with what was appended and acknowledged.
pub(crate) async fn records(
    client: &Client,
    cluster: &Nodes,
    lines: &[Bytes],
    outcome: &Outcome,
    end: u64,
) -> Result<Verdict> {
    let mut verdict = Verdict { records: end, lost: 0, duplicates: 0, holes: 0, identical: false, elections: 0 };
    for id in cluster.ids() {
        let mut stream = client.node(id)?.read_stream(0.., ReadLimit::bytes(usize::MAX)).await?;
        let mut found = vec![false; lines.len()];
        let mut times: HashMap<usize, usize> = HashMap::new();
        let mut terms = std::collections::HashSet::new();
        let mut expected = 0;
        while let Some(record) = stream.next().await {
            let record = record?;
            verdict.holes += usize::from(record.index != expected);
            expected = record.index + 1;
            terms.insert(record.term);
            match text::number(&record.body).filter(|number| lines.get(*number) == Some(&record.body)) {
                Some(number) => {
                    *times.entry(number).or_default() += 1;
                    found[number] |= outcome.index[number] == Some(record.index);
                }
                // Not one of ours: its index holds nothing that was appended.
                None => verdict.holes += 1,
            }
        }
        verdict.holes += end.abs_diff(expected) as usize;
        verdict.elections = verdict.elections.max(terms.len());
        verdict.lost += (0..lines.len()).filter(|n| outcome.index[*n].is_some() && !found[*n]).count();
        let twice = times.iter().filter(|(number, times)| **times > 1 && !outcome.doubtful.contains(number));
        verdict.duplicates += twice.count();
    }
    Ok(verdict)
}
