//! The task that forms the cluster, and says why there is no master.
//!
//! An empty node waits until the cluster is formed, or until the cluster adds it ([`formation`](super::formation)); a
//! node that has a membership waits for a quorum of it. A node that waits says so: in its log when the reason is new,
//! in its status, to those whose appends it refuses, and to nodes that ask it because they wait for it.

use std::time::Duration;

use futures::future;

use super::formation::{Formation, why};
use crate::node::ledger::{Ledger, WeakLedger};
use crate::peer::outages::Outages;
use crate::raft::Runtime;
use crate::transport::TransportError;
use crate::types::{Incarnation, Member, Role};

/// How long the founder of the cluster waits before it asks its peers again.
const QUICK_RETRY: Duration = Duration::from_millis(100);
/// How long the founder waits after [`QUICK_ATTEMPTS`], and how often other nodes look: a hundred ledgers that wait for
/// a node which is not there must cost little. An election in good order is over before the first look.
const SLOW_RETRY: Duration = Duration::from_secs(1);
/// Attempts of the founder before it waits longer between them: ten seconds' worth.
const QUICK_ATTEMPTS: u32 = 100;
/// Rounds between two reasons in the log: a reason that has gone after 3 rounds is no news.
const QUIET_ROUNDS: u32 = 3;

/// How long until the task asks the members again: 2 s, 4 s, 8 s. Where a hundred ledgers elect at once, the questions
/// must not delay the elections.
fn member_poll_pause(round: u32) -> Duration {
    SLOW_RETRY * (1 << round.clamp(1, 3))
}

/// Forms the cluster of a ledger, if that is this node's business, and says why the ledger has no master.
pub(crate) struct MasterWait {
    formation: Formation,
    ledger: WeakLedger,
    /// Hushed while the node stops: then a missing master is no news.
    outages: Outages,
}

/// The last reason that the log has, and the round it is of.
#[derive(Default)]
struct Reported {
    why: Option<String>,
    round: u32,
}

impl MasterWait {
    pub(crate) fn new(formation: Formation, ledger: WeakLedger, outages: Outages) -> Self {
        Self { formation, ledger, outages }
    }

    /// Runs until the ledger is gone or closed.
    pub(crate) async fn run<R: Runtime>(self) {
        let Some(mut role) = self.ledger.upgrade().map(|ledger| ledger.role()) else { return };
        let (mut round, mut reported) = (0_u32, Reported::default());
        loop {
            let now = role.borrow_and_update().clone();
            let Some(ledger) = self.ledger.upgrade() else { return };
            let (reason, pause) = match now {
                Role::Stopped | Role::Closed { .. } => return,
                Role::Master { .. } | Role::Slave { .. } => (None, None),
                Role::Removed { reason, .. } => (Some(reason), None),
                Role::Electing { .. } => match ledger.replica().raft.is_pristine().await {
                    Ok(true) if self.formation.is_founder() || round > 0 => {
                        let quick = self.formation.is_founder() && round < QUICK_ATTEMPTS;
                        (self.formation.attempt(&ledger).await, Some(if quick { QUICK_RETRY } else { SLOW_RETRY }))
                    }
                    Ok(false) if round > 0 => {
                        (Some(self.explain_no_quorum(&ledger).await), Some(member_poll_pause(round)))
                    }
                    Ok(_) => (reported.why.clone(), Some(member_poll_pause(1))),
                    // Raft has stopped.
                    Err(_) => return,
                },
            };
            let waits = pause.is_some();
            self.report(&ledger, reason, waits.then_some(round), &mut reported);
            let standing = ledger.replica().standing.clone();
            drop(ledger);
            round = if waits { round.saturating_add(1) } else { 0 };
            let changed = match pause {
                None => role.changed().await,
                Some(pause) => {
                    let settled = role.wait_for(|role| !matches!(role, Role::Electing { .. }));
                    tokio::select! {
                        biased;
                        changed = settled => changed.map(drop),
                        () = standing.looked_for() => Ok(()),
                        () = R::sleep(pause) => Ok(()),
                    }
                }
            };
            if changed.is_err() {
                return;
            }
        }
    }

    /// Shows `reason` in the status, and logs it if it is new. `round` is the round of waiting; `None`: log it at once.
    fn report(&self, ledger: &Ledger, reason: Option<String>, round: Option<u32>, reported: &mut Reported) {
        let replica = ledger.replica();
        replica.standing.wait_for(reason.clone());
        if reason == reported.why || round.is_some_and(|round| round < reported.round.saturating_add(QUIET_ROUNDS)) {
            return;
        }
        match &reason {
            Some(_) if self.outages.is_hushed() => {}
            Some(why) => tracing::warn!(group = %ledger.group(), node = %replica.identity.node, %why, "no master"),
            None => {
                tracing::info!(group = %ledger.group(), node = %replica.identity.node, "no longer waiting")
            }
        }
        *reported = Reported { why: reason, round: round.unwrap_or(0) };
    }

    /// Why the members elect no master: who does not answer, as far as this node knows them.
    async fn explain_no_quorum(&self, ledger: &Ledger) -> String {
        let replica = ledger.replica();
        if let Some(reported) = replica.standing.contradiction() {
            return reported;
        }
        let me = &replica.identity.node;
        let (members, cluster) = {
            let view = replica.view.borrow();
            (view.members.clone(), view.cluster)
        };
        let others: Vec<&Member> = members.iter().map(|m| &m.member).filter(|member| member.id != *me).collect();
        let answers = future::join_all(others.iter().map(|member| ledger.ask_member(member))).await;
        let mut lines = Vec::new();
        for (member, answer) in others.iter().zip(answers) {
            match answer {
                Ok(answer) => match (Incarnation::from_slice(&answer.cluster_incarnation), cluster) {
                    (Some(theirs), Some(own)) if theirs != own => {
                        lines.push(format!("{} (it is of another cluster by now, of incarnation {theirs})", member.id));
                    }
                    _ if answer.incarnation != member.incarnation.to_bytes()[..] => {
                        lines.push(format!("{} (another disk is there: was it lost?)", member.id));
                    }
                    _ => {}
                },
                Err(error) => {
                    if let TransportError::Refused { refusal, .. } = &error
                        && refusal.removed
                    {
                        replica.standing.tell_removed(member.id.as_str());
                    }
                    lines.push(format!("{} ({})", member.id, why(&error)));
                }
            }
        }
        let voters = members.iter().filter(|member| member.voter).count();
        let all = members.iter().filter(|m| m.voter).map(|m| m.member.id.as_str()).collect::<Vec<_>>().join(", ");
        match lines.is_empty() {
            // A leader that does not reach this node is no leader as far as this node can tell.
            true => format!(
                "all members answer, and this node hears of no master: {} of {all} have to agree on one. If one leads, \
                 it does not reach this node at {}: its log says why",
                voters / 2 + 1,
                ledger.advertised()
            ),
            false => format!(
                "no answer from {}: {} of the {voters} voters {all} have to agree on a master. Start them, or see \
                 docs/recovery.md if they are lost",
                lines.join(", "),
                voters / 2 + 1
            ),
        }
    }
}
