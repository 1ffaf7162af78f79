//! What a ledger is on this node at one moment, and scrubbing it now.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::Ledger;
use crate::log::progress::Pointers;
use crate::types::{Member, Role, ScrubStatus, Status};

impl Ledger {
    /// A view of the ledger on this node.
    pub fn status(&self) -> Status {
        let replica = self.replica();
        let role = replica.role.borrow().clone();
        let view = replica.view.borrow().clone();
        let Pointers { first, committed, durable, end } = replica.log.progress().in_order();
        let myself =
            || view.members.iter().map(|m| &m.member).find(|member| member.id == replica.identity.node).cloned();
        let master: Option<Member> = match &role {
            Role::Master { .. } => myself(),
            Role::Slave { master, .. } => Some(master.clone()),
            Role::Electing { .. } | Role::Removed { .. } | Role::Stopped | Role::Closed { .. } => None,
        };
        let mut alarms: Vec<_> = view.members.iter().filter_map(|m| self.alarm_of(&role, &m.member)).collect();
        alarms.extend(self.hangs().map(|(_, what)| format!("the disk hangs: {what}")));
        Status {
            cluster: replica.identity.cluster.clone(),
            cluster_incarnation: view.cluster,
            group: replica.identity.group.clone(),
            node: replica.identity.node.clone(),
            term: view.term_in(&role),
            role,
            master,
            first,
            committed: committed.index,
            durable,
            end,
            committed_position: committed.position,
            committed_chain: committed.chain,
            disk_full: replica.admission.disk_full(),
            alarm: (!alarms.is_empty()).then(|| alarms.join("\n")),
            durability: Some(replica.log.durability()),
            waiting: replica.standing.waiting(),
            scrub: replica.health.status(),
            members: view.members,
        }
    }

    /// Reads all sealed segments at once and as fast as the disk can, past the page cache where that can be done.
    /// Damage is reported as if the scrubber had found it; returns what [`Status::scrub`] then says.
    ///
    /// Must be called within a tokio runtime.
    ///
    /// # Errors
    /// If the system fails, for another reason than the medium.
    pub async fn scrub(&self) -> std::io::Result<ScrubStatus> {
        let health = self.replica().health.clone();
        let read = tokio::task::spawn_blocking(move || {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64);
            let mut pass = health.scrub();
            while pass.step(now)?.is_some() {}
            Ok(health.status())
        });
        read.await.map_err(std::io::Error::other)?
    }

    /// If the disk hangs: for how long it has made no progress with what it was given, and with what, in words.
    pub(in crate::node) fn hangs(&self) -> Option<(Duration, String)> {
        self.inner.replica.log.hangs(self.inner.stall)
    }
}
