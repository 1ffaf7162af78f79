//! Ledgers that the node is to host and could not open, and waiting until all of a node's ledgers are closed.

use std::sync::Arc;

use futures::future::join_all;
use parking_lot::RwLock;
use tokio::sync::watch;

use super::ledger::Ledger;
use super::node::Node;
use crate::disk::passes;
use crate::error::{LedgerError, OpenError, StartError};
use crate::peer::server::refusing::Refusing;
use crate::types::{ClosedKind, Group, Role, Status};

/// Those that could not be opened, and why.
#[derive(Default)]
pub(super) struct Unopened(RwLock<Vec<UnopenedLedger>>);

#[derive(Clone)]
struct UnopenedLedger {
    group: Group,
    reason: String,
    kind: ClosedKind,
}

impl Unopened {
    /// Keeps the newest reason.
    fn add(&self, closed: UnopenedLedger) {
        let mut unopened = self.0.write();
        unopened.retain(|known| known.group != closed.group);
        unopened.push(closed);
    }

    pub(super) fn remove(&self, group: &str) {
        self.0.write().retain(|known| known.group.as_str() != group);
    }

    fn get(&self, group: &str) -> Option<UnopenedLedger> {
        self.all().into_iter().find(|known| known.group.as_str() == group)
    }

    /// Its name, if it is one of them.
    pub(super) fn group(&self, group: &str) -> Option<Group> {
        self.get(group).map(|known| known.group)
    }

    pub(super) fn reason(&self, group: &str) -> Option<String> {
        self.get(group).map(|known| known.reason)
    }

    /// Whether it is one of them only because somebody else has its directory open.
    pub(super) fn is_in_use(&self, group: &Group) -> bool {
        self.get(group.as_str()).is_some_and(|known| known.kind == ClosedKind::InUse)
    }

    /// Those whose directory somebody else has open.
    pub(super) fn in_use(&self) -> Vec<Group> {
        self.all().into_iter().filter(|known| known.kind == ClosedKind::InUse).map(|known| known.group).collect()
    }

    fn all(&self) -> Vec<UnopenedLedger> {
        self.0.read().clone()
    }
}

impl Node {
    /// Keeps a ledger that cannot be opened in view: who asks for it is told why there is none, on the wire too.
    pub(super) fn keep_closed(&self, group: &Group, error: &StartError) {
        let (reason, kind) = (error.to_string(), kind_of(error));
        self.unopened().add(UnopenedLedger { group: group.clone(), reason: reason.clone(), kind });
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
                // None: opened meanwhile, or removed. Whoever asks again is told.
                self.unopened().get(group).map(|known| self.unopened_status(known)).ok_or(closed)
            }
        }
    }

    /// What the node knows of all ledgers that it is to host, those that could not be opened too, by name.
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
    /// Returns each of them, and why. Such a node is of no use before it is restarted. A node without ledgers is waited
    /// for: one may be created yet.
    pub async fn closed(&self) -> Vec<(Group, String)> {
        let mut changes = self.changes();
        loop {
            changes.mark_unchanged();
            let (open, unopened) = (self.ledgers(), self.unopened().all());
            let mut closed: Vec<_> = unopened.into_iter().map(|known| (known.group, known.reason)).collect();
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
    (ledger.group().clone(), final_reason(&mut role).await)
}

/// Waits until nothing more comes of a ledger, and says why.
pub(super) async fn final_reason(role: &mut watch::Receiver<Role>) -> String {
    // An error: who told the role is gone, and the ledger with it.
    let last = role.wait_for(Role::is_final).await.map_or(Role::Stopped, |role| role.clone());
    last.final_reason().unwrap_or_default().to_owned()
}

/// What can be done about a ledger that could not be opened.
fn kind_of(error: &StartError) -> ClosedKind {
    match error {
        StartError::Open(error) => kind_of_open(error),
        StartError::Unrepaired { .. } => ClosedKind::Damaged,
        StartError::Ledgers { failed } => failed.first().map_or(ClosedKind::Refused, |(_, error)| kind_of(error)),
        StartError::Raft { .. } => ClosedKind::Internal,
        StartError::Config(_) | StartError::Peers(_) | StartError::Bind { .. } | StartError::NoCluster { .. } => {
            ClosedKind::Refused
        }
    }
}

fn kind_of_open(error: &OpenError) -> ClosedKind {
    match error {
        OpenError::Locked { .. } => ClosedKind::InUse,
        OpenError::Damaged(_) => ClosedKind::Damaged,
        OpenError::Io { source, .. } if passes(source) => ClosedKind::Exhausted,
        OpenError::Io { .. } => ClosedKind::Storage,
        OpenError::Foreign { .. } | OpenError::Version { .. } | OpenError::Unexpected { .. } => ClosedKind::Refused,
    }
}
