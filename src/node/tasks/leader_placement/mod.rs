//! The task that moves the leadership to where it belongs: to a preferred node, and away from a disk that hangs or is
//! full.
//!
//! | file | what it is |
//! |---|---|
//! | `mod` | [`LeaderPlacement`]: the task |
//! | [`disk_progress`] | whether the disk keeps up, hangs, or is only slow |
//! | [`retry_pause`] | when a hand-over that failed, or did not last, is tried again |

mod disk_progress;
mod retry_pause;

use std::cmp::Reverse;
use std::time::Duration;

use self::disk_progress::DiskProgress;
use self::retry_pause::{PAUSE, RetryPause};
use crate::config::{Config, Durability};
use crate::node::ledger::{Ledger, WeakLedger};
use crate::raft::Runtime;
use crate::raft::membership::view::{MemberView, MembershipView};
use crate::types::{NodeId, Span};

/// How often a master looks at its disk and at the other members.
const LOOK: Duration = Duration::from_millis(250);
/// How long a master leads at least before it hands over to a preferred node: where the nodes prefer different ones,
/// the leadership goes in circles, and this bounds how fast.
const SETTLE: Duration = Duration::from_secs(3);
/// How long the disk must have been full before a master gives way: retention may be about to make room.
const FULL: Duration = Duration::from_secs(1);
/// A leadership that comes back within a minute of its hand-over was not wanted there, or could not be kept.
const CAME_BACK: Duration = Duration::from_secs(60);

/// Watches over one ledger while this node is its master.
pub(crate) struct LeaderPlacement {
    ledger: WeakLedger,
    preferred: Vec<NodeId>,
    stall: Duration,
}

/// What the task remembers from one leadership of this node to the next.
struct PlacementHistory {
    clock: Box<dyn FnMut() -> Duration + Send>,
    preferred: RetryPause,
    full: RetryPause,
    /// The preferred node that it last handed over to, and when.
    handed_to: Option<(NodeId, Duration)>,
    /// The preferred nodes that are no members, as the log last said.
    unknown: Vec<NodeId>,
    /// When it last tried to leave a disk that hangs.
    hung_at: Option<Duration>,
}

impl LeaderPlacement {
    pub(crate) fn new(ledger: WeakLedger, config: &Config) -> Self {
        // With an interval, a healthy disk makes nothing durable in between.
        let interval = match config.durability {
            Durability::Sync => Duration::ZERO,
            Durability::Interval(every) => every,
        };
        Self { ledger, preferred: config.preferred_leaders.clone(), stall: config.disk_stall_timeout + interval }
    }

    /// Runs until the ledger is closed.
    pub(crate) async fn run<R: Runtime>(self) {
        let Some(ledger) = self.ledger.upgrade() else { return };
        let (mut role, clock) = (ledger.role(), ledger.replica().raft.clock());
        drop(ledger);
        let (preferred, full) = (RetryPause::default(), RetryPause::default());
        let mut history =
            PlacementHistory { clock, preferred, full, handed_to: None, unknown: Vec::new(), hung_at: None };
        loop {
            // An error: the role task is gone, and the ledger with it.
            let lead = role.wait_for(|role| role.is_master() || role.is_final()).await;
            if !lead.is_ok_and(|role| role.is_master()) {
                return;
            }
            tokio::select! {
                biased;
                _ = role.wait_for(|role| !role.is_master()) => {}
                () = self.lead::<R>(&mut history) => return,
            }
        }
    }

    /// Runs while this node is the master; returns once the ledger is gone.
    async fn lead<R: Runtime>(&self, history: &mut PlacementHistory) {
        let began = (history.clock)();
        self.warn_of_return(history, began);
        let (mut disk, mut full_since, mut told) = (DiskProgress::default(), None, false);
        loop {
            R::sleep(LOOK).await;
            let Some(ledger) = self.ledger.upgrade() else { return };
            let now = (history.clock)();
            let full = ledger.replica().admission.disk_full();
            let since = full.is_some().then(|| full_since.unwrap_or(now));
            full_since = since;
            if disk.hangs(&ledger.replica().log, now, self.stall) {
                if is_any_better(&ledger, &disk) {
                    self.leave_hung_disk(&ledger, &mut history.hung_at, now).await;
                } else if !std::mem::replace(&mut told, true) {
                    tracing::warn!(group = %ledger.group(), stall = %Span(self.stall), durable = disk.durable,
                        "the disk hangs, and no other voter's disk has done better: this node leads on");
                }
                continue;
            }
            told = false;
            if let Some(reason) = full {
                if since.is_some_and(|since| now - since >= FULL) && history.full.is_due(now) {
                    leave_full_disk(&ledger, &reason, &mut history.full, now).await;
                }
            } else if now - began >= SETTLE {
                self.move_to_preferred(&ledger, history, now).await;
            }
        }
    }

    /// Hands over because the disk of this node hangs and another voter's does not.
    async fn leave_hung_disk(&self, ledger: &Ledger, last: &mut Option<Duration>, now: Duration) {
        if last.is_some_and(|last| now.saturating_sub(last) < PAUSE) {
            return;
        }
        *last = Some(now);
        let error = ledger.hand_over().await.err();
        tracing::error!(group = %ledger.group(), stall = %Span(self.stall), handed_over = error.is_none(),
            error = error.map(tracing::field::display), "the disk hangs: this master cannot sync, and gives way");
    }

    /// Hands over to a node that is preferred to this one, if it is fit.
    async fn move_to_preferred(&self, ledger: &Ledger, history: &mut PlacementHistory, now: Duration) {
        let replica = ledger.replica();
        let view = replica.raft.membership();
        self.warn_of_unknown_nodes(ledger, &view, &mut history.unknown);
        let pause = &mut history.preferred;
        let Some(to) = preferred(&self.preferred, &replica.identity.node, &view) else { return };
        // A preferred node whose disk is full would only give the leadership back.
        if !pause.is_due(now) || !has_room(ledger, to).await {
            return;
        }
        pause.tried(now);
        // Noted before the attempt: where that succeeds, `run` drops this future with the leadership.
        history.handed_to = Some((to.member.id.clone(), now));
        let (id, error) = (&to.member.id, ledger.transfer_leadership(&to.member.id).await.err());
        match error {
            None => {
                tracing::info!(group = %ledger.group(), to = %id, "handed the leadership over to a preferred node");
            }
            Some(error) => {
                // What was not handed over cannot come back.
                history.handed_to = None;
                tracing::warn!(group = %ledger.group(), to = %id, %error, "cannot hand over to the preferred node");
            }
        }
    }
}

/// What the log says of the preferences.
impl LeaderPlacement {
    /// Warns that a leadership which was handed over came back: where the nodes prefer different ones, it would go in
    /// circles.
    fn warn_of_return(&self, history: &mut PlacementHistory, now: Duration) {
        let Some((to, at)) = history.handed_to.take() else { return };
        let after = now.saturating_sub(at);
        if after >= CAME_BACK {
            return;
        }
        history.preferred.came_back(now);
        let Some(ledger) = self.ledger.upgrade() else { return };
        tracing::warn!(group = %ledger.group(), to = %to, came_back_after = %Span(after),
            "the leadership came back from the preferred node it was handed over to: give all nodes the same \
            --preferred-leaders, or find out why that node does not keep it. Once may be a restart; if it comes back \
            again, this node keeps it for a minute or longer");
    }

    /// Warns of preferred nodes that are no members: mostly a name that is spelled wrong.
    fn warn_of_unknown_nodes(&self, ledger: &Ledger, view: &MembershipView, told: &mut Vec<NodeId>) {
        let unknown: Vec<_> = self.preferred.iter().filter(|id| view.get(id).is_none()).cloned().collect();
        if *told == unknown {
            return;
        }
        told.clone_from(&unknown);
        if !unknown.is_empty() {
            let names = |ids: &mut dyn Iterator<Item = &NodeId>| ids.map(NodeId::as_str).collect::<Vec<_>>().join(", ");
            let members = names(&mut view.members.iter().map(|seen| &seen.member.id));
            tracing::warn!(group = %ledger.group(), preferred = names(&mut unknown.iter()), members,
                "--preferred-leaders names a node that is no member: correct the name, or add the node");
        }
    }
}

/// Hands over to the voter that is furthest among those whose disks have room.
async fn leave_full_disk(ledger: &Ledger, reason: &str, pause: &mut RetryPause, now: Duration) {
    let replica = ledger.replica();
    let view = replica.raft.membership();
    let others = view.members.iter().filter(|seen| seen.voter && seen.member.id != replica.identity.node);
    let mut fit: Vec<&MemberView> = others.filter(|seen| view.has_caught_up(seen)).collect();
    fit.sort_by_key(|seen| Reverse(seen.matched));
    for to in fit {
        if !has_room(ledger, to).await {
            continue;
        }
        pause.tried(now);
        let (id, error) = (&to.member.id, ledger.transfer_leadership(&to.member.id).await.err());
        tracing::warn!(group = %ledger.group(), reason, to = %id, handed_over = error.is_none(),
            error = error.map(tracing::field::display), "the disk is full: handing over to a node that has room");
        return;
    }
    tracing::warn!(group = %ledger.group(), reason, "the disk is full, and no other voter that keeps up has room");
}

/// Whether the member answers, and does not say that its disk is full.
async fn has_room(ledger: &Ledger, seen: &MemberView) -> bool {
    ledger.ask_member(&seen.member).await.is_ok_and(|answer| !answer.no_room)
}

/// Whether another voter has made durable what came in while this disk stood still. If none has, their disks are no
/// better than this one, and a hand-over would gain nothing.
fn is_any_better(ledger: &Ledger, disk: &DiskProgress) -> bool {
    let view = ledger.replica().raft.membership();
    let me = &ledger.replica().identity.node;
    let others = view.members.iter().filter(|seen| seen.voter && seen.member.id != *me);
    others.filter_map(|seen| seen.matched).any(|matched| disk.is_behind(matched))
}

/// The first of the preferred nodes that is a voter, answers and has caught up; `None` if `me` comes first.
fn preferred<'p>(preferred: &[NodeId], me: &NodeId, view: &'p MembershipView) -> Option<&'p MemberView> {
    let better = preferred.iter().take_while(|id| *id != me);
    better.filter_map(|id| view.get(id)).find(|seen| seen.voter && view.has_caught_up(seen))
}
