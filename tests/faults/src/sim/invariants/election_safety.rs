//! A term has one leader.

use std::collections::BTreeMap;

use super::{Invariant, Moment};

/// Leaders by term: whom a quorum has granted its votes.
#[derive(Default)]
pub(super) struct ElectionSafety(BTreeMap<u64, String>);

impl Invariant for ElectionSafety {
    fn check(&mut self, moment: &Moment<'_>) -> Result<(), String> {
        let Some(vote) = moment.view.vote.as_ref().filter(|vote| vote.granted) else { return Ok(()) };
        let Some(leader) = &vote.node else { return Ok(()) };
        let known = self.0.entry(vote.term).or_insert_with(|| leader.clone());
        if known == leader { Ok(()) } else { Err(format!("term {} has two leaders: {known} and {leader}", vote.term)) }
    }
}
