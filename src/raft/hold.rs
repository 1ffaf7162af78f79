//! Keeps a node that has just started out of elections, if it may have acknowledged a leader a moment ago.
//!
//! A follower that acknowledges a request promises to elect nobody else for a while, and the leader serves reads on the
//! strength of that. openraft keeps the promise in memory only: a process that dies and comes back at once would break
//! it. So it keeps away from elections for as long as any such promise may last.

use std::time::Duration;

use tokio::sync::watch;

use super::config::Runtime;
use crate::format::hard_state::HardVote;
use crate::mutants::{Mutant, planted};
use crate::types::NodeId;

/// Whether votes may be given and asked for; waits until they may.
#[derive(Debug, Clone)]
pub(crate) struct VoteHold(watch::Receiver<bool>);

impl VoteHold {
    /// Whether the node with this vote must keep away from elections at its start: it followed another node, which may
    /// still lead. One that voted for itself, or for a candidate, had waited before it did.
    pub(crate) fn is_due(id: &NodeId, vote: Option<&HardVote>) -> bool {
        let follows = |vote: &HardVote| vote.granted && vote.node.as_ref() != Some(id);
        vote.is_some_and(follows) && !planted(Mutant::VoteHoldDropped)
    }

    /// Starts the wait. `patience`: how long a promise lasts.
    pub(crate) fn start<R: Runtime>(patience: Duration) -> Self {
        let (over, hold) = watch::channel(false);
        // It ends by itself.
        drop(R::spawn(async move {
            R::sleep(patience).await;
            over.send_replace(true);
        }));
        Self(hold)
    }

    /// No hold.
    pub(crate) fn none() -> Self {
        Self(watch::channel(true).1)
    }

    /// Whether votes may be given.
    pub(crate) fn is_over(&self) -> bool {
        *self.0.borrow()
    }

    /// Ends when votes may be given.
    pub(crate) async fn over(&self) {
        // An error: the task went with its runtime, and all else does.
        let _ = self.0.clone().wait_for(|over| *over).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_who_followed_another_node_holds_its_votes_back() {
        let own = NodeId::new(1);
        let vote = |node: u64, granted| HardVote { term: 3, node: Some(NodeId::new(node)), granted };
        assert!(VoteHold::is_due(&own, Some(&vote(0, true))));
        assert!(!VoteHold::is_due(&own, Some(&vote(0, false))));
        assert!(!VoteHold::is_due(&own, Some(&vote(1, true))));
        assert!(!VoteHold::is_due(&own, None));
    }
}
