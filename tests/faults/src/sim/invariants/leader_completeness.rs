//! A leader has all that was committed in earlier terms.

use std::collections::BTreeMap;

use dledger_sim::PointView;

use super::{Invariant, Moment};

/// The furthest commit point by the term in which it was seen, which is never below the term it was committed in.
#[derive(Default)]
pub(super) struct LeaderCompleteness(BTreeMap<u64, PointView>);

impl Invariant for LeaderCompleteness {
    fn check(&mut self, moment: &Moment<'_>) -> Result<(), String> {
        let view = moment.view;
        let Some(vote) = &view.vote else { return Ok(()) };
        let furthest = self.0.entry(vote.term).or_insert(view.committed);
        if view.committed.number > furthest.number {
            *furthest = view.committed;
        }
        let leads = vote.granted && vote.node.as_deref() == Some(&*format!("n{}", moment.node));
        let led = moment.before.is_some_and(|before| before.vote.as_ref() == Some(vote));
        if !leads || led {
            return Ok(());
        }
        let earlier = self.0.range(..vote.term).map(|(_, point)| *point).max_by_key(|point| point.number);
        let Some(point) = earlier.filter(|point| point.number > view.numbers.start) else { return Ok(()) };
        let last = point.number - 1;
        match moment.cluster.entry(moment.node, last) {
            Some(entry) if entry.chain == point.chain => Ok(()),
            Some(_) => Err(format!("it leads term {}, and entry {last}, which is committed, is another", vote.term)),
            None => Err(format!("it leads term {} without entry {last}, which is committed", vote.term)),
        }
    }
}
