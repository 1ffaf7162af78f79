//! What is committed is on the disks of a quorum: a power loss of all nodes would leave it there.
//!
//! The disks are asked, not the nodes, for the very bytes. That nobody has removed them yet is sure: it is looked at
//! when the first node has come to know that they are committed.

use super::{Invariant, Moment};

/// Up to where it was looked at.
pub(super) struct CommittedDurable {
    number: u64,
    nodes: usize,
}

impl CommittedDurable {
    pub(super) fn new(nodes: usize) -> Self {
        Self { number: 0, nodes }
    }
}

impl Invariant for CommittedDurable {
    fn check(&mut self, moment: &Moment<'_>) -> Result<(), String> {
        for entry in moment.committed.iter().filter(|entry| entry.number >= self.number) {
            let range = entry.position..entry.position + entry.size;
            let entry_bytes = moment.cluster.live_bytes(moment.node, range.clone());
            let holds = |i: &usize| moment.cluster.durable_bytes(*i, range.clone()) == entry_bytes;
            let holders: Vec<_> = (0..self.nodes).filter(holds).collect();
            if holders.len() <= self.nodes / 2 {
                return Err(format!("entry {} is committed and only durable on {holders:?}", entry.number));
            }
        }
        self.number = self.number.max(moment.view.committed.number);
        Ok(())
    }
}
