//! The task that has the leadership where it belongs: at a preferred node, and not at one whose disk hangs.

use std::time::Duration;

use super::ledger::{Ledger, WeakLedger};
use crate::config::{Config, Durability};
use crate::raft::Runtime;
use crate::raft::membership::{Picture, Seen};
use crate::types::{NodeId, Role};

/// How often a master looks.
const LOOK: Duration = Duration::from_millis(250);
/// How long a master leads at least before it hands over to a preferred node: where the nodes do not prefer the same,
/// the leadership goes in circles.
const SETTLE: Duration = Duration::from_secs(3);
/// How long a master waits after it has tried to hand over: what failed once would fail again, and the cluster would do
/// nothing else.
const PAUSE: Duration = Duration::from_secs(10);

/// Watches over one ledger while this node is its master.
pub(super) struct Steward {
    ledger: WeakLedger,
    preferred: Vec<NodeId>,
    stall: Duration,
}

/// How far the disk is, and since when.
struct Disk {
    durable: u64,
    since: Duration,
}

impl Steward {
    pub(super) fn new(ledger: WeakLedger, config: &Config) -> Self {
        // With an interval, nothing is made durable in between.
        let interval = match config.durability {
            Durability::Sync => Duration::ZERO,
            Durability::Interval(every) => every,
        };
        Self { ledger, preferred: config.preferred_leaders.clone(), stall: config.disk_stall_timeout + interval }
    }

    /// Runs until the ledger is closed.
    pub(super) async fn run<R: Runtime>(self) {
        let Some(mut role) = self.ledger.upgrade().map(|ledger| ledger.role()) else { return };
        loop {
            // An error: nobody is left to say what the role is.
            let lead = role.wait_for(|role| matches!(role, Role::Master { .. } | Role::Closed { .. })).await;
            if !lead.is_ok_and(|role| role.is_master()) {
                return;
            }
            tokio::select! {
                biased;
                _ = role.wait_for(|role| !role.is_master()) => {}
                () = self.lead::<R>() => return,
            }
        }
    }

    /// While this node is the master; ends with the ledger.
    async fn lead<R: Runtime>(&self) {
        let Some(mut clock) = self.ledger.upgrade().map(|ledger| ledger.raft_group().clock()) else { return };
        let mut disk = None;
        loop {
            R::sleep(LOOK).await;
            let Some(ledger) = self.ledger.upgrade() else { return };
            let tried = if self.hangs(&ledger, &mut disk, clock()) {
                let error = ledger.hand_over().await.err();
                tracing::error!(group = %ledger.group(), stall = ?self.stall, handed_over = error.is_none(),
                    error = error.map(tracing::field::display), "the disk hangs: a master that cannot sync gives way");
                true
            } else if clock() < SETTLE {
                false
            } else {
                self.prefer(&ledger).await
            };
            drop(ledger);
            if tried {
                R::sleep(PAUSE).await;
            }
        }
    }

    /// Whether the disk has made nothing durable for too long although there was something.
    fn hangs(&self, ledger: &Ledger, disk: &mut Option<Disk>, now: Duration) -> bool {
        let progress = ledger.raft_group().log.progress();
        let (durable, end) = (progress.durable(), progress.end());
        match disk {
            Some(disk) if disk.durable == durable && durable < end => now - disk.since >= self.stall,
            disk => {
                *disk = Some(Disk { durable, since: now });
                false
            }
        }
    }

    /// Hands over to a node that is preferred to this one, if it is fit. Returns whether that was tried.
    async fn prefer(&self, ledger: &Ledger) -> bool {
        let group = ledger.raft_group();
        let picture = group.picture();
        let Some(to) = preferred(&self.preferred, &group.identity.node, &picture) else { return false };
        let (id, error) = (&to.member.id, ledger.transfer_leadership(&to.member.id).await.err());
        match error {
            None => tracing::info!(group = %ledger.group(), to = %id, "a preferred node leads"),
            Some(error) => tracing::warn!(group = %ledger.group(), to = %id, %error, "a preferred node does not lead"),
        }
        true
    }
}

/// The first of the preferred nodes that is a voter, alive and has all that is in the log; nothing if `me` comes first.
fn preferred<'p>(preferred: &[NodeId], me: &NodeId, picture: &'p Picture) -> Option<&'p Seen> {
    let better = preferred.iter().take_while(|id| *id != me);
    better.filter_map(|id| picture.get(id)).find(|seen| seen.voter && picture.has_caught_up(seen))
}
