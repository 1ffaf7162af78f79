//! Who leads: handing over, and the right to append in one term only.

use std::time::Duration;

use bytes::Bytes;

use super::ledger::Ledger;
use super::pending::Pending;
use crate::error::{AppendError, Damage, MemberError};
use crate::raft::membership::change::{MemberView, MembershipView};
use crate::raft::role::tenure::Tenure;
use crate::types::{Ack, NodeId, Role, Span};

impl Ledger {
    /// Hands the mastership over to `to`. Appends wait meanwhile, some milliseconds, and are then refused here: none is
    /// lost. Ends when `to` is the master. To be called on the master; nothing happens if that is `to`.
    ///
    /// # Errors
    /// If this is not the master, if `to` is no voter or is behind, or if it did not take over in time.
    pub async fn transfer_leadership(&self, to: &NodeId) -> Result<(), MemberError> {
        self.check_master()?;
        if *to == self.replica().identity.node {
            return Ok(());
        }
        // A master of a moment ago has not heard from all yet.
        let settled = |view: &MembershipView| view.get(to).is_none_or(|seen| view.has_caught_up(seen));
        let limit = self.replica().timing.call();
        self.replica().wait_for(&settled, limit).await?;
        let view = self.replica().membership();
        let Some(seen) = view.get(to) else { return Err(view.unknown(to)) };
        if !seen.voter {
            return Err(MemberError::Learner { id: to.clone() });
        }
        if !view.has_caught_up(seen) {
            let (id, behind) = (to.clone(), view.behind(seen));
            return Err(MemberError::Behind { id, behind, waited: limit });
        }
        self.transfer(to).await
    }

    /// Hands the mastership over to the voter that is furthest, whichever that is.
    pub(super) async fn hand_over(&self) -> Result<(), MemberError> {
        let view = self.replica().membership();
        let Some(best) = successor(&view, &self.replica().identity.node) else {
            let voters = view.members.iter().filter(|seen| seen.voter).count();
            let (voters, needed, missing) = (voters.saturating_sub(1), voters / 2, view.missing());
            return Err(MemberError::QuorumAtRisk { voters, alive: 0, needed, missing });
        };
        self.transfer(&best.member.id).await
    }

    /// Hands over, if there is anything to hand over and anybody to take it, before the node stops.
    pub(super) async fn step_down(&self) {
        let view = self.replica().membership();
        if !view.leads || successor(&view, &self.replica().identity.node).is_none() {
            return;
        }
        if let Err(error) = self.hand_over().await {
            tracing::info!(group = %self.group(), %error, "stopping without a successor: the others elect one");
        }
    }

    /// Closes the ledger, whose stored entries are damaged. A master hands over first, as well as that can be done: its
    /// peers refuse what it sends.
    pub(super) async fn close_damaged(&self, damage: &Damage) {
        tracing::error!(group = %self.group(), %damage, "stored entries are damaged and cannot be repaired while the \
            ledger is open: it is closed");
        if self.replica().membership().leads
            && let Err(error) = self.hand_over().await
        {
            tracing::error!(group = %self.group(), %error, "closing without a successor");
        }
        self.replica().log.fail_damaged(damage);
        self.replica().stop().await;
    }

    async fn transfer(&self, to: &NodeId) -> Result<(), MemberError> {
        let group = self.replica();
        tracing::info!(group = %self.group(), %to, "handing the leadership over");
        let mut role = group.role.clone();
        group.transfer(to.clone()).await.map_err(|reason| MemberError::Closed { reason })?;
        let followed = role.wait_for(|role| matches!(role, Role::Slave { .. }) || role.is_final());
        let unknown = |reason: String| Err(MemberError::Unknown { reason });
        // What is in flight must be on the successor first; then it is one election.
        let limit = group.timing.hand_over();
        match group.timed(limit, followed).await.map(|(role, _)| role.map(|role| role.clone())) {
            Some(Ok(Role::Slave { master, .. })) if master.id == *to => Ok(()),
            Some(Ok(Role::Slave { master, .. })) => unknown(format!("{} took over instead of {to}", master.id)),
            Some(Ok(role)) => match role.final_reason() {
                Some(reason) => Err(MemberError::Closed { reason: reason.to_owned() }),
                None => unknown(format!("the role is {}", role.name())),
            },
            Some(Err(_)) => unknown("the node is shutting down".into()),
            None => unknown(format!("{to} has not taken over within {}: one that can is elected", Span(limit))),
        }
    }

    pub(super) fn not_master(&self) -> MemberError {
        let role = self.replica().role.borrow();
        match (&*role, role.final_reason()) {
            (_, Some(reason)) => MemberError::Closed { reason: reason.to_owned() },
            (Role::Slave { master, .. }, _) => MemberError::NotMaster { master: Some(master.clone()) },
            _ => MemberError::NotMaster { master: None },
        }
    }

    /// The right to append in the term that this node is master of now, and in no other: a fencing token.
    ///
    /// # Errors
    /// If this node is not the master.
    pub fn leadership(&self) -> Result<Leadership, AppendError> {
        if let Some(reign) = *self.replica().tenure.borrow() {
            return Ok(Leadership::new(self.clone(), reign));
        }
        // A copy: `closed` looks at the role too, and who sets it may come in between.
        let role = self.replica().role.borrow().clone();
        match role {
            Role::Slave { master, .. } => Err(AppendError::NotMaster { master: Some(master) }),
            // The master it was until this moment.
            Role::Master { .. } | Role::Electing { .. } | Role::Removed { .. } => {
                Err(AppendError::NotMaster { master: None })
            }
            Role::Stopped | Role::Closed { .. } => Err(self.closed()),
        }
    }
}

/// The voter to hand over to: one that has caught up, and has the most.
pub(super) fn successor<'p>(view: &'p MembershipView, me: &NodeId) -> Option<&'p MemberView> {
    let others = view.members.iter().filter(|seen| seen.voter && seen.member.id != *me);
    others.filter(|seen| view.has_caught_up(seen)).max_by_key(|seen| seen.matched)
}

/// The right to append in one term. What a broker decided as master of that term goes into the log while it is master
/// of that term, or not at all: also if it lost the mastership and has won it back.
///
/// Two of them are equal if they are of the same node and the same time of being its master.
#[derive(Debug, Clone)]
pub struct Leadership {
    ledger: Ledger,
    reign: Tenure,
}

impl PartialEq for Leadership {
    fn eq(&self, other: &Self) -> bool {
        self.reign == other.reign && self.ledger.is_same(&other.ledger)
    }
}

impl Eq for Leadership {}

impl Leadership {
    pub(super) fn new(ledger: Ledger, reign: Tenure) -> Self {
        Self { ledger, reign }
    }

    /// The term.
    pub fn term(&self) -> u64 {
        self.reign.term
    }

    /// Index of the first record of the term, once there is one: all records before it are of other masters, or of
    /// this node in another term, and all of them are committed and can be read here.
    pub fn first_index(&self) -> u64 {
        self.reign.first_index
    }

    /// Whether this node is not the master of the term any more, as far as it knows. One that is over stays over.
    pub fn is_over(&self) -> bool {
        *self.ledger.replica().tenure.borrow() != Some(self.reign)
    }

    /// As [`Ledger::append`], in this term.
    ///
    /// # Errors
    /// As there, and [`AppendError::TermOver`].
    pub async fn append(&self, record: impl Into<Bytes>) -> Result<Ack, AppendError> {
        self.ledger.append_in(Some(self.term()), record.into()).await
    }

    /// As [`Ledger::append_batch`], in this term.
    ///
    /// # Errors
    /// As there, and [`AppendError::TermOver`].
    pub async fn append_batch<I>(&self, records: I) -> Result<Vec<Ack>, AppendError>
    where
        I: IntoIterator,
        I::Item: Into<Bytes>,
    {
        self.ledger.append_batch_in(Some(self.term()), records.into_iter().map(Into::into).collect()).await
    }

    /// As [`Ledger::submit`], in this term.
    ///
    /// # Errors
    /// As there, and [`AppendError::TermOver`].
    pub async fn submit(&self, records: Vec<Bytes>, timeout: Option<Duration>) -> Result<Pending, AppendError> {
        self.ledger.submit_in(Some(self.term()), records, timeout).await
    }

    /// As [`Ledger::try_submit`], in this term.
    ///
    /// # Errors
    /// As there, and [`AppendError::TermOver`], at once or from the returned future.
    pub fn try_submit(&self, records: Vec<Bytes>) -> Result<Pending, AppendError> {
        if self.is_over() {
            return Err(AppendError::TermOver { term: self.term() });
        }
        self.ledger.try_submit_in(Some(self.term()), records)
    }

    /// Resolves when it [is over](Leadership::is_over).
    pub async fn over(&self) {
        let mut reign = self.ledger.replica().tenure.clone();
        // An error: who told it is gone, and the ledger with it.
        let _ = reign.wait_for(|reign| *reign != Some(self.reign)).await;
    }
}
