//! Waits until this node has all that a read must see.

use std::time::Duration;

use futures::future::{Either, select};

use crate::error::ReadError;
use crate::node::closing::final_reason;
use crate::peer::convert;
use crate::peer::envelope::envelope;
use crate::raft::reads::{NoReadIndex, Proof};
use crate::raft::replica::Replica;
use crate::transport::{Lane, Transport};
use crate::types::{Consistency, Member, Role};
use crate::wire::incarnation_bytes;
use crate::wire::pb;

/// Pause between attempts, which a change of the role cuts short: about a round trip.
const PAUSE: Duration = Duration::from_millis(20);

/// What a promised read waits for.
pub(in crate::node) struct Barrier<'a> {
    pub(in crate::node) replica: &'a Replica,
    pub(in crate::node) transport: &'a dyn Transport,
    pub(in crate::node) timeout: Duration,
}

/// The ledger is closed: asking once more would not help.
struct LedgerClosed(String);

impl Barrier<'_> {
    /// Waits until what `consistency` promises is here.
    ///
    /// Trying again is sound: every attempt asks anew, so the point that the last one waits for was current after the
    /// read began.
    ///
    /// # Errors
    /// It does not come within the timeout, or the ledger is closed.
    pub(in crate::node) async fn pass(&self, consistency: Consistency) -> Result<(), ReadError> {
        let Some(proof) = Proof::of(consistency) else { return Ok(()) };
        let mut why = "no leader is known".to_owned();
        let caught_up = self.replica.timed(self.timeout, self.catch_up(proof, &mut why)).await;
        match caught_up {
            Some((Ok(()), _)) => Ok(()),
            Some((Err(LedgerClosed(reason)), _)) => Err(ReadError::Closed { reason }),
            None => Err(ReadError::Unconfirmed { consistency, waited: self.timeout, reason: why }),
        }
    }

    async fn catch_up(&self, proof: Proof, why: &mut String) -> Result<(), LedgerClosed> {
        let mut clock = self.replica.raft.clock();
        let mut role = self.replica.role.clone();
        // Doubles each time that the leader does not answer.
        let mut patience = self.replica.timing.first_try();
        let number = loop {
            let left = self.timeout.saturating_sub(clock());
            let now = role.borrow_and_update().clone();
            let asked = match &now {
                Role::Stopped | Role::Closed { .. } => {
                    return Err(LedgerClosed(now.final_reason().unwrap_or_default().to_owned()));
                }
                Role::Slave { master, .. } => {
                    let asked = Box::pin(self.ask(master, proof, patience.min(left)));
                    match select(asked, Box::pin(role.changed())).await {
                        Either::Left((answer, _)) => answer,
                        // Perhaps another node leads: no need to wait for this answer.
                        Either::Right(_) => continue,
                    }
                }
                Role::Removed { reason, .. } => Err(NoReadIndex::NotLeader(reason.clone())),
                // The role follows Raft a little later; Raft itself knows whether it leads.
                Role::Master { .. } | Role::Electing { .. } => self.replica.reads.read_index(proof, left).await,
            };
            match asked {
                Ok(number) => break number,
                Err(NoReadIndex::Closed(reason)) => {
                    return Err(LedgerClosed(
                        self.replica.log.failure().map_or(reason, |failure| failure.reason().to_owned()),
                    ));
                }
                Err(NoReadIndex::NotLeader(reason) | NoReadIndex::NoQuorum(reason)) => *why = reason,
            }
            patience = (patience * 2).min(self.timeout);
            select(Box::pin(role.changed()), self.replica.raft.sleep(PAUSE)).await;
        };
        *why = format!("the leader had committed entry {number}, which has not come here");
        let mut committed = self.replica.log.watch_committed();
        let caught_up = Box::pin(committed.wait_for(|point| point.number > number));
        match select(caught_up, Box::pin(final_reason(&mut role))).await {
            Either::Left(_) => Ok(()),
            Either::Right((reason, _)) => Err(LedgerClosed(reason)),
        }
    }

    /// Asks the leader.
    async fn ask(&self, master: &Member, proof: Proof, within: Duration) -> Result<u64, NoReadIndex> {
        let envelope = pb::Envelope {
            cluster_incarnation: incarnation_bytes(self.replica.view.borrow().cluster),
            ..envelope(&self.replica.identity, &master.id, Some(master.incarnation))
        };
        let request = convert::from_read_index(proof, within, envelope);
        let answer = self.transport.link(&master.address, Lane::Control).read_index(request, within).await;
        let nobody = |error: &dyn std::fmt::Display| NoReadIndex::NotLeader(format!("{} leads: {error}", master.id));
        let answer = answer.map_err(|error| nobody(&error))?;
        convert::to_read_number(&answer).map_err(|error| nobody(&error))
    }
}
