//! A vote is never taken back: not by a newer one of a lower term, not for somebody else in the same term, and not by a
//! restart.

use super::{Invariant, Moment};

pub(super) struct VoteMonotone;

impl Invariant for VoteMonotone {
    fn check(&mut self, moment: &Moment<'_>) -> Result<(), String> {
        let Some(before) = moment.before.and_then(|before| before.vote.as_ref()) else { return Ok(()) };
        let Some(vote) = &moment.view.vote else { return Err(format!("its vote is gone: it was {before:?}")) };
        // A candidate that lost follows the winner.
        let other = before.node.is_some() && vote.node != before.node && (before.granted || !vote.granted);
        if vote.term < before.term || vote.term == before.term && (other || before.granted && !vote.granted) {
            return Err(format!("its vote was {before:?}"));
        }
        Ok(())
    }
}
