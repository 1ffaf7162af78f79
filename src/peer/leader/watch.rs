//! Gives up a leader whose process has died, without waiting for its lease to end.
//!
//! When a process dies, the kernel closes its connections and refuses new ones at once; a network that fails is silent
//! instead. So when the leader's replication stream ends and nothing listens at its address, the followers need not
//! wait for the lease.
//!
//! # Why lease reads stay sound
//!
//! A leader says with every append for how long it may answer lease reads on the strength of the answer (its *window*,
//! counted from the sending). Whatever the kernel says, a follower gives the leader up no sooner than
//! [`patience`](crate::config::timing::patience) after the last append it took from it, which is longer than the
//! window; and from then on it takes none of that term. So if the kernel's word was wrong (a firewall that resets and
//! refuses), that costs an election and nothing else. A vote is given before the lease is over only by a follower that
//! has given the leader up itself, and only for the next term.

use std::sync::Arc;
use std::time::Duration;

use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use openraft::Instant;
use openraft::async_runtime::watch::WatchReceiver;
use openraft::network::{NetVote, RPCOption};
use openraft::raft::VoteRequest;
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::{mpsc, watch};

use super::lease::LeaderLease;
use crate::config::timing::Timing;
use crate::log::reader::LogReader;
use crate::peer::network::PeerNetwork;
use crate::raft::election::holdoff::ElectionHoldoff;
use crate::raft::election::lost_entries::LostEntries;
use crate::raft::log_id;
use crate::raft::log_id::RaftVote;
use crate::raft::membership::codec::{MemberNode, is_quorum};
use crate::raft::replica::Replica;
use crate::raft::type_config::Metrics;
use crate::raft::{Raft, Runtime, TypeConfig};
use crate::types::NodeId;

/// Connection probes without a refusal after which the leader counts as alive: a dying process closes its sockets one
/// by one, so the first probes may still find one open.
const PROBES: u32 = 10;
/// How many times [`LeaderWatch`] checks that the leader is dead and silent: appends that were in the sockets when it
/// died may arrive after the first check, and make it look alive.
const DEATH_CHECKS: u32 = 2;
/// Time between two probes, and between two campaigns.
const PAUSE: Duration = Duration::from_millis(10);
/// How much longer, at least, each follower waits than the one before it, in order of ids: two that campaign at the
/// same time may both fail.
const TURN: Duration = Duration::from_millis(40);
/// Campaigns after which the election timeout is left to bring about an election.
const CAMPAIGNS: u32 = 40;

/// One ledger's watch over its leader. Cheap to clone.
pub(crate) struct LeaderWatch<R: Runtime> {
    inner: Arc<Watcher<R>>,
    /// Receives each leader whose stream has ended.
    lost: mpsc::UnboundedSender<NodeId>,
}

struct Watcher<R: Runtime> {
    raft: Raft<R>,
    metrics: Metrics<R>,
    log: LogReader,
    network: PeerNetwork,
    lease: Mutex<LeaderLease<R::Instant>>,
    votes: ElectionHoldoff,
    lost_entries: LostEntries,
    /// Whether this node has heard a leader.
    contact: watch::Sender<bool>,
    timing: Timing,
}

/// While this lives, a vote may be given although the leader's lease is not over.
pub(crate) struct FreedVote<R: Runtime>(Arc<Watcher<R>>);

impl<R: Runtime> Drop for FreedVote<R> {
    fn drop(&mut self) {
        self.0.lock().voted();
    }
}

/// A leader's replication stream. When it is dropped, however it ends, [`LeaderWatch`] checks whether the leader lives.
pub(crate) struct LeaderStream<R: Runtime> {
    watch: LeaderWatch<R>,
    leader: NodeId,
}

impl<R: Runtime> Drop for LeaderStream<R> {
    fn drop(&mut self) {
        // An error: no task receives it, because `start` was not `enabled` or the ledger is closed.
        let _ = self.watch.lost.send(self.leader.clone());
    }
}

impl<R: Runtime> Clone for LeaderWatch<R> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), lost: self.lost.clone() }
    }
}

impl<R: Runtime> LeaderWatch<R> {
    /// Begins to watch. If not `enabled`, a leader is given up only when its lease is over.
    pub(crate) fn start(replica: &Replica, network: PeerNetwork, raft: Raft<R>, enabled: bool) -> Self {
        let inner = Arc::new(Watcher {
            metrics: raft.metrics(),
            raft,
            log: replica.log.clone(),
            network,
            lease: Mutex::new(LeaderLease::new()),
            votes: replica.holdoff.clone(),
            lost_entries: replica.lost_entries.clone(),
            contact: replica.contact.clone(),
            timing: replica.timing,
        });
        let (lost, losses) = mpsc::unbounded_channel();
        if enabled {
            // The task ends with the last handle.
            drop(R::spawn(inner.clone().run(losses)));
        }
        Self { inner, lost }
    }

    /// A replication stream from `leader` begins.
    pub(crate) fn stream(&self, leader: NodeId) -> LeaderStream<R> {
        LeaderStream { watch: self.clone(), leader }
    }

    /// Notes an append of `leader` that has arrived and that Raft has not seen. `false`: this node has given the leader
    /// up, and Raft must not see the append.
    pub(crate) fn hear(&self, leader: &RaftVote, window: Duration) -> bool {
        let heard = self.inner.lock().hear(leader, window, R::Instant::now());
        if heard && !*self.inner.contact.borrow() {
            self.inner.contact.send_replace(true);
        }
        heard
    }

    /// `Some` if this node may vote for `candidate` although the leader's lease is not over, until the [`FreedVote`] is
    /// dropped.
    pub(crate) fn frees(&self, candidate: &RaftVote) -> Option<FreedVote<R>> {
        self.inner.lock().frees(candidate).then(|| FreedVote(self.inner.clone()))
    }

    /// The answer to a pre-vote if the leader was given up. Raft itself would hold on to the lease.
    pub(crate) async fn would_vote(&self, request: &VoteRequest<TypeConfig<R>>) -> Option<(RaftVote, bool)> {
        let _freed = self.frees(&request.vote)?;
        let vote = self.inner.raft.with_raft_state(|state| state.vote_ref().clone()).await.ok()?;
        let last = log_id::last_log_id(&self.inner.log);
        let granted = request.last_log_id >= last && request.vote.leader_id.term > vote.leader_id.term;
        Some((vote, granted))
    }
}

impl<R: Runtime> Watcher<R> {
    fn lock(&self) -> MutexGuard<'_, LeaderLease<R::Instant>> {
        self.lease.lock()
    }

    async fn run(self: Arc<Self>, mut losses: mpsc::UnboundedReceiver<NodeId>) {
        // This node does not know what it heard before it restarted.
        self.votes.over().await;
        while let Some(sender) = losses.recv().await {
            if let Some((leader, node)) = self.leader().filter(|(leader, _)| leader.leader_id.voted_for == sender) {
                self.look_into(leader, &node).await;
            }
            // Other streams that ended meanwhile ended by the same death.
            while losses.try_recv().is_ok() {}
        }
    }

    /// The leader that this node follows, and its address; `None` if this node is no voter, and so cannot succeed it.
    fn leader(&self) -> Option<(RaftVote, MemberNode)> {
        let metrics = self.metrics.borrow_watched();
        let membership = metrics.membership_config.membership();
        let me = self.network.identity();
        let votes = membership.voter_ids().any(|id| id == me.node)
            && membership.get_node(&me.node).is_some_and(|node| node.incarnation == me.incarnation);
        let leader = &metrics.vote.leader_id.voted_for;
        let node = membership.get_node(leader)?.clone();
        (votes && metrics.vote.committed && *leader != me.node).then(|| (metrics.vote.clone(), node))
    }

    fn still_follows(&self, leader: &RaftVote) -> bool {
        self.metrics.borrow_watched().vote == *leader
    }

    async fn look_into(&self, leader: RaftVote, node: &MemberNode) {
        let mut given_up = false;
        for _ in 0..DEATH_CHECKS {
            if !self.is_dead(&leader, &node.address).await {
                return;
            }
            let appends = self.lock().appends();
            given_up = self.give_up(&leader, appends).await;
            if given_up {
                break;
            }
        }
        if !given_up {
            return;
        }
        let name = &leader.leader_id.voted_for;
        self.network.tell_gone::<R>(name, &node.address);
        R::sleep(TURN.max(self.timing.first_try() / 12) * self.turn(name)).await;
        for _ in 0..CAMPAIGNS {
            if !self.still_follows(&leader) {
                break;
            }
            // A node that has given its vote meanwhile does not stand.
            let has_votes = self.has_pre_votes(&leader).await && self.network.vote_saves().may_ask();
            if has_votes && self.still_follows(&leader) {
                self.elect(&leader);
            }
            // Time for the election's outcome, or for the next campaign.
            R::sleep(PAUSE).await;
        }
        // If the leader is alive after all, and nobody else took over, it leads on. The freed votes must end first:
        // given after another of its appends, they would break its lease.
        while !self.lock().resume() {
            R::sleep(PAUSE).await;
        }
    }

    /// Whether nothing listens any more at the leader's address: the first refused probe says so. `false` after
    /// [`PROBES`] probes without a refusal, or if this node follows another leader.
    async fn is_dead(&self, leader: &RaftVote, address: &str) -> bool {
        for _ in 0..PROBES {
            if !self.still_follows(leader) {
                return false;
            }
            if self.network.transport().nobody_listens(address).await {
                return true;
            }
            R::sleep(PAUSE).await;
        }
        false
    }

    /// Gives the leader up once it cannot count on its last append any more. `false` if this node follows another
    /// leader by then, or if an append came after the first `appends`: then the leader lives.
    async fn give_up(&self, leader: &RaftVote, appends: u64) -> bool {
        loop {
            if !self.still_follows(leader) || self.lock().appends() != appends {
                return false;
            }
            // A statement of its own, so that the lock is not held over the wait.
            let given_up = self.lock().give_up(leader, R::Instant::now());
            match given_up {
                Ok(()) => return true,
                Err(left) => R::sleep(left).await,
            }
        }
    }

    /// Has Raft begin an election, unless another leader has been heard: Raft may not have processed its append yet,
    /// and would ignore its lease. An append that is heard later reaches Raft behind this command.
    fn elect(&self, leader: &RaftVote) {
        let lease = self.lock();
        if lease.has_heard_after(leader) {
            return;
        }
        // `None`: the core is busy and its queue full. The next campaign may find room.
        if let Some(Err(fatal)) = self.raft.trigger().elect(false).now_or_never() {
            tracing::debug!(%fatal, "Raft has stopped");
        }
    }

    /// How many of the other followers have their turn before this node.
    fn turn(&self, leader: &NodeId) -> u32 {
        let metrics = self.metrics.borrow_watched();
        let me = &self.network.identity().node;
        let first = metrics.membership_config.membership().voter_ids().filter(|id| id < me && id != leader);
        first.count() as u32
    }

    /// Whether a quorum would vote for this node. Asking raises nobody's term.
    async fn has_pre_votes(&self, leader: &RaftVote) -> bool {
        if self.lost_entries.lacking(&self.log).is_some() {
            return false;
        }
        let membership = self.metrics.borrow_watched().membership_config.membership().clone();
        let me = self.network.identity();
        let vote = RaftVote::new(leader.leader_id.term.saturating_add(1), me.node.clone());
        let request = VoteRequest::<TypeConfig<R>>::new(vote, log_id::last_log_id(&self.log));
        let gone = &leader.leader_id.voted_for;
        let asked = membership.nodes().filter(|(id, _)| **id != me.node && *id != gone);
        let mut answers: FuturesUnordered<_> = asked.map(|(id, node)| self.pre_vote(id, node, &request)).collect();
        let mut granted = vec![me.node.clone()];
        while !is_quorum(&membership, &granted) {
            match answers.next().await {
                Some(Some(id)) => granted.push(id),
                Some(None) => {}
                None => return false,
            }
        }
        true
    }

    /// The peer's id if it would vote for this node.
    async fn pre_vote(&self, id: &NodeId, node: &MemberNode, request: &VoteRequest<TypeConfig<R>>) -> Option<NodeId> {
        let mut client = self.network.client::<R>(id.clone(), node, false);
        let answer = client.pre_vote(request.clone(), RPCOption::new(self.timing.probe())).await;
        // A peer that cannot be reached does not vote.
        answer.is_ok_and(|answer| answer.vote_granted).then(|| id.clone())
    }
}
