//! How long saving a vote takes on this disk, and how nodes elect a leader although it takes long.
//!
//! A node saves its vote before it tells it, and openraft waits for answers to a request for votes no longer than the
//! lower election timeout. Every candidacy has a new term and needs a new save. Where a save takes longer than that
//! timeout, no voter ever answers in time: term follows term, and no node is elected.
//!
//! So where saves are slow, on this node or on the voters,
//! - a candidate that has saved its own vote asks the others for theirs before openraft does, and waits as long as
//!   their saves may take ([`VoteCollector`]). Then openraft asks for the same votes, which by then are on the voters'
//!   disks. The candidate does not know how long their saves take: it waits three times as long as its own took, and
//!   longer after each candidacy in vain;
//! - a node that has saved a vote, its own or another's, asks for no pre-votes for a while: a node that is being
//!   elected saves its own vote twice before the others hear of it, and a node that asked meanwhile would take its
//!   voters away.
//!
//! To ensure correctness: a candidate asks only when it has saved its own vote and openraft has it stand. (A vote for a
//! node that does not stand yet would reach that node as a vote of a later term, which openraft cannot handle: a leader
//! would go on under a vote that is not its own.) Only the answers to openraft's own requests count.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use parking_lot::{Mutex, MutexGuard};

use crate::raft::log_id::{LogId, RaftVote};
use crate::raft::membership::codec::Membership;
use crate::raft::type_config::Runtime;
use crate::types::NodeId;

/// How long a node asks for no pre-votes after a slow save, in such saves (and up to twice as long, by chance): two are
/// the candidate's own, one is a voter's.
const SAVES: u32 = 3;
/// Half the longest time without asking for pre-votes, and the longest that a candidate waits for votes: the disk may
/// have hung once.
const LONGEST: Duration = Duration::from_secs(20);
/// Values that the random share of a wait can take.
const SHARES: u32 = 1 << 10;

/// How long saving votes takes, and who waits because of it. Cheap to clone; all clones are one.
#[derive(Debug, Clone, Default)]
pub(crate) struct VoteSaves(Arc<Mutex<VoteSavesState>>);

#[derive(Debug, Default)]
struct VoteSavesState {
    /// Saves that have begun and not ended.
    saving: usize,
    /// Waits after slow saves that are not over.
    waits: usize,
    /// The longest that a save took lately.
    lately: Duration,
    /// Whether `lately` is too long for a vote to reach a candidate in time.
    slow: bool,
    /// Candidacies of this node since there was a leader.
    in_vain: u32,
    stopped: bool,
}

/// Asks the other voters for their votes, and waits as long as their disks may take.
pub(crate) trait VoteCollector: Send + Sync {
    /// Ends when a quorum of `membership` has saved `vote`, counting this node, which has; or when too many have
    /// refused it; or after `within`. `last`: the last entry of this node's log.
    fn collect(
        &self,
        vote: RaftVote,
        last: Option<LogId>,
        membership: Membership,
        within: Duration,
    ) -> BoxFuture<'_, ()>;

    /// What this node knows of saving votes.
    fn saves(&self) -> VoteSaves;
}

/// The node whose saves are judged, and the times that they are compared with.
#[derive(Debug, Clone)]
pub(crate) struct ElectionBounds {
    pub(crate) node: NodeId,
    /// The lower and the upper election timeout.
    pub(crate) election_timeout: (Duration, Duration),
}

impl ElectionBounds {
    /// Whether votes may be too late if saving one takes `took`. Half of the lower election timeout is left for the
    /// vote to travel, and for the next save to take longer.
    pub(crate) fn is_slow(&self, took: Duration) -> bool {
        took > self.election_timeout.0 / 2
    }

    /// How long to wait after a slow save: as long as a node that is being elected may need, and each node for another
    /// time.
    fn wait(&self, lately: Duration, term: u64) -> Duration {
        let mut hasher = DefaultHasher::new();
        (&self.node, term).hash(&mut hasher);
        let saves = (lately * SAVES).min(LONGEST);
        let share = (hasher.finish() % u64::from(SHARES)) as u32;
        self.election_timeout.1 + saves + saves * share / SHARES
    }
}

impl VoteSaves {
    fn state(&self) -> MutexGuard<'_, VoteSavesState> {
        self.0.lock()
    }

    /// A save begins; it ends when the returned value is dropped.
    pub(crate) fn begin(&self) -> Saving {
        self.state().saving += 1;
        Saving(self.clone())
    }

    /// Saving a vote of `term` took `took`.
    pub(crate) fn took<R: Runtime>(&self, took: Duration, term: u64, bounds: &ElectionBounds) {
        let wait = {
            let mut state = self.state();
            // Only several fast saves outweigh a slow one.
            state.lately = took.min(LONGEST).max(state.lately / 2);
            state.slow = bounds.is_slow(state.lately);
            if !state.slow {
                return;
            }
            state.waits += 1;
            bounds.wait(state.lately, term)
        };
        let waiting = self.clone();
        // The task ends by itself, or with its runtime, as all that would ask does.
        drop(R::spawn(async move {
            R::sleep(wait).await;
            waiting.state().waits -= 1;
        }));
    }

    /// How long this node, which stands and has saved its vote, is to wait for the votes of others. `None`: no longer
    /// than openraft does.
    pub(crate) fn stands(&self, bounds: &ElectionBounds) -> Option<Duration> {
        let mut state = self.state();
        let own = if state.slow { state.lately * SAVES } else { Duration::ZERO };
        let theirs = match state.in_vain {
            0 => Duration::ZERO,
            times => bounds.election_timeout.1 * (1 << times.min(10)),
        };
        state.in_vain += 1;
        Some(own.max(theirs).min(LONGEST)).filter(|wait| !wait.is_zero())
    }

    /// There is a leader.
    pub(crate) fn elected(&self) {
        self.state().in_vain = 0;
    }

    /// Ends every wait for votes: the ledger closes.
    pub(crate) fn stop(&self) {
        self.state().stopped = true;
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.state().stopped
    }

    /// Whether this node may ask for pre-votes: it saves no vote, and the node that it voted for last has had its time.
    pub(crate) fn may_ask(&self) -> bool {
        let state = self.state();
        state.saving == 0 && state.waits == 0
    }
}

/// A vote that is being saved.
pub(crate) struct Saving(VoteSaves);

impl Drop for Saving {
    fn drop(&mut self) {
        self.0.state().saving -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raft::TokioRuntime;

    fn millis(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn bounds(node: u64) -> ElectionBounds {
        ElectionBounds { node: NodeId::new(node), election_timeout: (millis(400), millis(800)) }
    }

    #[tokio::test(start_paused = true)]
    async fn a_disk_in_order_changes_nothing() {
        let saves = VoteSaves::default();
        assert!(saves.may_ask());
        let saving = saves.begin();
        assert!(!saves.may_ask());
        drop(saving);
        saves.took::<TokioRuntime>(millis(200), 7, &bounds(0));
        assert!(saves.may_ask());
        assert_eq!(saves.stands(&bounds(0)), None);
    }

    #[tokio::test(start_paused = true)]
    async fn after_a_slow_save_a_node_asks_nobody_while_another_may_be_elected() {
        let saves = VoteSaves::default();
        let began = tokio::time::Instant::now();
        saves.took::<TokioRuntime>(millis(1_000), 7, &bounds(0));
        assert_eq!(saves.stands(&bounds(0)), Some(millis(3_000)));
        saves.elected();
        while !saves.may_ask() {
            tokio::time::advance(millis(1)).await;
            tokio::task::yield_now().await;
        }
        let waited = began.elapsed();
        assert!(waited >= millis(3_800) && waited < millis(6_800 + 2), "{waited:?}");
        // After a few fast saves the disk counts as fast again.
        for _ in 0..3 {
            saves.took::<TokioRuntime>(millis(1), 7, &bounds(0));
        }
        assert_eq!(saves.stands(&bounds(0)), None);
    }

    #[test]
    fn a_candidate_waits_for_longer_whenever_it_stood_in_vain() {
        let saves = VoteSaves::default();
        let waits: Vec<_> = (0..8).filter_map(|_| saves.stands(&bounds(0))).collect();
        assert_eq!(waits[..5], [1_600, 3_200, 6_400, 12_800, 20_000].map(millis));
        assert_eq!(waits.last(), Some(&LONGEST));
        saves.elected();
        assert_eq!(saves.stands(&bounds(0)), None);
    }

    #[test]
    fn nodes_wait_for_different_times_and_none_for_ever() {
        let waits: Vec<_> = (0..3).map(|node| bounds(node).wait(millis(1_000), 7)).collect();
        assert!(waits.iter().all(|wait| waits.iter().filter(|other| *other == wait).count() == 1), "{waits:?}");
        for term in 0..100 {
            assert!(bounds(0).wait(Duration::from_secs(3_600), term) < LONGEST * 2 + millis(800));
        }
    }
}
