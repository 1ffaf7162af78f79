//! Up to where a read must have seen the log, as the leader says.
//!
//! Why the answers are right is written in `docs/invariants.md`, section *Reads*.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use openraft::errors::{LinearizableReadError, RaftError};
use openraft::{Instant, ReadPolicy};
use parking_lot::{Mutex, MutexGuard};

use super::membership::codec::Membership;
use super::type_config::{Runtime, TypeConfig};
use crate::log::reader::LogReader;
use crate::raft::Raft;
use crate::raft::log_id::RaftVote;
use crate::types::{Consistency, NodeId, Span};

/// Pause between a round that failed and the next.
const PAUSE: Duration = Duration::from_millis(10);

/// How a leader proves that it leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Proof {
    /// A quorum acknowledged a round that was sent less than a lease window ago; if none did, as [`Proof::Round`].
    Lease,
    /// A quorum acknowledges a round that is sent now.
    Round,
}

impl Proof {
    /// The proof that a read needs; `None`: no proof.
    pub(crate) fn of(consistency: Consistency) -> Option<Self> {
        match consistency {
            Consistency::Local => None,
            Consistency::Lease => Some(Self::Lease),
            Consistency::Linearizable => Some(Self::Round),
        }
    }
}

/// This node cannot say up to where a read must have seen the log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NoReadIndex {
    /// This node does not lead, or hands over.
    #[error("{0}")]
    NotLeader(String),
    /// This node leads, but no quorum has confirmed that in time.
    #[error("{0}")]
    NoQuorum(String),
    /// Raft has stopped.
    #[error("{0}")]
    Closed(String),
}

/// What the node layer asks of a ledger's Raft for reads.
pub(crate) trait ReadIndex: Send + Sync {
    /// Number of the last entry that a read which began before the call must have seen. It is applied here.
    ///
    /// # Errors
    /// If this node does not lead, or cannot prove within `within` that it does.
    fn read_index(&self, proof: Proof, within: Duration) -> BoxFuture<'_, Result<u64, NoReadIndex>>;
}

/// Asks the other members whether this node leads.
pub(crate) trait LeadershipProbe: Send + Sync {
    /// Whether a quorum of `membership`, this node included, takes an append under `vote` that is sent after the call.
    /// A member that does not answer within `within` does not count.
    fn confirm(&self, vote: RaftVote, membership: Membership, within: Duration) -> BoxFuture<'_, bool>;
}

/// The [`ReadIndex`] of a leader.
pub(crate) struct ReadLeader<R: Runtime> {
    raft: Raft<R>,
    log: LogReader,
    /// [`Config::lease_window`](crate::Config).
    window: Duration,
    confirm: Arc<dyn LeadershipProbe>,
    /// The last round that a quorum answered: under which vote, and when it was sent.
    confirmed: Mutex<Option<(RaftVote, R::Instant)>>,
}

impl<R: Runtime> ReadLeader<R> {
    pub(crate) fn new(raft: Raft<R>, log: LogReader, window: Duration, confirm: Arc<dyn LeadershipProbe>) -> Self {
        Self { raft, log, window, confirm, confirmed: Mutex::default() }
    }

    async fn confirmed(&self, proof: Proof, within: Duration) -> Result<u64, NoReadIndex> {
        let until = R::Instant::now() + within;
        loop {
            // The vote comes first: the proof below shows that no node, also not this one, was elected after it.
            let state = self.raft.with_raft_state(|state| {
                (state.vote_ref().clone(), state.membership_state.effective().membership().clone())
            });
            let (vote, membership) = state.await.map_err(|fatal| NoReadIndex::Closed(fatal.to_string()))?;
            // Then the number, then the proof that this node led when it took the number. openraft's lease, which this
            // asks for, proves nothing: openraft credits answers to requests that were sent after them.
            let linearizer = self.raft.get_read_linearizer(ReadPolicy::LeaseRead).await.map_err(refused)?;
            let number = linearizer.read_log_id().index();
            if !self.proven(proof, vote, membership, until).await {
                R::sleep(PAUSE).await;
                continue;
            }
            // The last committed entry, or the leader's first entry if that is not committed yet: only once it is, the
            // leader knows what its predecessors committed.
            let mut committed = self.log.watch_committed();
            let moved = committed.wait_for(|point| point.number > number).await;
            moved.map_err(|_| NoReadIndex::Closed("the ledger is closed".into()))?;
            return Ok(number);
        }
    }

    /// Whether this node led under `vote` a moment ago, or after the call.
    async fn proven(&self, proof: Proof, vote: RaftVote, membership: Membership, until: R::Instant) -> bool {
        let sent = R::Instant::now();
        let before = self.last().clone();
        if proof == Proof::Lease && before.is_some_and(|(by, at)| by == vote && sent - at < self.window) {
            return true;
        }
        let Some(sent) = self.rounds(&vote, &membership, until).await else { return false };
        *self.last() = Some((vote, sent));
        true
    }

    /// Asks the other members until a quorum has answered one of the rounds, and returns when that round was sent.
    /// `None`: a round ended without a quorum, or this node's vote is another.
    ///
    /// How far away the members are is not known, so a round counts for as long as there is time. But a message may be
    /// lost, so another round is sent beside the first, after twice the window, four times, and so on.
    async fn rounds(&self, vote: &RaftVote, membership: &Membership, until: R::Instant) -> Option<R::Instant> {
        let mut rounds = FuturesUnordered::new();
        for look in 1_u32.. {
            if look.is_power_of_two() {
                let sent = R::Instant::now();
                let left = if until > sent { until - sent } else { Duration::ZERO };
                let round = self.confirm.confirm(vote.clone(), membership.clone(), left);
                rounds.push(async move { (round.await, sent) });
            }
            match R::timeout(self.window * 2, rounds.next()).await {
                Ok(Some((true, sent))) => return Some(sent),
                Ok(_) => return None,
                // Nothing yet. A leader that was succeeded meanwhile need not wait for answers that are lost.
                Err(_) => {
                    let now = self.raft.with_raft_state(|state| state.vote_ref().clone()).await.ok()?;
                    if now != *vote {
                        return None;
                    }
                }
            }
        }
        None
    }

    fn last(&self) -> MutexGuard<'_, Option<(RaftVote, R::Instant)>> {
        self.confirmed.lock()
    }
}

fn refused<R: Runtime>(error: RaftError<TypeConfig<R>, LinearizableReadError<TypeConfig<R>>>) -> NoReadIndex {
    match error {
        RaftError::APIError(LinearizableReadError::ForwardToLeader(elsewhere)) => {
            NoReadIndex::NotLeader(match elsewhere.leader_id {
                Some(leader) => format!("{leader} led last, as far as this node knows"),
                None => "no leader is known".into(),
            })
        }
        RaftError::APIError(LinearizableReadError::QuorumNotEnough(few)) => {
            let answered: Vec<_> = few.got.iter().map(NodeId::as_str).collect();
            NoReadIndex::NoQuorum(format!("no quorum: of the voters only {} answered", answered.join(", ")))
        }
        RaftError::Fatal(fatal) => NoReadIndex::Closed(fatal.to_string()),
    }
}

impl<R: Runtime> ReadIndex for ReadLeader<R> {
    fn read_index(&self, proof: Proof, within: Duration) -> BoxFuture<'_, Result<u64, NoReadIndex>> {
        Box::pin(async move {
            match R::timeout(within, self.confirmed(proof, within)).await {
                Ok(answer) => answer,
                Err(_) => Err(NoReadIndex::NoQuorum(format!("no quorum has answered within {}", Span(within)))),
            }
        })
    }
}
