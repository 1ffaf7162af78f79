//! Handing the leadership over.

use super::Ledger;
use crate::error::MemberError;
use crate::raft::membership::view::{MemberView, MembershipView};
use crate::types::{NodeId, Role, Span};

impl Ledger {
    /// Hands the mastership over to `to`, and returns once `to` is the master. Appends wait meanwhile, some
    /// milliseconds, and are then refused here: none is lost. Call it on the master; if that is `to`, nothing happens.
    ///
    /// # Errors
    /// This is not the master, `to` is no voter or is behind, or `to` did not take over in time.
    pub async fn transfer_leadership(&self, to: &NodeId) -> Result<(), MemberError> {
        self.check_master()?;
        if *to == self.replica().identity.node {
            return Ok(());
        }
        // A new master has not heard from all members yet.
        let settled = |view: &MembershipView| view.get(to).is_none_or(|seen| view.has_caught_up(seen));
        let limit = self.replica().timing.call();
        self.replica().wait_for(&settled, limit).await?;
        let view = self.replica().raft.membership();
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

    /// Hands the mastership over to the voter that is furthest.
    pub(in crate::node) async fn hand_over(&self) -> Result<(), MemberError> {
        let view = self.replica().raft.membership();
        let Some(best) = successor(&view, &self.replica().identity.node) else {
            let voters = view.members.iter().filter(|seen| seen.voter).count();
            let (voters, needed, missing) = (voters.saturating_sub(1), voters / 2, view.missing());
            return Err(MemberError::QuorumAtRisk { voters, alive: 0, needed, missing });
        };
        self.transfer(&best.member.id).await
    }

    /// Hands over before the node stops, if this is the master and another voter has caught up.
    pub(in crate::node) async fn step_down(&self) {
        let view = self.replica().raft.membership();
        if !view.leads || successor(&view, &self.replica().identity.node).is_none() {
            return;
        }
        if let Err(error) = self.hand_over().await {
            tracing::info!(group = %self.group(), %error, "stopping without a successor: the other members elect one");
        }
    }

    async fn transfer(&self, to: &NodeId) -> Result<(), MemberError> {
        let replica = self.replica();
        tracing::info!(group = %self.group(), %to, "handing the leadership over");
        let mut role = replica.role.clone();
        replica.raft.transfer(to.clone()).await.map_err(|reason| MemberError::Closed { reason })?;
        let followed = role.wait_for(|role| matches!(role, Role::Slave { .. }) || role.is_final());
        let unknown = |reason: String| Err(MemberError::Unknown { reason });
        // First the successor gets what is in flight; then it takes one election.
        let limit = replica.timing.hand_over();
        match replica.timed(limit, followed).await.map(|(role, _)| role.map(|role| role.clone())) {
            Some(Ok(Role::Slave { master, .. })) if master.id == *to => Ok(()),
            Some(Ok(Role::Slave { master, .. })) => unknown(format!("{} took over instead of {to}", master.id)),
            Some(Ok(role)) => match role.final_reason() {
                Some(reason) => Err(MemberError::Closed { reason: reason.to_owned() }),
                None => unknown(format!("the role is {}", role.name())),
            },
            Some(Err(_)) => unknown("the node is shutting down".into()),
            None => unknown(format!("{to} has not taken over within {}: the members elect one that can", Span(limit))),
        }
    }

    pub(in crate::node) fn not_master(&self) -> MemberError {
        let role = self.replica().role.borrow();
        match (&*role, role.final_reason()) {
            (_, Some(reason)) => MemberError::Closed { reason: reason.to_owned() },
            (Role::Slave { master, .. }, _) => MemberError::NotMaster { master: Some(master.clone()) },
            _ => MemberError::NotMaster { master: None },
        }
    }
}

/// The voter to hand over to: of those that have caught up, the one that has most of the log.
pub(in crate::node) fn successor<'p>(view: &'p MembershipView, me: &NodeId) -> Option<&'p MemberView> {
    let others = view.members.iter().filter(|seen| seen.voter && seen.member.id != *me);
    others.filter(|seen| view.has_caught_up(seen)).max_by_key(|seen| seen.matched)
}
