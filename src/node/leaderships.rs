//! The leaderships of this node as they begin; waiting for a master.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::stream::{self, BoxStream};
use futures::{Stream, StreamExt};
use tokio::sync::watch;

use super::leadership::Leadership;
use super::ledger::{Ledger, MAX_TIMEOUT};
use crate::error::NoMasterError;
use crate::raft::role::tenure::Tenure;
use crate::types::Role;

/// The leaderships of this node, as they begin: the present one, if there is one, then those that come. Ends when the
/// ledger is stopped or closed on this node.
///
/// A slow reader misses some, and gets the newest. The stream gives each leadership once, and none that [is
/// over](Leadership::is_over). A master that loses sight of its quorum and finds it again gets another leadership, of
/// the same term.
pub struct Leaderships {
    leaderships: BoxStream<'static, Leadership>,
}

struct LeadershipCursor {
    ledger: Ledger,
    tenure: watch::Receiver<Option<Tenure>>,
    given: Option<Tenure>,
}

async fn next(mut cursor: LeadershipCursor) -> Option<(Leadership, LeadershipCursor)> {
    loop {
        let now = *cursor.tenure.borrow_and_update();
        if let Some(tenure) = now.filter(|_| now != cursor.given) {
            cursor.given = now;
            return Some((Leadership::new(cursor.ledger.clone(), tenure), cursor));
        }
        // An error: the role task is gone, and the ledger with it.
        cursor.tenure.changed().await.ok()?;
    }
}

impl Ledger {
    /// The leaderships of this node, as they begin. What a master does once per term is a loop over them:
    ///
    /// ```no_run
    /// # async fn example(ledger: dledger::Ledger) -> Result<(), dledger::AppendError> {
    /// use futures::StreamExt;
    ///
    /// let mut leaderships = ledger.leaderships();
    /// while let Some(leadership) = leaderships.next().await {
    ///     // Read what predecessors left, up to `leadership.first_index()`; then lead.
    ///     tokio::select! {
    ///         () = leadership.over() => {}
    ///         appended = leadership.append("decided in this term, or not at all") => { appended?; }
    ///     }
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn leaderships(&self) -> Leaderships {
        let cursor = LeadershipCursor { ledger: self.clone(), tenure: self.replica().tenure.clone(), given: None };
        Leaderships { leaderships: stream::unfold(cursor, next).boxed() }
    }

    /// Waits until this node knows a master, itself or another one, and returns its role: [`Role::Master`] or
    /// [`Role::Slave`]. `timeout` is an hour at most.
    ///
    /// # Errors
    /// There was no master in time: the error says which members are missing, as far as this node can tell. Or this
    /// node will never have a master: it is removed, stopped or closed.
    pub async fn wait_for_master(&self, timeout: Duration) -> Result<Role, NoMasterError> {
        let replica = self.replica();
        let mut role = replica.role.clone();
        if matches!(*role.borrow(), Role::Electing { .. }) {
            // So that the error can say who is missing, should no master come.
            replica.standing.look();
        }
        let settled = role.wait_for(|role| !matches!(role, Role::Electing { .. }));
        let settled = replica.timed(timeout.min(MAX_TIMEOUT), settled).await;
        let Some(role) = settled.map(|(role, _)| role.map_or(Role::Stopped, |role| role.clone())) else {
            return Err(NoMasterError::TimedOut { waited: timeout, waiting: replica.standing.waiting() });
        };
        if let Some(reason) = role.final_reason() {
            return Err(NoMasterError::Closed { reason: reason.to_owned() });
        }
        match role {
            Role::Removed { reason, .. } => Err(NoMasterError::Removed { reason }),
            role => Ok(role),
        }
    }
}

impl Stream for Leaderships {
    type Item = Leadership;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.leaderships.poll_next_unpin(context)
    }
}

impl fmt::Debug for Leaderships {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Leaderships")
    }
}
