//! Two logs that have an entry of the same number and term are equal up to there.

use std::collections::HashMap;

use super::{Invariant, Moment};

/// Chain values, which stand for everything up to an entry, by number and term.
#[derive(Default)]
pub(super) struct LogMatching(HashMap<(u64, u64), (u32, usize)>);

impl Invariant for LogMatching {
    fn check(&mut self, moment: &Moment<'_>) -> Result<(), String> {
        for entry in moment.entries {
            let (chain, whose) = *self.0.entry((entry.number, entry.term)).or_insert((entry.chain, moment.node));
            if chain != entry.chain {
                return Err(format!("entry {} of term {} is another on node {whose}", entry.number, entry.term));
            }
        }
        Ok(())
    }
}
