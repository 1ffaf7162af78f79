//! Keeps a node that has just started out of elections, for what it may have promised or acknowledged before.
//!
//! A follower that acknowledges a request promises to elect nobody else for a while, and the leader serves reads on the
//! strength of that. openraft keeps the promise in memory only: a process that dies and comes back at once would break
//! it. So it keeps away from elections for as long as any such promise may last.
//!
//! And a node may have come back with less than it acknowledged (see [`lost_entries`](super::lost_entries)), and with
//! an older vote. It cannot know; its leader does, and says so. So it keeps away from elections until a leader has
//! spoken to it, or has had the time to: one without a quorum is silent now and then.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, Semaphore};

use crate::format::hard_state::HardVote;
use crate::raft::membership::codec::StoredMembership;
use crate::raft::type_config::Runtime;
use crate::types::NodeId;

/// Whether votes may be given and asked for; waits until they may.
#[derive(Debug, Clone)]
pub(crate) struct ElectionHoldoff {
    /// Over when the semaphore, which has no permits, is closed. A `watch` would wake those who wait in any order; here
    /// they answer candidates, and a seed of a simulation is to determine who is answered first.
    over: Arc<Semaphore>,
    reminded: Arc<Notify>,
}

impl ElectionHoldoff {
    /// Whether the node must keep away from elections at its start. Not if it has never voted, nor if nobody else is a
    /// voter. What its vote says does not matter: that may be an older one.
    pub(crate) fn is_due(id: &NodeId, vote: Option<&HardVote>, members: &StoredMembership) -> bool {
        let mut voters = members.membership().voter_ids().peekable();
        let alone = voters.peek().is_some() && voters.all(|voter| voter == *id);
        vote.is_some() && !alone
    }

    /// Starts the wait. `patience`: how long a promise lasts; `silence`: how soon a leader that lives speaks.
    pub(crate) fn start<R: Runtime>(patience: Duration, silence: Duration) -> Self {
        let hold = Self { over: Arc::new(Semaphore::new(0)), reminded: Arc::default() };
        let waiting = hold.clone();
        // It ends by itself, or goes with its runtime, and all else does.
        drop(R::spawn(async move {
            R::sleep(patience).await;
            tokio::select! {
                biased;
                () = waiting.reminded.notified() => {}
                () = R::sleep(silence.saturating_sub(patience)) => {}
            }
            waiting.over.close();
        }));
        hold
    }

    /// No hold.
    pub(crate) fn none() -> Self {
        let over = Semaphore::new(0);
        over.close();
        Self { over: Arc::new(over), reminded: Arc::default() }
    }

    /// A leader has spoken, and what it says that this node has acknowledged to it is noted.
    pub(crate) fn reminded(&self) {
        if !self.is_over() {
            self.reminded.notify_one();
        }
    }

    /// Whether votes may be given.
    pub(crate) fn is_over(&self) -> bool {
        self.over.is_closed()
    }

    /// Ends when votes may be given.
    pub(crate) async fn over(&self) {
        // An error is what is waited for: there are no permits.
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
    fn only_who_has_never_voted_or_votes_alone_does_not_hold_its_votes_back() {
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
    async fn a_node_is_held_until_a_leader_speaks_and_no_longer_than_one_may_be_silent() {
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
