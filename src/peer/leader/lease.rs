//! How long a follower is bound to a leader: the rules of [`watch`](super::watch), without its tasks.

use std::time::Duration;

use openraft::Instant;

use crate::config::timing::patience;
use crate::raft::log_id::RaftVote;

/// What a follower has promised to its leader, and which leader it has given up.
pub(super) struct LeaderLease<I> {
    /// The leader whose append this node took last, and until when that leader may count on it.
    heard: Option<(RaftVote, I)>,
    /// The leader that this node gave up: it takes no append of that leader any more.
    given_up: Option<RaftVote>,
    /// Number of votes that this node is giving because it gave that leader up.
    voting: usize,
    /// How many appends were taken.
    appends: u64,
}

impl<I: Instant> LeaderLease<I> {
    pub(super) fn new() -> Self {
        Self { heard: None, given_up: None, voting: 0, appends: 0 }
    }

    /// Notes an append of `leader` that has arrived and that Raft has not seen. `false`: this node has given the leader
    /// up, and Raft must not see the append.
    pub(super) fn hear(&mut self, leader: &RaftVote, window: Duration, now: I) -> bool {
        if self.given_up.as_ref() == Some(leader) {
            return false;
        }
        self.appends += 1;
        let until = now + patience(window);
        match &mut self.heard {
            // A window that shrinks does not take back what was granted before.
            Some((known, before)) if known == leader => *before = until.max(*before),
            // A late append of a leader that was succeeded. Raft will refuse it.
            Some((known, _)) if known.leader_id.term > leader.leader_id.term => {}
            heard => *heard = Some((leader.clone(), until)),
        }
        true
    }

    /// How many appends were taken so far.
    pub(super) fn appends(&self) -> u64 {
        self.appends
    }

    /// Whether this node has heard a leader after `leader`.
    pub(super) fn has_heard_after(&self, leader: &RaftVote) -> bool {
        self.heard.as_ref().is_some_and(|(heard, _)| heard.leader_id.term > leader.leader_id.term)
    }

    /// Gives `leader` up, unless it may still count on its last append.
    ///
    /// # Errors
    /// How much longer the leader may count on it.
    pub(super) fn give_up(&mut self, leader: &RaftVote, now: I) -> Result<(), Duration> {
        match &self.heard {
            Some((heard, until)) if heard == leader && *until > now => Err(*until - now),
            _ => {
                self.given_up = Some(leader.clone());
                Ok(())
            }
        }
    }

    /// Whether a vote for `candidate` may be given although the leader's lease is not over. If so,
    /// [`voted`](Self::voted) must follow.
    pub(super) fn frees(&mut self, candidate: &RaftVote) -> bool {
        // Not for a still later term: the lease may be that of a leader that came after the leader given up.
        let next = |leader: &RaftVote| leader.leader_id.term.checked_add(1) == Some(candidate.leader_id.term);
        let frees = self.given_up.as_ref().is_some_and(next);
        self.voting += usize::from(frees);
        frees
    }

    /// A freed vote has been given, or refused.
    pub(super) fn voted(&mut self) {
        self.voting -= 1;
    }

    /// Takes appends of the leader that was given up again. `false`: not yet, because a vote that is being given would
    /// break the lease that the next append grants.
    pub(super) fn resume(&mut self) -> bool {
        if self.voting == 0 {
            self.given_up = None;
        }
        self.voting == 0
    }
}

#[cfg(test)]
mod tests {
    use openraft::AsyncRuntime;

    use super::*;
    use crate::raft::TokioRuntime;
    use crate::types::NodeId;

    const WINDOW: Duration = Duration::from_millis(100);

    fn lease() -> (LeaderLease<<TokioRuntime as AsyncRuntime>::Instant>, <TokioRuntime as AsyncRuntime>::Instant) {
        (LeaderLease::new(), <TokioRuntime as AsyncRuntime>::Instant::now())
    }

    fn leader(term: u64) -> RaftVote {
        RaftVote::new_committed(term, NodeId::new(1))
    }

    fn candidate(term: u64) -> RaftVote {
        RaftVote::new(term, NodeId::new(2))
    }

    #[test]
    fn a_leader_is_not_given_up_while_it_may_count_on_an_append() {
        let (mut lease, now) = lease();
        assert!(lease.hear(&leader(3), WINDOW, now));
        assert!(lease.hear(&leader(3), Duration::ZERO, now + WINDOW / 2));
        let left = lease.give_up(&leader(3), now + WINDOW).unwrap_err();
        assert_eq!(left, patience(WINDOW) - WINDOW);
        assert!(!lease.frees(&candidate(4)));
        assert_eq!(lease.give_up(&leader(3), now + patience(WINDOW)), Ok(()));
        assert!(lease.frees(&candidate(4)));
    }

    #[test]
    fn late_news_of_an_old_leader_does_not_undo_what_was_promised_to_the_next() {
        let (mut lease, now) = lease();
        assert!(lease.hear(&leader(3), WINDOW, now));
        assert!(lease.hear(&leader(2), WINDOW, now));
        assert!(lease.give_up(&leader(3), now).is_err());
        assert!(lease.has_heard_after(&leader(2)) && !lease.has_heard_after(&leader(3)));
    }

    #[test]
    fn nothing_is_taken_from_a_leader_that_was_given_up() {
        let (mut lease, now) = lease();
        lease.give_up(&leader(3), now).unwrap();
        assert!(!lease.hear(&leader(3), WINDOW, now));
        // Another leader is another matter.
        assert!(lease.hear(&leader(4), WINDOW, now));
    }

    #[test]
    fn only_a_vote_of_the_next_term_is_freed() {
        let (mut lease, now) = lease();
        lease.give_up(&leader(3), now).unwrap();
        for term in [0, 3, 5, u64::MAX] {
            assert!(!lease.frees(&candidate(term)), "{term}");
        }
        lease.give_up(&leader(u64::MAX), now).unwrap();
        assert!(!lease.frees(&candidate(0)));
    }

    #[test]
    fn a_leader_that_lives_after_all_leads_on_but_not_past_a_vote_that_is_being_given() {
        let (mut lease, now) = lease();
        lease.give_up(&leader(3), now).unwrap();
        assert!(lease.frees(&candidate(4)));
        assert!(!lease.resume());
        assert!(!lease.hear(&leader(3), WINDOW, now));
        lease.voted();
        assert!(lease.resume());
        assert!(lease.hear(&leader(3), WINDOW, now));
        assert!(!lease.frees(&candidate(4)));
    }
}
