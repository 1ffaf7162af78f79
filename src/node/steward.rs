//! The task that has the leadership where it belongs: at a preferred node, and not at one whose disk hangs or is full.

use std::cmp::Reverse;
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
/// nothing else. A preferred node that fails again and again is given twice as long every time,
const PAUSE: Duration = Duration::from_secs(10);
/// up to this.
const LONGEST_PAUSE: Duration = Duration::from_secs(600);
/// How long the disk has been full when a master gives way: retention may be about to make room.
const FULL: Duration = Duration::from_secs(1);

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

/// When something that failed before is tried again.
#[derive(Debug, Default)]
struct Patience {
    /// When it was tried last, and how long it is left alone after that.
    last: Option<(Duration, Duration)>,
}

impl Patience {
    /// Whether it is time. If so, it is taken to be tried now.
    fn may_try(&mut self, now: Duration) -> bool {
        let pause = match self.last {
            None => PAUSE,
            Some((last, pause)) => match now.saturating_sub(last) {
                waited if waited < pause => return false,
                // What went well for so long has not failed.
                waited if waited >= pause * 6 => PAUSE,
                _ => (pause * 2).min(LONGEST_PAUSE),
            },
        };
        self.last = Some((now, pause));
        true
    }
}

/// What a steward remembers from one leadership of this node to the next.
struct Memory {
    clock: Box<dyn FnMut() -> Duration + Send>,
    preferred: Patience,
    full: Patience,
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
        let Some(ledger) = self.ledger.upgrade() else { return };
        let (mut role, clock) = (ledger.role(), ledger.raft_group().clock());
        drop(ledger);
        let mut memory = Memory { clock, preferred: Patience::default(), full: Patience::default() };
        loop {
            // An error: nobody is left to say what the role is.
            let lead = role.wait_for(|role| matches!(role, Role::Master { .. } | Role::Closed { .. })).await;
            if !lead.is_ok_and(|role| role.is_master()) {
                return;
            }
            tokio::select! {
                biased;
                _ = role.wait_for(|role| !role.is_master()) => {}
                () = self.lead::<R>(&mut memory) => return,
            }
        }
    }

    /// While this node is the master; ends with the ledger.
    async fn lead<R: Runtime>(&self, memory: &mut Memory) {
        let began = (memory.clock)();
        let (mut disk, mut full_since) = (None, None);
        loop {
            R::sleep(LOOK).await;
            let Some(ledger) = self.ledger.upgrade() else { return };
            let now = (memory.clock)();
            let full = ledger.raft_group().log.disk_full();
            let since = full.is_some().then(|| full_since.unwrap_or(now));
            full_since = since;
            if self.hangs(&ledger, &mut disk, now) {
                let error = ledger.hand_over().await.err();
                tracing::error!(group = %ledger.group(), stall = ?self.stall, handed_over = error.is_none(),
                    error = error.map(tracing::field::display), "the disk hangs: a master that cannot sync gives way");
                drop(ledger);
                R::sleep(PAUSE).await;
            } else if let Some(reason) = full {
                if since.is_some_and(|since| now - since >= FULL) && memory.full.may_try(now) {
                    give_way(&ledger, &reason).await;
                }
            } else if now - began >= SETTLE {
                self.prefer(&ledger, &mut memory.preferred, now).await;
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

    /// Hands over to a node that is preferred to this one, if it is fit.
    async fn prefer(&self, ledger: &Ledger, patience: &mut Patience, now: Duration) {
        let group = ledger.raft_group();
        let picture = group.picture();
        let Some(to) = preferred(&self.preferred, &group.identity.node, &picture) else { return };
        // Also for one whose disk is full: it would only give the leadership back.
        if !patience.may_try(now) || !has_room(ledger, to).await {
            return;
        }
        let (id, error) = (&to.member.id, ledger.transfer_leadership(&to.member.id).await.err());
        match error {
            None => tracing::info!(group = %ledger.group(), to = %id, "a preferred node leads"),
            Some(error) => tracing::warn!(group = %ledger.group(), to = %id, %error, "a preferred node does not lead"),
        }
    }
}

/// Hands over to the node that is furthest of those that have room for what is appended.
async fn give_way(ledger: &Ledger, reason: &str) {
    let group = ledger.raft_group();
    let picture = group.picture();
    let others = picture.members.iter().filter(|seen| seen.voter && seen.member.id != group.identity.node);
    let mut fit: Vec<&Seen> = others.filter(|seen| picture.has_caught_up(seen)).collect();
    fit.sort_by_key(|seen| Reverse(seen.matched));
    for to in fit {
        if !has_room(ledger, to).await {
            continue;
        }
        let (id, error) = (&to.member.id, ledger.transfer_leadership(&to.member.id).await.err());
        tracing::warn!(group = %ledger.group(), reason, to = %id, handed_over = error.is_none(),
            error = error.map(tracing::field::display), "the disk is full: a master gives way to one that has room");
        return;
    }
    tracing::warn!(group = %ledger.group(), reason, "the disk is full, and no other voter that keeps up has room");
}

/// Whether the member answers, and says nothing of a full disk.
async fn has_room(ledger: &Ledger, seen: &Seen) -> bool {
    ledger.ask_member(&seen.member).await.is_ok_and(|answer| !answer.no_room)
}

/// The first of the preferred nodes that is a voter, alive and has all that is in the log; nothing if `me` comes first.
fn preferred<'p>(preferred: &[NodeId], me: &NodeId, picture: &'p Picture) -> Option<&'p Seen> {
    let better = preferred.iter().take_while(|id| *id != me);
    better.filter_map(|id| picture.get(id)).find(|seen| seen.voter && picture.has_caught_up(seen))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The seconds at which it is tried, looked at every second.
    fn tries(patience: &mut Patience, seconds: std::ops::Range<u64>) -> Vec<u64> {
        seconds.filter(|second| patience.may_try(Duration::from_secs(*second))).collect()
    }

    #[test]
    fn a_preferred_node_that_cannot_win_is_tried_with_growing_pauses() {
        let mut patience = Patience::default();
        assert_eq!(tries(&mut patience, 0..2000), [0, 10, 30, 70, 150, 310, 630, 1230, 1830]);
        // It has led for an hour in between.
        assert_eq!(tries(&mut patience, 5500..5525), [5500, 5510]);
    }
}
