//! What saving votes costs on this disk, and how an election is won in spite of it.
//!
//! A vote is on the disk before it is told, and openraft waits for an answer to a request for votes no longer than the
//! lower election timeout. Every candidacy is one of a new term, so every one needs a new save. Where a save takes
//! longer than that timeout, no voter ever answers in time: one term follows the other, and nobody is elected.
//!
//! So where saves are slow, here or with the voters,
//! - a candidate that has saved its own vote asks for those of the others before openraft does, and waits as long as
//!   they may take ([`VoteCollector`]). openraft asks for the same votes next, which are on their disks then. How long
//!   they take is not known: it waits three times as long as its own vote took, and longer with each candidacy in vain;
//! - a node that has saved a vote, its own or another's, does not ask for pre-votes for a while: one that is being
//!   elected has to save its own vote twice before anybody hears of it, and whoever asks meanwhile would take its
//!   voters away.
//!
//! To ensure correctness: who asks has saved its own vote, and stands. (A vote that is given to somebody who does not
//! stand yet would come back to it as one of a later term, which openraft does not bear: a leader would go on under a
//! vote that is not its own.) What counts is the answer to openraft's own request.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use parking_lot::{Mutex, MutexGuard};

use crate::raft::log_id::{LogId, RaftVote};
use crate::raft::membership::codec::Membership;
use crate::raft::type_config::Runtime;
use crate::types::NodeId;

/// For so many saves, and up to twice as many, no pre-vote is asked for after one: two are the candidate's own.
const SAVES: u32 = 3;
/// But for no longer than twice this, and no votes are waited for any longer: a disk may have hung once.
const LONGEST: Duration = Duration::from_secs(20);
/// Values that the random share of a wait can take.
const SHARES: u32 = 1 << 10;

/// What saving votes costs. Cheap to clone; all clones are one.
#[derive(Debug, Clone, Default)]
pub(crate) struct VoteSaves(Arc<Mutex<VoteSavesState>>);

#[derive(Debug, Default)]
struct VoteSavesState {
    /// Votes that are being saved.
    saving: usize,
    /// Waits that are not over.
    waits: usize,
    /// What a save lately took at most.
    lately: Duration,
    /// Whether that is too long for a vote to be told in time.
    slow: bool,
    /// Candidacies of this node since there was a leader.
    in_vain: u32,
    stopped: bool,
}

/// Asks the others for their votes, for as long as their disks may take.
pub(crate) trait VoteCollector: Send + Sync {
    /// Ends when a quorum of `membership`, this node included, has saved `vote`, as this node has; or when that will
    /// not come to be, or has not `within` that time. `last`: the last entry of this node's log.
    fn collect(
        &self,
        vote: RaftVote,
        last: Option<LogId>,
        membership: Membership,
        within: Duration,
    ) -> BoxFuture<'_, ()>;

    /// What it goes by.
    fn saves(&self) -> VoteSaves;
}

/// The times and the node that a save is judged by.
#[derive(Debug, Clone)]
pub(crate) struct ElectionBounds {
    pub(crate) node: NodeId,
    /// The lower and the upper election timeout.
    pub(crate) election_timeout: (Duration, Duration),
}

impl ElectionBounds {
    /// Whether a save that takes so long is one that a vote may be too late for: it also has to travel, and the next
    /// one may take longer.
    pub(crate) fn is_slow(&self, took: Duration) -> bool {
        took > self.election_timeout.0 / 2
    }

    /// How long to wait after a save: as long as whoever is being elected may take, and not as long as the others wait.
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

    /// A vote is being saved, until what is given back is dropped.
    pub(crate) fn begin(&self) -> Saving {
        self.state().saving += 1;
        Saving(self.clone())
    }

    /// A vote of `term` was saved, which took so long.
    pub(crate) fn took<R: Runtime>(&self, took: Duration, term: u64, bounds: &ElectionBounds) {
        let wait = {
            let mut state = self.state();
            // It takes a few good ones to forget a bad one.
            state.lately = took.min(LONGEST).max(state.lately / 2);
            state.slow = bounds.is_slow(state.lately);
            if !state.slow {
                return;
            }
            state.waits += 1;
            bounds.wait(state.lately, term)
        };
        let waiting = self.clone();
        // It ends by itself, or goes with its runtime, and all else does.
        drop(R::spawn(async move {
            R::sleep(wait).await;
            waiting.state().waits -= 1;
        }));
    }

    /// This node stands, and has saved its vote: how long to wait for the votes of others. `None`: no longer than
    /// openraft does.
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

    /// Nothing is waited for any more.
    pub(crate) fn stop(&self) {
        self.state().stopped = true;
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.state().stopped
    }

    /// Whether this node may ask for pre-votes: none is being saved, and who was elected by the last one has had time.
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
    async fn after_a_slow_save_nobody_is_asked_while_another_may_be_elected() {
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
        // A few that are in time, and it is a good disk again.
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
