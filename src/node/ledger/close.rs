//! Closing a ledger.

use std::io;

use super::Ledger;
use crate::error::Damage;

impl Ledger {
    /// Makes everything durable, and frees the directory.
    pub(in crate::node) async fn close(&self) -> io::Result<()> {
        let log = self.inner.replica.closer.clone();
        tokio::task::spawn_blocking(move || log.close()).await.map_err(io::Error::other)?
    }

    /// Closes the ledger because stored entries are damaged. A master hands over first, as well as it can: its peers
    /// refuse what it sends.
    pub(in crate::node) async fn close_damaged(&self, damage: &Damage) {
        tracing::error!(group = %self.group(), %damage, "stored entries are damaged and cannot be repaired while the \
            ledger is open: it is closed");
        if self.replica().raft.membership().leads
            && let Err(error) = self.hand_over().await
        {
            tracing::error!(group = %self.group(), %error, "closing without a successor");
        }
        self.replica().health.fail_damaged(damage);
        self.replica().raft.shutdown().await;
    }
}
