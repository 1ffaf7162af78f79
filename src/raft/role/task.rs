//! The task that turns Raft's state into the broker's role.

use std::time::Duration;

use futures::FutureExt;
use futures::future::FusedFuture;
use openraft::async_runtime::watch::WatchReceiver;
use openraft::errors::Fatal;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::decide::{Signals, alone_at, failed, may_lead, role};
use super::listener::LeaderListener;
use super::standing::Standing;
use super::tenure::{Tenure, Tenures};
use super::view::{ClusterView, view};
use crate::config::Config;
use crate::log::directory::Identity;
use crate::log::reader::LogReader;
use crate::raft::Raft;
use crate::raft::election::holdoff::ElectionHoldoff;
use crate::raft::election::lost_entries::LostEntries;
use crate::raft::log_id::LogId;
use crate::raft::membership::codec::{self};
use crate::raft::type_config::Metrics;
use crate::raft::type_config::{Runtime, TypeConfig, sleep_until};
use crate::types::{ClosedKind, Group, Incarnation, NodeId, Role};

/// Time that a runtime may take to end all its tasks.
const GOING_DOWN: Duration = Duration::from_millis(50);

/// Watches openraft's metrics until Raft is gone, and says what they mean for a broker.
pub(crate) struct RoleTask<R: Runtime> {
    group: Group,
    id: NodeId,
    incarnation: Incarnation,
    raft: Raft<R>,
    /// Whether this node has heard from a leader since it was started.
    contact: watch::Receiver<bool>,
    /// As long as it lasts, this node asks for no votes.
    votes: ElectionHoldoff,
    /// As long as there is anything, too.
    lost_entries: LostEntries,
    metrics: Metrics<R>,
    /// The term this node was in when it was started. openraft's metrics say 0 until its core has something to tell.
    saved_term: u64,
    log: LogReader,
    role: watch::Sender<Role>,
    tenures: Tenures,
    view: watch::Sender<ClusterView>,
    /// How long a leader may hear nothing from a quorum: followers that hear nothing from it for so long may elect
    /// another one, and before that none does.
    alone: Duration,
    /// How long a follower that hears nothing of its leader still takes it for the master.
    silence: Duration,
    standing: Standing,
    /// Raft is to stop: that it does is no failure.
    stop: CancellationToken,
}

/// What the role task tells, and the task.
pub(crate) struct RoleChannels<R: Runtime> {
    pub(crate) role: watch::Receiver<Role>,
    pub(crate) tenure: watch::Receiver<Option<Tenure>>,
    pub(crate) view: watch::Receiver<ClusterView>,
    /// To be told when this node hears from a leader for the first time.
    pub(crate) contact: watch::Sender<bool>,
    /// To be cancelled before Raft is stopped.
    pub(crate) stop: CancellationToken,
    pub(crate) task: R::JoinHandle<()>,
}

impl<R: Runtime> RoleTask<R> {
    /// Starts it for the node of `identity`.
    pub(crate) fn start(
        config: &Config,
        identity: &Identity,
        raft: Raft<R>,
        log: LogReader,
        votes: ElectionHoldoff,
        lost_entries: LostEntries,
        standing: Standing,
    ) -> RoleChannels<R> {
        let saved_term = log.vote().map_or(0, |vote| vote.term);
        let (role_sender, role) = watch::channel(Role::Electing { term: saved_term });
        let (view_sender, view) = watch::channel(ClusterView { term: saved_term, ..ClusterView::default() });
        let (tenures, tenure) = Tenures::new();
        let (contact, contacted) = watch::channel(false);
        let stop = CancellationToken::new();
        let task = Self {
            group: identity.group.clone(),
            id: identity.node.clone(),
            incarnation: identity.incarnation,
            metrics: raft.metrics(),
            raft,
            contact: contacted,
            votes,
            lost_entries,
            saved_term,
            log,
            role: role_sender,
            tenures,
            view: view_sender,
            alone: config.election_timeout.0 + config.election_timeout.1,
            // By then it asks for votes itself.
            silence: config.election_timeout.1 * 2,
            standing,
            stop: stop.clone(),
        };
        RoleChannels { role, tenure, view, contact, stop, task: R::spawn(task.run()) }
    }

    async fn run(mut self) {
        let votes = self.votes.clone();
        let held = votes.over().fuse();
        let mut lost = self.lost_entries.watch();
        futures::pin_mut!(held);
        // What the view shows. The metrics of a leader change with every heartbeat; this hardly ever does.
        let mut shown = None;
        let mut told = self.standing.removed();
        let mut listener = LeaderListener::<R>::new(&self.standing, self.silence);
        let mut out = OwnMembership::default();
        loop {
            // Before openraft's state is held: it may have to read.
            let lacks = self.lost_entries.lacking(&self.log).is_some();
            let by = told.borrow_and_update().clone();
            let seen = self.seen(&mut out, listener.silent, by.as_deref());
            let (role, view, alone_at) = {
                let metrics = self.metrics.borrow_watched();
                let alone_at = alone_at(&self.id, &metrics, self.alone);
                let membership = metrics.membership_config.membership();
                let may_lead = may_lead(&self.id, self.incarnation, membership);
                // One that was removed would ask, and be refused, for ever.
                let may_ask = may_lead && seen.removed.is_none();
                self.raft.runtime_config().elect(may_ask && self.votes.is_over() && !lacks);
                let term = metrics.current_term.max(self.saved_term);
                let shows = Some((term, *metrics.membership_config.log_id()));
                let view =
                    (std::mem::replace(&mut shown, shows) != shows).then(|| view(&metrics, self.incarnation, term));
                let role = role(&self.id, &metrics, term, alone_at, &seen);
                (metrics.running_state.clone().map(|()| role), view, alone_at)
            };
            let role = match role {
                Ok(role) => role,
                Err(fatal) => return self.end(&fatal).await,
            };
            let alone_at = alone_at.filter(|_| role.is_master());
            let follows = matches!(role, Role::Slave { .. });
            let listens = listener.silent || matches!(role, Role::Removed { .. });
            // Before the role: who hears of a master can look up the members.
            if let Some(view) = view {
                self.view.send_if_modified(|current| std::mem::replace(current, view.clone()) != view);
            }
            self.publish(role);
            tokio::select! {
                biased;
                changed = self.metrics.changed() => if changed.is_err() {
                    // A core that panicked leaves its last metrics behind, looking well; only the closed channel tells.
                    let fatal = self.raft.is_initialized().await.err().unwrap_or(Fatal::Stopped);
                    return self.end(&fatal).await;
                },
                () = &mut held, if !held.is_terminated() => {}
                // An error: nobody is left to hear anything.
                Ok(()) = self.contact.changed() => {}
                Ok(()) = lost.changed() => {}
                Ok(()) = told.changed() => listener.begin(),
                () = listener.listen(), if listens => {
                    // Whom a leader calls is a member.
                    self.standing.tell_member();
                    listener.begin();
                }
                () = sleep_until::<R>(follows.then_some(listener.check_at)) => listener.check(),
                () = sleep_until::<R>(alone_at) => {}
            }
        }
    }

    /// What is to be known of this node besides Raft's metrics.
    fn seen(&self, out: &mut OwnMembership, silent: bool, told: Option<&str>) -> Signals {
        let changed = {
            let metrics = self.metrics.borrow_watched();
            let now = *metrics.membership_config.log_id();
            let key = Some((now, now <= metrics.last_applied));
            (std::mem::replace(&mut out.of, key) != key).then(|| metrics.membership_config.clone())
        };
        // Read the log without holding up who makes the metrics.
        if let Some(config) = changed {
            let named = may_lead(&self.id, self.incarnation, config.membership());
            let was = |now: &LogId| codec::was_member(&self.log, self.incarnation, now.index);
            let before = !named && config.log_id().as_ref().is_some_and(was);
            out.knows_itself = named || before;
            // One that is not committed may never come to be.
            out.is_out = before && out.of.is_some_and(|(_, committed)| committed);
        }
        if told.is_some() && !out.knows_itself {
            // Not to be kept for when it does: whoever says so will say so again.
            self.standing.tell_member();
        }
        let removed = match told.filter(|_| out.knows_itself) {
            _ if out.is_out => Some("its own log says so".to_owned()),
            told => told.map(|by| format!("{by} says so")),
        };
        let removed = removed.map(|who| {
            format!(
                "this disk has been removed from the cluster ({who}): stop the node. It can come back as a new one, \
                 with an empty directory, `--join` and `dledger members add`"
            )
        });
        Signals { contact: *self.contact.borrow(), silent, removed }
    }

    /// Says what has become of the ledger: Raft has ended.
    async fn end(&mut self, fatal: &Fatal<TypeConfig<R>>) {
        // Read once: who stops a ledger whose Raft has failed before does not make it one that was stopped.
        let wanted = self.stop.is_cancelled();
        if !wanted && self.log.failure().is_none() {
            // A runtime that goes down ends its tasks one after the other: this one too then, and nothing has failed.
            R::sleep(GOING_DOWN).await;
        }
        let role = match self.log.failure() {
            None if wanted => Role::Stopped,
            _ => failed::<R>(fatal, &self.log),
        };
        self.publish(role);
    }

    fn publish(&mut self, role: Role) {
        // In this order: a master has a tenure.
        if let Role::Master { term } = role {
            self.tenures.begin(term, &self.log);
        }
        self.role.send_if_modified(|current| {
            if *current == role {
                return false;
            }
            self.tell(&role);
            *current = role;
            true
        });
        if !self.role.borrow().is_master() {
            self.tenures.end();
        }
    }

    /// Tells the operator of a new role.
    fn tell(&self, role: &Role) {
        let (group, node, term) = (&self.group, &self.id, role.term());
        match role {
            Role::Removed { reason, .. } => tracing::warn!(%group, %node, %reason, "removed"),
            Role::Closed { reason, .. } => tracing::info!(%group, %node, %reason, "closed"),
            Role::Stopped => tracing::debug!(%group, %node, "stopped"),
            Role::Slave { master, .. } => tracing::info!(%group, %node, term, master = %master.id, "slave"),
            Role::Master { .. } => tracing::info!(%group, %node, term, "master"),
            Role::Electing { .. } => tracing::info!(%group, %node, term, "electing"),
        }
    }
}

impl<R: Runtime> Drop for RoleTask<R> {
    /// The runtime has gone down, or the task has panicked: nobody is left to say what the role is, and what was said
    /// last must not stay true for ever.
    fn drop(&mut self) {
        let last = match std::thread::panicking() {
            true => Role::Closed { kind: ClosedKind::Internal, reason: "the task that tells the role panicked".into() },
            false => Role::Stopped,
        };
        self.role.send_if_modified(|role| {
            let open = !role.is_final();
            if open {
                *role = last;
            }
            open
        });
        self.tenures.end();
    }
}

/// What the membership in the log says of this node.
#[derive(Default)]
struct OwnMembership {
    /// The entry that set it, and whether that is committed.
    of: Option<(Option<LogId>, bool)>,
    /// This disk is named in it, or in one before.
    knows_itself: bool,
    /// It was a member, and is none.
    is_out: bool,
}
