//! What is committed is the same everywhere and for ever.

use std::collections::HashMap;

use super::{Invariant, Moment};

/// Chain values of committed entries by number, and who had them first.
#[derive(Default)]
pub(super) struct CommittedImmutable(HashMap<u64, (u32, usize)>);

impl Invariant for CommittedImmutable {
    fn check(&mut self, moment: &Moment<'_>) -> Result<(), String> {
        let point = moment.view.committed;
        let last = point.number.checked_sub(1).map(|last| (last, point.chain));
        for (number, chain) in moment.committed.iter().map(|entry| (entry.number, entry.chain)).chain(last) {
            let (known, whose) = *self.0.entry(number).or_insert((chain, moment.node));
            if known != chain {
                return Err(format!("entry {number} is committed, and another one was on node {whose}"));
            }
        }
        Ok(())
    }
}
