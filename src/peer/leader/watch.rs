//! Gives up a leader whose process has died before its lease is over.
//!
//! When a process dies, the kernel closes its connections and refuses new ones at once; a network that fails is silent
//! instead. So when the leader's replication stream ends and nobody listens where the leader was, the followers need
//! not wait for the lease.
//!
//! # Why lease reads stay sound
//!
//! A leader says with every append for how long it may answer lease reads on the strength of the answer (its *window*,
//! counted from the sending). Whatever the kernel says, a follower gives the leader up no sooner than
//! [`patience`](crate::config::timing::patience) after the last append it took from it, which is longer than the window;
//! and from then on it takes none of that term. So if the word was wrong (a firewall that resets and refuses), that
//! costs an election and nothing else. A vote is given before the lease is over only by a follower that has given the
//! leader up itself, and only for the next term.

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
use crate::raft::election::lost_entries::{self, LostEntries};
use crate::raft::membership::codec::{MemberNode, is_quorum};
use crate::raft::replica::Replica;
use crate::raft::role::task::Metrics;
use crate::raft::type_config::RaftVote;
use crate::raft::{Raft, Runtime, TypeConfig};
use crate::types::NodeId;

/// How long it is asked whether somebody listens again: a process that dies closes one socket after the other.
const PROBES: u32 = 10;
/// How often it is looked whether it is dead and silent: what was in the sockets when it died may come after a look.
const DEATH_CHECKS: u32 = 2;
/// Between two probes, and between two campaigns.
const PAUSE: Duration = Duration::from_millis(10);
/// Each follower waits so much longer than the one before it, by id, at least: two that campaign at once may both fail.
const TURN: Duration = Duration::from_millis(40);
/// Campaigns before the election timeout is left to settle it.
const CAMPAIGNS: u32 = 40;

/// One ledger's watch over its leader. Cheap to clone.
pub(crate) struct LeaderWatch<R: Runtime> {
    inner: Arc<Watcher<R>>,
    /// Whose stream has ended.
    lost: mpsc::UnboundedSender<NodeId>,
}

struct Watcher<R: Runtime> {
    raft: Raft<R>,
    metrics: Metrics<R>,
    log: LogReader,
    network: PeerNetwork,
    lease: Mutex<LeaderLease<R::Instant>>,
    votes: ElectionHoldoff,
    owed: LostEntries,
    /// Whether a leader has been heard.
    contact: watch::Sender<bool>,
    timing: Timing,
}

/// A vote that may be given although the leader's lease is not over, while this lives.
pub(crate) struct FreedVote<R: Runtime>(Arc<Watcher<R>>);

impl<R: Runtime> Drop for FreedVote<R> {
    fn drop(&mut self) {
        self.0.lock().voted();
    }
}

/// The stream of a leader. Its end, however it comes about, is looked into.
pub(crate) struct LeaderStream<R: Runtime> {
    watch: LeaderWatch<R>,
    leader: NodeId,
}

impl<R: Runtime> Drop for LeaderStream<R> {
    fn drop(&mut self) {
        // Without the task nobody looks into it: so it is wanted, or the ledger is closed.
        let _ = self.watch.lost.send(self.leader.clone());
    }
}

impl<R: Runtime> Clone for LeaderWatch<R> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), lost: self.lost.clone() }
    }
}

impl<R: Runtime> LeaderWatch<R> {
    /// Begins to watch. Not `enabled`, leaders are given up when their lease is over, and no sooner.
    pub(crate) fn start(group: &Replica, network: PeerNetwork, raft: Raft<R>, enabled: bool) -> Self {
        let inner = Arc::new(Watcher {
            metrics: raft.metrics(),
            raft,
            log: group.log.clone(),
            network,
            lease: Mutex::new(LeaderLease::new()),
            votes: group.holdoff.clone(),
            owed: group.lost_entries.clone(),
            contact: group.contact.clone(),
            timing: group.timing,
        });
        let (lost, losses) = mpsc::unbounded_channel();
        if enabled {
            // It ends with the last handle.
            drop(R::spawn(inner.clone().run(losses)));
        }
        Self { inner, lost }
    }

    /// The stream of appends from `leader` begins.
    pub(crate) fn stream(&self, leader: NodeId) -> LeaderStream<R> {
        LeaderStream { watch: self.clone(), leader }
    }

    /// An append of `leader` arrives, before Raft sees it. `false`: the leader has been given up, Raft must not see it.
    pub(crate) fn hear(&self, leader: &RaftVote, window: Duration) -> bool {
        let heard = self.inner.lock().hear(leader, window, R::Instant::now());
        if heard && !*self.inner.contact.borrow() {
            self.inner.contact.send_replace(true);
        }
        heard
    }

    /// Whether a vote for `candidate` may be given although the leader's lease is not over: until what is given back is
    /// dropped.
    pub(crate) fn frees(&self, candidate: &RaftVote) -> Option<FreedVote<R>> {
        self.inner.lock().frees(candidate).then(|| FreedVote(self.inner.clone()))
    }

    /// What to say to a pre-vote if the leader was given up: Raft itself holds on to the lease.
    pub(crate) async fn would_vote(&self, request: &VoteRequest<TypeConfig<R>>) -> Option<(RaftVote, bool)> {
        let _freed = self.frees(&request.vote)?;
        let vote = self.inner.raft.with_raft_state(|state| state.vote_ref().clone()).await.ok()?;
        let last = lost_entries::last(&self.inner.log);
        let granted = request.last_log_id >= last && request.vote.leader_id.term > vote.leader_id.term;
        Some((vote, granted))
    }
}

impl<R: Runtime> Watcher<R> {
    fn lock(&self) -> MutexGuard<'_, LeaderLease<R::Instant>> {
        self.lease.lock()
    }

    async fn run(self: Arc<Self>, mut losses: mpsc::UnboundedReceiver<NodeId>) {
        // What this node heard in its life before, it does not know any more.
        self.votes.over().await;
        while let Some(sender) = losses.recv().await {
            if let Some((leader, node)) = self.leader().filter(|(leader, _)| leader.leader_id.voted_for == sender) {
                self.look_into(leader, &node).await;
            }
            // They were of the same death.
            while losses.try_recv().is_ok() {}
        }
    }

    /// Whom this node follows, and where that is; `None` if it is not a voter that could follow up.
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
            // One that has given its vote meanwhile does not stand.
            let has_votes = self.has_pre_votes(&leader).await && self.network.vote_saves().may_ask();
            if has_votes && self.still_follows(&leader) {
                self.elect(&leader);
            }
            // Its outcome, or the next campaign's.
            R::sleep(PAUSE).await;
        }
        // If it is alive after all, and nobody else took over, it leads on. First the votes that were freed: behind an
        // append of its they would break its lease.
        while !self.lock().resume() {
            R::sleep(PAUSE).await;
        }
    }

    /// Whether nobody listens any more where the leader was.
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

    /// Takes nothing from the leader any more, once it cannot count on what was taken. `false` if there is another one.
    /// Nor if anything was taken since the first `appends`: it lives.
    async fn give_up(&self, leader: &RaftVote, appends: u64) -> bool {
        loop {
            if !self.still_follows(leader) || self.lock().appends() != appends {
                return false;
            }
            // The lock is not held over the wait.
            let given_up = self.lock().give_up(leader, R::Instant::now());
            match given_up {
                Ok(()) => return true,
                Err(left) => R::sleep(left).await,
            }
        }
    }

    /// Has Raft begin an election, unless another leader has been heard: Raft may not have got to its append yet, and
    /// would take no notice of its lease. An append that is heard later comes behind.
    fn elect(&self, leader: &RaftVote) {
        let lease = self.lock();
        if lease.has_heard_after(leader) {
            return;
        }
        // A queue that is full is that of a busy core: another campaign may find room.
        if let Some(Err(fatal)) = self.raft.trigger().elect(false).now_or_never() {
            tracing::debug!(%fatal, "Raft has stopped");
        }
    }

    /// How many of the other followers come first.
    fn turn(&self, leader: &NodeId) -> u32 {
        let metrics = self.metrics.borrow_watched();
        let me = &self.network.identity().node;
        let first = metrics.membership_config.membership().voter_ids().filter(|id| id < me && id != leader);
        first.count() as u32
    }

    /// Whether a quorum would vote for this node, which nobody's term is raised for.
    async fn has_pre_votes(&self, leader: &RaftVote) -> bool {
        if self.owed.lacking(&self.log).is_some() {
            return false;
        }
        let membership = self.metrics.borrow_watched().membership_config.membership().clone();
        let me = self.network.identity();
        let vote = RaftVote::new(leader.leader_id.term.saturating_add(1), me.node.clone());
        let request = VoteRequest::<TypeConfig<R>>::new(vote, lost_entries::last(&self.log));
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

    /// The peer's id if it would vote.
    async fn pre_vote(&self, id: &NodeId, node: &MemberNode, request: &VoteRequest<TypeConfig<R>>) -> Option<NodeId> {
        let mut client = self.network.client::<R>(id.clone(), node, false);
        let answer = client.pre_vote(request.clone(), RPCOption::new(self.timing.probe())).await;
        // A peer that cannot be asked does not vote.
        answer.is_ok_and(|answer| answer.vote_granted).then(|| id.clone())
    }
}
