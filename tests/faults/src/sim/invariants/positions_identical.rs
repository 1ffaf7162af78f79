//! A committed record is at one position, on every node.

use std::collections::HashMap;

use super::{Invariant, Moment};

/// Positions of committed entries by the index of their first record.
#[derive(Default)]
pub(super) struct PositionsIdentical(HashMap<u64, (u64, usize)>);

impl Invariant for PositionsIdentical {
    fn check(&mut self, moment: &Moment<'_>) -> Result<(), String> {
        for entry in moment.committed.iter().filter(|entry| entry.records > 0) {
            let (position, whose) = *self.0.entry(entry.index).or_insert((entry.position, moment.node));
            if position != entry.position {
                return Err(format!("index {} is at {}, on node {whose} at {position}", entry.index, entry.position));
            }
        }
        Ok(())
    }
}
