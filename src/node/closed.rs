//! Ledgers that the node is to host and could not open, and waiting until all of a node's ledgers are closed.

use std::sync::{Arc, PoisonError, RwLock};

use futures::future::join_all;

use super::host::Node;
use super::ledger::Ledger;
use crate::error::LedgerError;
use crate::rpc::refusing::Refusing;
use crate::types::{Group, Role, Status};

/// Those that could not be opened, and why.
#[derive(Default)]
pub(super) struct Unopened(RwLock<Vec<(Group, String)>>);

impl Unopened {
    /// Keeps the newest reason.
    pub(super) fn add(&self, group: &Group, reason: String) {
        let mut unopened = self.0.write().unwrap_or_else(PoisonError::into_inner);
        unopened.retain(|(known, _)| known != group);
        unopened.push((group.clone(), reason));
    }

    /// Whether it was there.
    pub(super) fn remove(&self, group: &str) -> Option<Group> {
        let mut unopened = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let at = unopened.iter().position(|(known, _)| known.as_str() == group)?;
        Some(unopened.remove(at).0)
    }

    pub(super) fn reason(&self, group: &str) -> Option<String> {
        let unopened = self.0.read().unwrap_or_else(PoisonError::into_inner);
        unopened.iter().find(|(known, _)| known.as_str() == group).map(|(_, reason)| reason.clone())
    }

    fn all(&self) -> Vec<(Group, String)> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Node {
    /// Keeps a ledger that cannot be opened in view: who asks for it is told why there is none, on the wire too.
    pub(super) fn keep_closed(&self, group: &Group, reason: &dyn std::error::Error) {
        let reason = reason.to_string();
        self.unopened().add(group, reason.clone());
        self.router().insert(group, Arc::new(Refusing::new(reason)));
        self.tell_changed();
    }

    /// What the node knows of the ledger of `group`. Of one that could not be opened, that it is
    /// [`Role::Closed`](crate::Role::Closed), and why; its figures are 0 then.
    ///
    /// # Errors
    /// If the node does not host it.
    pub fn status(&self, group: &str) -> Result<Status, LedgerError> {
        match self.ledger(group) {
            Ok(ledger) => Ok(ledger.status()),
            Err(unknown @ LedgerError::Unknown(_)) => Err(unknown),
            Err(closed @ LedgerError::Closed { .. }) => {
                let unopened = self.unopened().all().into_iter().find(|(known, _)| known.as_str() == group);
                // Opened meanwhile, or removed: whoever asks again is told.
                unopened.map(|(group, reason)| self.unopened_status(group, reason)).ok_or(closed)
            }
        }
    }

    /// What the node knows of all ledgers that it is to host, those that could not be opened too, by name.
    pub fn statuses(&self) -> Vec<Status> {
        let open: Vec<Status> = self.ledgers().iter().map(Ledger::status).collect();
        let unopened = self.unopened().all().into_iter();
        let unopened = unopened.filter(|(group, _)| open.iter().all(|status| status.group != *group));
        let unopened: Vec<_> = unopened.map(|(group, reason)| self.unopened_status(group, reason)).collect();
        let mut all = open;
        all.extend(unopened);
        all.sort_by(|a, b| a.group.as_str().cmp(b.group.as_str()));
        all
    }

    fn unopened_status(&self, group: Group, reason: String) -> Status {
        Status {
            cluster: self.cluster().clone(),
            cluster_incarnation: None,
            group,
            node: self.id().clone(),
            role: Role::Closed { reason },
            term: 0,
            master: None,
            first: 0,
            committed: 0,
            durable: 0,
            end: 0,
            committed_position: 0,
            committed_chain: 0,
            disk_full: None,
            waiting: None,
            alarm: None,
            scrub: Default::default(),
            members: Vec::new(),
        }
    }

    /// Waits until every ledger of the node is closed, whatever closed it: a failed disk, damage, [`Node::shutdown`].
    /// Returns each of them, and why. Such a node is of no use before it is restarted. A node without ledgers is waited
    /// for: one may be created yet.
    pub async fn closed(&self) -> Vec<(Group, String)> {
        let mut changes = self.changes();
        loop {
            changes.mark_unchanged();
            let (open, mut closed) = (self.ledgers(), self.unopened().all());
            if open.is_empty() && closed.is_empty() {
                // An error: the node is gone, and with it who could tell.
                if changes.changed().await.is_err() {
                    return closed;
                }
                continue;
            }
            tokio::select! {
                biased;
                ended = join_all(open.iter().map(why_closed)) => {
                    // One that came meanwhile is waited for too.
                    if !changes.has_changed().unwrap_or(false) {
                        closed.extend(ended);
                        return closed;
                    }
                }
                _ = changes.changed() => {}
            }
        }
    }
}

/// Waits until the ledger is closed.
async fn why_closed(ledger: &Ledger) -> (Group, String) {
    let mut role = ledger.role();
    let reason = match role.wait_for(|role| matches!(role, Role::Closed { .. })).await.as_deref() {
        Ok(Role::Closed { reason }) => reason.clone(),
        // Who told the role is gone, and the ledger with it.
        Ok(_) | Err(_) => "the node is shutting down".into(),
    };
    (ledger.group().clone(), reason)
}
