//! How a node stands to its cluster beyond what Raft says: whether it hears its leader, whether other nodes say that it
//! was removed, and why it has no master.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tokio::sync::{Notify, watch};

use crate::types::{Group, NodeId};

/// The network writes it, the role task draws the conclusions, status and errors tell the operator. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Standing {
    inner: Arc<Inner>,
}

struct Inner {
    /// Appends of leaders that have arrived so far.
    appends: AtomicU64,
    /// Whether a task waits for the next append.
    awaited: AtomicBool,
    arrived: Notify,
    /// The node that said that this one was removed.
    removed: watch::Sender<Option<String>>,
    /// Why there is no master, as far as this node can tell, and what to do.
    waiting: watch::Sender<Option<String>>,
    /// Wakes the task that finds out why there is no master.
    looked: Notify,
    /// How a leader's history contradicts what is committed here.
    contradiction: watch::Sender<Option<String>>,
}

impl Default for Standing {
    fn default() -> Self {
        let (appends, awaited, arrived, looked) = Default::default();
        let none = || watch::Sender::new(None);
        let (removed, waiting, contradiction) = (none(), none(), none());
        Self { inner: Arc::new(Inner { appends, awaited, arrived, removed, waiting, looked, contradiction }) }
    }
}

impl Standing {
    /// Counts an append of a leader, before Raft answers it: a slow disk of this node does not mean that nobody leads.
    pub(crate) fn hear(&self) {
        self.inner.appends.fetch_add(1, Ordering::SeqCst);
        if self.inner.awaited.swap(false, Ordering::SeqCst) {
            self.inner.arrived.notify_one();
        }
    }

    /// How many appends of leaders have arrived so far.
    pub(crate) fn heard(&self) -> u64 {
        self.inner.appends.load(Ordering::SeqCst)
    }

    /// Returns once more than `heard` appends have arrived. Safe to cancel.
    pub(crate) async fn heard_more_than(&self, heard: u64) {
        loop {
            self.inner.awaited.store(true, Ordering::SeqCst);
            if self.heard() > heard {
                return;
            }
            self.inner.arrived.notified().await;
        }
    }

    /// Notes that `by` says that this node was removed. The first to say so is kept.
    pub(crate) fn tell_removed(&self, by: &str) {
        self.inner.removed.send_if_modified(|told| {
            let new = told.is_none();
            if new {
                *told = Some(by.to_owned());
            }
            new
        });
    }

    /// Notes that a leader has called: this node is a member after all.
    pub(crate) fn tell_member(&self) {
        self.inner.removed.send_if_modified(|told| told.take().is_some());
    }

    /// The node that said that this one was removed.
    pub(crate) fn removed(&self) -> watch::Receiver<Option<String>> {
        self.inner.removed.subscribe()
    }

    /// Notes why there is no master; `None`: there is one.
    pub(crate) fn wait_for(&self, why: Option<String>) {
        self.inner.waiting.send_replace(why);
    }

    /// Notes that `leader` sends entries that contradict what is committed here, as `why` says. This node takes nothing
    /// from it until it does no more.
    pub(crate) fn contradict(&self, group: &Group, leader: &NodeId, why: &str) {
        let told = format!(
            "the master {leader} has another history than this node: {why}. This node takes nothing from it, \
             because it would lose acknowledged records. A disk that was set back or lost while no master noticed can \
             cause this (docs/recovery.md): compare the two nodes (`dledger log diff`), and give the one whose history \
             is wrong an empty directory (`dledger members replace`)"
        );
        let new = self.inner.contradiction.send_if_modified(|known| known.replace(told.clone()).is_none());
        if new {
            tracing::error!(%group, "{told}");
        }
    }

    /// Notes that what a leader sends fits.
    pub(crate) fn agree(&self) {
        if self.inner.contradiction.borrow().is_some() {
            self.inner.contradiction.send_replace(None);
        }
    }

    /// Why this node takes nothing from its leader.
    pub(crate) fn contradiction(&self) -> Option<String> {
        self.inner.contradiction.borrow().clone()
    }

    /// Has the waiting task find out why there is no master.
    pub(crate) fn look(&self) {
        self.inner.looked.notify_one();
    }

    /// Returns when a caller wants to know why there is no master.
    pub(crate) async fn looked_for(&self) {
        self.inner.looked.notified().await;
    }

    /// Why there is no master, as far as this node can tell, and what to do.
    pub(crate) fn waiting(&self) -> Option<String> {
        self.inner.waiting.borrow().clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_append_that_arrives_before_it_is_waited_for_is_not_missed() {
        let standing = Standing::default();
        standing.hear();
        standing.heard_more_than(0).await;
        let more = standing.heard_more_than(1);
        futures::pin_mut!(more);
        assert!(futures::poll!(&mut more).is_pending());
        standing.hear();
        more.await;
    }

    #[test]
    fn the_first_to_say_it_counts_until_a_leader_calls() {
        let standing = Standing::default();
        standing.tell_removed("n1");
        standing.tell_removed("n2");
        assert_eq!(standing.removed().borrow().as_deref(), Some("n1"));
        standing.tell_member();
        assert_eq!(*standing.removed().borrow(), None);
    }
}
