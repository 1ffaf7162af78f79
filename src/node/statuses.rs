//! What a node knows of all ledgers that it is to host, and waiting until all of them are closed.

use std::sync::Arc;

use futures::future::join_all;

use super::closing::final_reason;
use super::ledger::Ledger;
use super::node::Node;
use super::unopened::UnopenedLedger;
use crate::error::{LedgerError, StartError};
use crate::peer::server::refusing::RefusingServer;
use crate::types::{Group, Role, Status};

impl Node {
    /// Notes a ledger that cannot be opened: callers who ask for it, also on the wire, are told why.
    pub(super) fn keep_closed(&self, group: &Group, error: &StartError) {
        let closed = UnopenedLedger::new(group, error);
        let refusing = RefusingServer::new(closed.reason.clone());
        self.unopened().add(closed);
        self.router().insert(group, Arc::new(refusing));
        self.tell_changed();
    }

    /// What the node knows of the ledger of `group`. A ledger that could not be opened is
    /// [`Role::Closed`](crate::Role::Closed), with the reason, and its figures are 0.
    ///
    /// # Errors
    /// If the node does not host it.
    pub fn status(&self, group: &str) -> Result<Status, LedgerError> {
        match self.ledger(group) {
            Ok(ledger) => Ok(ledger.status()),
            Err(unknown @ LedgerError::Unknown(_)) => Err(unknown),
            Err(closed @ LedgerError::Closed { .. }) => {
                // None: opened meanwhile, or removed. The next call tells.
                self.unopened().get(group).map(|known| self.unopened_status(known)).ok_or(closed)
            }
        }
    }

    /// What the node knows of all ledgers that it is to host, also of those that it could not open, by name.
    pub fn statuses(&self) -> Vec<Status> {
        let open: Vec<Status> = self.ledgers().iter().map(Ledger::status).collect();
        let unopened = self.unopened().all().into_iter();
        let unopened = unopened.filter(|known| open.iter().all(|status| status.group != known.group));
        let unopened: Vec<_> = unopened.map(|known| self.unopened_status(known)).collect();
        let mut all = open;
        all.extend(unopened);
        all.sort_by(|a, b| a.group.as_str().cmp(b.group.as_str()));
        all
    }

    fn unopened_status(&self, UnopenedLedger { group, reason, kind }: UnopenedLedger) -> Status {
        Status {
            cluster: self.cluster().clone(),
            cluster_incarnation: None,
            group,
            node: self.id().clone(),
            role: Role::Closed { kind, reason },
            term: 0,
            master: None,
            first: 0,
            committed: 0,
            durable: 0,
            end: 0,
            committed_position: 0,
            committed_chain: 0,
            disk_full: None,
            durability: None,
            waiting: None,
            alarm: None,
            scrub: Default::default(),
            members: Vec::new(),
        }
    }

    /// Waits until every ledger of the node is closed, whatever closed it: a failed disk, damage, [`Node::shutdown`].
    /// Returns each of them, and why. Such a node is of no use before it is restarted. While a node has no ledgers this
    /// waits, because one may still be created.
    pub async fn closed(&self) -> Vec<(Group, String)> {
        let mut changes = self.changes();
        loop {
            changes.mark_unchanged();
            let (open, unopened) = (self.ledgers(), self.unopened().all());
            let mut closed: Vec<_> = unopened.into_iter().map(|known| (known.group, known.reason)).collect();
            if open.is_empty() && closed.is_empty() {
                // An error: the node is gone.
                if changes.changed().await.is_err() {
                    return closed;
                }
                continue;
            }
            tokio::select! {
                biased;
                ended = join_all(open.iter().map(why_closed)) => {
                    // A ledger that came meanwhile must be closed too.
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
    (ledger.group().clone(), final_reason(&mut role).await)
}
