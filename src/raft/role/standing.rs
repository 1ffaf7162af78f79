//! How a node stands to its cluster beyond what Raft says: whether it hears its leader, whether others say that it is a
//! member no more, and for what it waits.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tokio::sync::{Notify, watch};

use crate::types::{Group, NodeId};

/// Shared by the network, which hears things, the role task, which draws the conclusions, and who tells the operator.
/// Cheap to clone.
#[derive(Clone)]
pub(crate) struct Standing {
    inner: Arc<Inner>,
}

struct Inner {
    /// Appends of leaders that have arrived.
    appends: AtomicU64,
    /// Somebody waits for the next one.
    awaited: AtomicBool,
    arrived: Notify,
    /// Who said that this node is a member no more.
    removed: watch::Sender<Option<String>>,
    /// Why there is no master, as far as this node can tell, and what to do.
    waiting: watch::Sender<Option<String>>,
    /// Somebody wants to know.
    looked: Notify,
    /// What a leader says that what is committed here contradicts.
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
    /// An append of a leader has arrived, whether or not Raft has answered it yet: a disk that is slow to take it is no
    /// reason to say that nobody leads.
    pub(crate) fn hear(&self) {
        self.inner.appends.fetch_add(1, Ordering::SeqCst);
        if self.inner.awaited.swap(false, Ordering::SeqCst) {
            self.inner.arrived.notify_one();
        }
    }

    /// How many appends have arrived.
    pub(crate) fn heard(&self) -> u64 {
        self.inner.appends.load(Ordering::SeqCst)
    }

    /// Until more than `heard` appends have arrived. May be dropped and called again.
    pub(crate) async fn heard_more_than(&self, heard: u64) {
        loop {
            self.inner.awaited.store(true, Ordering::SeqCst);
            if self.heard() > heard {
                return;
            }
            self.inner.arrived.notified().await;
        }
    }

    /// `by` says that this node's disk is a member no more.
    pub(crate) fn tell_removed(&self, by: &str) {
        self.inner.removed.send_if_modified(|told| {
            let new = told.is_none();
            if new {
                *told = Some(by.to_owned());
            }
            new
        });
    }

    /// A leader has called since: it is a member after all.
    pub(crate) fn tell_member(&self) {
        self.inner.removed.send_if_modified(|told| told.take().is_some());
    }

    /// Who said that this node is a member no more.
    pub(crate) fn removed(&self) -> watch::Receiver<Option<String>> {
        self.inner.removed.subscribe()
    }

    /// Says why there is no master; `None`: there is one.
    pub(crate) fn wait_for(&self, why: Option<String>) {
        self.inner.waiting.send_replace(why);
    }

    /// `leader` sends what does not fit what is committed here, as `why` says: nothing more comes of the two.
    pub(crate) fn contradict(&self, group: &Group, leader: &NodeId, why: &str) {
        let told = format!(
            "the master {leader} has another history than this node: {why}. Nothing is taken from it, for records that \
             were acknowledged would go. It can be so when a disk was set back or lost while no master knew it \
             (docs/recovery.md): compare the two (`dledger log diff`), and give the one that is not wanted an empty \
             directory (`dledger members replace`)"
        );
        let new = self.inner.contradiction.send_if_modified(|known| known.replace(told.clone()).is_none());
        if new {
            tracing::error!(%group, "{told}");
        }
    }

    /// What a leader sends fits.
    pub(crate) fn agree(&self) {
        if self.inner.contradiction.borrow().is_some() {
            self.inner.contradiction.send_replace(None);
        }
    }

    /// Why nothing is taken from the leader, although it leads.
    pub(crate) fn contradiction(&self) -> Option<String> {
        self.inner.contradiction.borrow().clone()
    }

    /// Has it found out soon why there is no master.
    pub(crate) fn look(&self) {
        self.inner.looked.notify_one();
    }

    /// Until somebody wants to know why there is no master.
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
