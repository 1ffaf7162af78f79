//! The task that turns Raft's state into the broker's role.

use openraft::ServerState;
use openraft::async_runtime::watch::WatchReceiver;
use openraft::type_config::alias::WatchReceiverOf;
use tokio::sync::watch;

use super::config::{Runtime, TypeConfig};
use super::members;
use crate::log::reader::LogReader;
use crate::types::{MemberStatus, NodeId, Role};

type RaftMetrics<R> = openraft::RaftMetrics<TypeConfig<R>>;
/// openraft's view of itself, as it changes.
pub(crate) type Metrics<R> = WatchReceiverOf<TypeConfig<R>, RaftMetrics<R>>;

/// What the role task publishes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct View {
    pub(crate) term: u64,
    pub(crate) members: Vec<MemberStatus>,
}

/// Watches openraft's metrics until Raft is gone, and says what they mean for a broker.
pub(crate) struct RoleTask<R: Runtime> {
    pub(crate) id: NodeId,
    pub(crate) metrics: Metrics<R>,
    pub(crate) log: LogReader,
    pub(crate) role: watch::Sender<Role>,
    pub(crate) view: watch::Sender<View>,
}

impl<R: Runtime> RoleTask<R> {
    pub(crate) async fn run(mut self) {
        loop {
            let (role, view) = {
                let metrics = self.metrics.borrow_watched();
                (role(&self.id, &metrics), view(&metrics))
            };
            self.publish(role);
            self.view.send_if_modified(|current| std::mem::replace(current, view.clone()) != view);
            if matches!(*self.role.borrow(), Role::Closed { .. }) {
                return;
            }
            // A core that panicked leaves its last metrics behind, looking well; only the closed channel tells.
            if self.metrics.changed().await.is_err() {
                let reason = self.log.failure().unwrap_or_else(|| "Raft has stopped".into());
                return self.publish(Role::Closed { reason });
            }
        }
    }

    fn publish(&self, role: Role) {
        let role = match role {
            // Raft's own words wrap the log's; the log's first reason is the one to tell.
            Role::Closed { reason } => Role::Closed { reason: self.log.failure().unwrap_or(reason) },
            role => role,
        };
        self.role.send_if_modified(|current| {
            if *current == role {
                return false;
            }
            tracing::info!(node = %self.id, ?role, "role");
            *current = role;
            true
        });
    }
}

/// The role that `metrics` mean.
pub(crate) fn role<R: Runtime>(id: &NodeId, metrics: &RaftMetrics<R>) -> Role {
    if let Err(fatal) = &metrics.running_state {
        return Role::Closed { reason: fatal.to_string() };
    }
    let term = metrics.current_term;
    let leads = metrics.state == ServerState::Leader;
    let own_term_applied = metrics.last_applied.is_some_and(|last| last.leader_id.term == term);
    if leads && metrics.vote.committed && own_term_applied {
        return Role::Master { term };
    }
    let membership = metrics.membership_config.membership();
    let master = metrics.current_leader.as_ref().filter(|leader| *leader != id);
    match master.and_then(|leader| Some((leader, membership.get_node(leader)?))) {
        Some((leader, node)) => Role::Slave { term, master: members::member(leader, node) },
        None => Role::Electing { term },
    }
}

fn view<R: Runtime>(metrics: &RaftMetrics<R>) -> View {
    let members = members::statuses(metrics.membership_config.membership());
    View { term: metrics.current_term, members }
}
