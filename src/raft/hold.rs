//! Keeps a node that has just started out of elections, if it may have acknowledged a leader a moment ago.
//!
//! A follower that acknowledges a request promises to elect nobody else for a while, and the leader serves reads on the
//! strength of that. openraft keeps the promise in memory only: a process that dies and comes back at once would break
//! it. So it keeps away from elections for as long as any such promise may last.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::Notify;

use super::config::Runtime;
use crate::format::hard_state::HardVote;
use crate::mutants::{Mutant, planted};
use crate::types::NodeId;

/// Whether votes may be given and asked for; waits until they may.
#[derive(Debug, Clone)]
pub(crate) struct VoteHold(Arc<Inner>);

/// No `watch`: that wakes those who wait in any order, and here they answer candidates. A seed of a simulation is to
/// determine who is answered first.
#[derive(Debug)]
struct Inner {
    over: AtomicBool,
    /// Nobody will say when it is over.
    abandoned: AtomicBool,
    told: Notify,
}

/// Tells when the wait ends, or will never.
struct Teller(Arc<Inner>);

impl Drop for Teller {
    fn drop(&mut self) {
        self.0.abandoned.store(true, Ordering::Release);
        self.0.told.notify_waiters();
    }
}

impl VoteHold {
    /// Whether the node with this vote must keep away from elections at its start: it followed another node, which may
    /// still lead. One that voted for itself, or for a candidate, had waited before it did.
    pub(crate) fn is_due(id: &NodeId, vote: Option<&HardVote>) -> bool {
        let follows = |vote: &HardVote| vote.granted && vote.node.as_ref() != Some(id);
        vote.is_some_and(follows) && !planted(Mutant::VoteHoldDropped)
    }

    fn new(over: bool) -> Self {
        Self(Arc::new(Inner { over: over.into(), abandoned: false.into(), told: Notify::new() }))
    }

    /// Starts the wait. `patience`: how long a promise lasts.
    pub(crate) fn start<R: Runtime>(patience: Duration) -> Self {
        let hold = Self::new(false);
        let teller = Teller(hold.0.clone());
        // It ends by itself.
        drop(R::spawn(async move {
            R::sleep(patience).await;
            teller.0.over.store(true, Ordering::Release);
        }));
        hold
    }

    /// No hold.
    pub(crate) fn none() -> Self {
        Self::new(true)
    }

    /// Whether votes may be given.
    pub(crate) fn is_over(&self) -> bool {
        self.0.over.load(Ordering::Acquire)
    }

    /// Ends when votes may be given; also when the runtime goes, and with it whoever waits.
    pub(crate) async fn over(&self) {
        let told = self.0.told.notified();
        tokio::pin!(told);
        // Before the look: what is told in between is heard.
        told.as_mut().enable();
        if !self.is_over() && !self.0.abandoned.load(Ordering::Acquire) {
            told.await;
        }
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
