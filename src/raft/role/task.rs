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

/// Time that a runtime that shuts down may take to end all its tasks.
const GOING_DOWN: Duration = Duration::from_millis(50);

/// Watches openraft's metrics until Raft has ended, and publishes the role that they mean.
pub(crate) struct RoleTask<R: Runtime> {
    group: Group,
    id: NodeId,
    incarnation: Incarnation,
    raft: Raft<R>,
    /// Whether this node has heard from a leader since it was started.
    contact: watch::Receiver<bool>,
    /// Until it is over, this node does not stand for election.
    votes: ElectionHoldoff,
    /// As long as this node lacks entries that it acknowledged, it does not stand either.
    lost_entries: LostEntries,
    metrics: Metrics<R>,
    /// The term of this node's vote when it started. openraft's metrics say 0 until its core publishes the first ones.
    saved_term: u64,
    log: LogReader,
    role: watch::Sender<Role>,
    tenures: Tenures,
    view: watch::Sender<ClusterView>,
    /// How long a leader may hear nothing from a quorum and still be the master: followers that hear nothing from their
    /// leader elect no other before this time is over.
    alone: Duration,
    /// How long a leader may be silent and its followers still name it as the master.
    silence: Duration,
    standing: Standing,
    /// Cancelled before Raft is stopped: that Raft ends is then no failure.
    stop: CancellationToken,
}

/// The role task, and the channels that it publishes to and is told by.
pub(crate) struct RoleChannels<R: Runtime> {
    pub(crate) role: watch::Receiver<Role>,
    pub(crate) tenure: watch::Receiver<Option<Tenure>>,
    pub(crate) view: watch::Receiver<ClusterView>,
    /// Set to true when this node hears from a leader for the first time.
    pub(crate) contact: watch::Sender<bool>,
    /// To be cancelled before Raft is stopped.
    pub(crate) stop: CancellationToken,
    pub(crate) task: R::JoinHandle<()>,
}

impl<R: Runtime> RoleTask<R> {
    /// Starts the task for the node of `identity`.
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
            // By then a follower stands for election itself.
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
        // Term and membership that the view was made of. A leader's metrics change with every heartbeat; these rarely
        // do.
        let mut shown = None;
        let mut told = self.standing.removed();
        let mut listener = LeaderListener::<R>::new(&self.standing, self.silence);
        let mut out = OwnMembership::default();
        loop {
            // Before the metrics are borrowed: these may have to read the log.
            let lacks = self.lost_entries.lacking(&self.log).is_some();
            let by = told.borrow_and_update().clone();
            let seen = self.seen(&mut out, listener.silent, by.as_deref());
            let (role, view, alone_at) = {
                let metrics = self.metrics.borrow_watched();
                let alone_at = alone_at(&self.id, &metrics, self.alone);
                let membership = metrics.membership_config.membership();
                let may_lead = may_lead(&self.id, self.incarnation, membership);
                // A node that was removed would stand, and be refused, for ever.
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
            // Before the role, so that a task that hears of a master finds its members in the view.
            if let Some(view) = view {
                self.view.send_if_modified(|current| std::mem::replace(current, view.clone()) != view);
            }
            self.publish(role);
            tokio::select! {
                biased;
                changed = self.metrics.changed() => if changed.is_err() {
                    // The last metrics of a core that panicked look well; only the closed channel shows that it ended.
                    let fatal = self.raft.is_initialized().await.err().unwrap_or(Fatal::Stopped);
                    return self.end(&fatal).await;
                },
                () = &mut held, if !held.is_terminated() => {}
                // Closed when the peer server is gone, and nothing can be heard any more.
                Ok(()) = self.contact.changed() => {}
                Ok(()) = lost.changed() => {}
                Ok(()) = told.changed() => listener.begin(),
                () = listener.listen(), if listens => {
                    // A leader calls members only.
                    self.standing.tell_member();
                    listener.begin();
                }
                () = sleep_until::<R>(follows.then_some(listener.check_at)) => listener.check(),
                () = sleep_until::<R>(alone_at) => {}
            }
        }
    }

    /// What Raft's metrics do not say of this node.
    fn seen(&self, out: &mut OwnMembership, silent: bool, told: Option<&str>) -> Signals {
        let changed = {
            let metrics = self.metrics.borrow_watched();
            let now = *metrics.membership_config.log_id();
            let key = Some((now, now <= metrics.last_applied));
            (std::mem::replace(&mut out.of, key) != key).then(|| metrics.membership_config.clone())
        };
        // The metrics are not borrowed while the log is read: Raft could not publish new ones meanwhile.
        if let Some(config) = changed {
            let named = may_lead(&self.id, self.incarnation, config.membership());
            let was = |now: &LogId| codec::was_member(&self.log, self.incarnation, now.index);
            let before = !named && config.log_id().as_ref().is_some_and(was);
            out.knows_itself = named || before;
            // A membership that is not committed may still be replaced.
            out.is_out = before && out.of.is_some_and(|(_, committed)| committed);
        }
        if told.is_some() && !out.knows_itself {
            // Forgotten now, while the log names this disk nowhere: the node that said so says it again.
            self.standing.tell_member();
        }
        let removed = match told.filter(|_| out.knows_itself) {
            _ if out.is_out => Some("its own log says so".to_owned()),
            told => told.map(|by| format!("{by} says so")),
        };
        let removed = removed.map(|who| {
            format!(
                "this disk has been removed from the cluster ({who}): stop the node. It can come back as a new node, \
                 with an empty directory, `--join` and `dledger members add`"
            )
        });
        Signals { contact: *self.contact.borrow(), silent, removed }
    }

    /// Publishes the last role: Raft has ended.
    async fn end(&mut self, fatal: &Fatal<TypeConfig<R>>) {
        // Read once, now: a ledger that is stopped after its Raft failed has failed all the same.
        let wanted = self.stop.is_cancelled();
        if !wanted && self.log.failure().is_none() {
            // A runtime that shuts down ends its tasks one after the other. This sleep is then the end of this task,
            // and its `drop` says `Stopped`: nothing has failed.
            R::sleep(GOING_DOWN).await;
        }
        let role = match self.log.failure() {
            None if wanted => Role::Stopped,
            _ => failed::<R>(fatal, &self.log),
        };
        self.publish(role);
    }

    fn publish(&mut self, role: Role) {
        // The tenure first: a task that sees the role `Master` finds it.
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
    /// The runtime has shut down, or the task has panicked. No later role will be published, and the last one must not
    /// look true for ever.
    fn drop(&mut self) {
        let last = match std::thread::panicking() {
            true => {
                Role::Closed { kind: ClosedKind::Internal, reason: "the task that publishes the role panicked".into() }
            }
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
    /// The entry that set the membership, and whether it is committed.
    of: Option<(Option<LogId>, bool)>,
    /// The membership names this disk, or one before it did.
    knows_itself: bool,
    /// This disk was a member, and a committed membership does not name it.
    is_out: bool,
}
