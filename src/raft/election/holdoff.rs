//! Keeps a node that has just started out of elections, because of what it may have promised or acknowledged before.
//!
//! A follower that acknowledges a request promises to elect no other node for a while, and the leader serves lease
//! reads on the strength of that. openraft keeps the promise in memory only: a process that dies and comes back at once
//! would break it. So a node that starts keeps out of elections for as long as any such promise may last.
//!
//! The node may also have come back with less than it acknowledged (see [`lost_entries`](super::lost_entries)), and
//! with an older vote. It cannot know; its leader does, and says so. So it keeps out of elections until a leader has
//! called it, or has had the time to: a leader without a quorum is silent now and then.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, Semaphore};

use crate::format::hard_state::HardVote;
use crate::raft::membership::codec::StoredMembership;
use crate::raft::type_config::Runtime;
use crate::types::NodeId;

/// Whether this node may vote and stand; waits until it may.
#[derive(Debug, Clone)]
pub(crate) struct ElectionHoldoff {
    /// The holdoff is over when this semaphore, which has no permits, is closed. A `watch` would wake waiting tasks in
    /// any order; a semaphore wakes them in theirs, so that a simulation's seed determines which candidate is answered
    /// first.
    over: Arc<Semaphore>,
    reminded: Arc<Notify>,
}

impl ElectionHoldoff {
    /// Whether the node must keep out of elections at its start. Not if it has never voted, and not if it is the only
    /// voter. What its vote says does not matter: the disk may have been set back to an older one.
    pub(crate) fn is_due(id: &NodeId, vote: Option<&HardVote>, members: &StoredMembership) -> bool {
        let mut voters = members.membership().voter_ids().peekable();
        let alone = voters.peek().is_some() && voters.all(|voter| voter == *id);
        vote.is_some() && !alone
    }

    /// Starts the holdoff. `patience`: how long a promise lasts; `silence`: how long a living leader may be silent.
    pub(crate) fn start<R: Runtime>(patience: Duration, silence: Duration) -> Self {
        let holdoff = Self { over: Arc::new(Semaphore::new(0)), reminded: Arc::default() };
        let waiting = holdoff.clone();
        // The task ends by itself, or with its runtime, as all that waits for it does.
        drop(R::spawn(async move {
            R::sleep(patience).await;
            tokio::select! {
                biased;
                () = waiting.reminded.notified() => {}
                () = R::sleep(silence.saturating_sub(patience)) => {}
            }
            waiting.over.close();
        }));
        holdoff
    }

    /// A holdoff that is over.
    pub(crate) fn none() -> Self {
        let over = Semaphore::new(0);
        over.close();
        Self { over: Arc::new(over), reminded: Arc::default() }
    }

    /// To be called when a leader has called, and its reminder is noted in `LostEntries`.
    pub(crate) fn reminded(&self) {
        if !self.is_over() {
            self.reminded.notify_one();
        }
    }

    /// Whether this node may vote and stand.
    pub(crate) fn is_over(&self) -> bool {
        self.over.is_closed()
    }

    /// Returns when this node may vote and stand.
    pub(crate) async fn over(&self) {
        // There are no permits: this ends with an error, when the semaphore is closed.
        let _ = self.over.acquire().await;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use openraft::{AsyncRuntime, Instant};

    use super::*;
    use crate::raft::TokioRuntime;
    use crate::raft::membership::codec::{MemberNode, Membership};
    use crate::types::Incarnation;

    fn members(ids: &[u64]) -> StoredMembership {
        let node = || MemberNode { address: "h:1".into(), incarnation: Incarnation::from_u128(7), cluster: None };
        let nodes: BTreeMap<_, _> = ids.iter().map(|id| (NodeId::new(*id), node())).collect();
        let voters = if ids.is_empty() { vec![] } else { vec![nodes.keys().cloned().collect()] };
        StoredMembership::new(None, Membership::new(voters, nodes).unwrap())
    }

    #[test]
    fn only_a_node_that_has_never_voted_or_is_the_only_voter_may_vote_at_once() {
        let own = NodeId::new(1);
        let vote = |node: u64, granted| HardVote { term: 3, node: Some(NodeId::new(node)), granted };
        for (node, granted) in [(0, true), (0, false), (1, true), (1, false)] {
            for voters in [&[0, 1][..], &[0], &[]] {
                assert!(
                    ElectionHoldoff::is_due(&own, Some(&vote(node, granted)), &members(voters)),
                    "{node} {granted}"
                );
            }
            assert!(!ElectionHoldoff::is_due(&own, Some(&vote(node, granted)), &members(&[1])));
        }
        assert!(!ElectionHoldoff::is_due(&own, None, &members(&[0, 1])));
    }

    #[tokio::test(start_paused = true)]
    async fn a_node_waits_until_a_leader_calls_and_no_longer_than_one_may_be_silent() {
        let (patience, silence) = (Duration::from_secs(1), Duration::from_secs(10));
        let now = <TokioRuntime as AsyncRuntime>::Instant::now;
        let began = now();
        let told = ElectionHoldoff::start::<TokioRuntime>(patience, silence);
        // Early, and more than once: the promise lasts all the same.
        told.reminded();
        told.reminded();
        told.over().await;
        assert_eq!(now() - began, patience);
        let alone = ElectionHoldoff::start::<TokioRuntime>(patience, silence);
        alone.over().await;
        assert_eq!(now() - began, patience + silence);
    }
}
