//! The task that opens a ledger whose directory another process had open, as soon as it is free.
//!
//! A starting node waits for a directory (`lock_wait`), but not for ever, because its other ledgers should serve.

use std::time::Duration;

use tokio::sync::watch;

use crate::node::node::WeakNode;

/// How often the task looks.
const LOOK: Duration = Duration::from_secs(1);

/// Watches over the unopened ledgers of `node` until the node is gone or stops. `changes` tells when ledgers come and
/// go.
pub(crate) async fn reopen(node: WeakNode, mut changes: watch::Receiver<()>) {
    loop {
        changes.mark_unchanged();
        let Some(in_use) = in_use(&node) else { return };
        if in_use {
            tokio::time::sleep(LOOK).await;
            if !open_those_that_are_free(&node).await {
                return;
            }
        } else if changes.changed().await.is_err() {
            return;
        }
    }
}

/// Whether the node waits for any directory. `None`: the node is gone.
fn in_use(node: &WeakNode) -> Option<bool> {
    node.upgrade().map(|node| !node.unopened().in_use().is_empty())
}

/// Returns false if the node is gone or has stopped.
async fn open_those_that_are_free(node: &WeakNode) -> bool {
    let Some(node) = node.upgrade() else { return false };
    for group in node.unopened().in_use() {
        if !node.open_if_free(&group).await {
            return false;
        }
    }
    true
}
