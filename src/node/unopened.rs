//! Ledgers that the node is to host and could not open.

use parking_lot::RwLock;

use crate::disk::is_transient;
use crate::error::{OpenError, StartError};
use crate::types::{ClosedKind, Group};

/// The ledgers that could not be opened, and why.
#[derive(Default)]
pub(super) struct Unopened(RwLock<Vec<UnopenedLedger>>);

#[derive(Clone)]
pub(super) struct UnopenedLedger {
    pub(super) group: Group,
    pub(super) reason: String,
    pub(super) kind: ClosedKind,
}

impl UnopenedLedger {
    pub(super) fn new(group: &Group, error: &StartError) -> Self {
        Self { group: group.clone(), reason: error.to_string(), kind: kind_of(error) }
    }
}

impl Unopened {
    /// Adds a ledger, or its newest reason.
    pub(super) fn add(&self, closed: UnopenedLedger) {
        let mut unopened = self.0.write();
        unopened.retain(|known| known.group != closed.group);
        unopened.push(closed);
    }

    pub(super) fn remove(&self, group: &str) {
        self.0.write().retain(|known| known.group.as_str() != group);
    }

    pub(super) fn get(&self, group: &str) -> Option<UnopenedLedger> {
        self.all().into_iter().find(|known| known.group.as_str() == group)
    }

    /// The group of that name, if its ledger is one of them.
    pub(super) fn group(&self, group: &str) -> Option<Group> {
        self.get(group).map(|known| known.group)
    }

    pub(super) fn reason(&self, group: &str) -> Option<String> {
        self.get(group).map(|known| known.reason)
    }

    /// Whether the ledger is one of them only because another process has its directory open.
    pub(super) fn is_in_use(&self, group: &Group) -> bool {
        self.get(group.as_str()).is_some_and(|known| known.kind == ClosedKind::InUse)
    }

    /// Those whose directory another process has open.
    pub(super) fn in_use(&self) -> Vec<Group> {
        self.all().into_iter().filter(|known| known.kind == ClosedKind::InUse).map(|known| known.group).collect()
    }

    pub(super) fn all(&self) -> Vec<UnopenedLedger> {
        self.0.read().clone()
    }
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
        OpenError::Io { source, .. } if is_transient(source) => ClosedKind::Exhausted,
        OpenError::Io { .. } => ClosedKind::Storage,
        OpenError::Foreign { .. } | OpenError::Version { .. } | OpenError::Unexpected { .. } => ClosedKind::Refused,
    }
}
