//! The task that has the leadership where it belongs: at a preferred node, and not at one whose disk hangs or is full.

use std::cmp::Reverse;
use std::time::Duration;

use crate::config::{Config, Durability};
use crate::log::reader::LogReader;
use crate::node::ledger::{Ledger, WeakLedger};
use crate::raft::Runtime;
use crate::raft::membership::change::{MemberView, MembershipView};
use crate::types::{NodeId, Span};

/// How often a master looks.
const LOOK: Duration = Duration::from_millis(250);
/// How long a master leads at least before it hands over to a preferred node: where the nodes do not prefer the same,
/// the leadership goes in circles.
const SETTLE: Duration = Duration::from_secs(3);
/// How often a master asks whether anybody is fit to take over, and how long it waits after it has tried to hand over:
/// what failed once would fail again, and the cluster would do nothing else. A node that fails again and again is given
/// twice as long every time,
const PAUSE: Duration = Duration::from_secs(10);
/// up to this.
const LONGEST_PAUSE: Duration = Duration::from_secs(600);
/// How long the disk has been full when a master gives way: retention may be about to make room.
const FULL: Duration = Duration::from_secs(1);

/// A leadership that comes back so soon after it was handed over was not wanted there, or could not be kept.
const CAME_BACK: Duration = Duration::from_secs(60);

/// A disk hangs that takes so many times longer than it took at most.
const HANGS: u32 = 3;
/// What a disk took at most counts so much less, one in so many, each time that it gets further.
const FORGETS: u32 = 64;

/// Watches over one ledger while this node is its master.
pub(crate) struct LeaderPlacement {
    ledger: WeakLedger,
    preferred: Vec<NodeId>,
    stall: Duration,
}

/// How the disk keeps up.
#[derive(Debug, Default, PartialEq, Eq)]
struct DiskProgress {
    /// How far it is.
    durable: u64,
    /// Since when.
    since: Duration,
    /// How far the log went then.
    end: u64,
    /// How far it went when half of the time was over that a disk may stand still, by entries: what was there before
    /// may be on the others' disks from a time when they were quicker.
    entries: Option<u64>,
    /// The longest that it took to get further, of late.
    longest: Duration,
}

impl DiskProgress {
    /// Whether the disk hangs: it has got nowhere for `stall`, and for much longer than it takes to. One that is slow
    /// gets further.
    fn hangs(&mut self, log: &LogReader, now: Duration, stall: Duration) -> bool {
        let progress = log.progress();
        self.stands_still((progress.durable(), progress.end()), log.numbers().end, now, stall)
    }

    fn stands_still(&mut self, (durable, end): (u64, u64), entries: u64, now: Duration, stall: Duration) -> bool {
        let took = now.saturating_sub(self.since);
        if self.durable == durable && durable < end {
            if took >= stall / 2 {
                self.entries.get_or_insert(entries);
            }
            return took >= stall.max(self.longest * HANGS);
        }
        // What it took long ago says less and less.
        let took = if self.durable < durable && self.durable < self.end { took } else { Duration::ZERO };
        let longest = took.max(self.longest - self.longest / FORGETS);
        *self = Self { durable, since: now, end, entries: None, longest };
        false
    }
}

/// When something that failed before is tried again.
#[derive(Debug, Default)]
struct RetryPause {
    /// When it was tried last, and how long it is left alone after that.
    last: Option<(Duration, Duration)>,
    /// When it was last looked whether there is anything to try.
    looked: Option<Duration>,
    /// When what was tried last came back.
    returned: Option<Duration>,
}

impl RetryPause {
    /// Whether it is time to look whether there is anything to try. If so, that is taken to be done now.
    fn is_due(&mut self, now: Duration) -> bool {
        let over = |since: Duration, pause: Duration| now.saturating_sub(since) >= pause;
        let looks = self.last.is_none_or(|(last, pause)| over(last, pause))
            && self.looked.is_none_or(|looked| over(looked, PAUSE));
        if looks {
            self.looked = Some(now);
        }
        looks
    }

    /// What was tried came back. Once may be a restart; again and again, it is left alone for far longer than what only
    /// failed.
    fn came_back(&mut self, now: Duration) {
        let again = self.returned.replace(now).is_some_and(|last| now.saturating_sub(last) < LONGEST_PAUSE * 2);
        if !again {
            return;
        }
        let pause = self.last.map_or(PAUSE, |(_, pause)| pause);
        self.last = Some((now, (pause * 6).min(LONGEST_PAUSE)));
    }

    /// It is tried now.
    fn tried(&mut self, now: Duration) {
        let pause = match self.last {
            // What went well for so long has not failed.
            Some((last, pause)) if now.saturating_sub(last) < pause * 6 => (pause * 2).min(LONGEST_PAUSE),
            _ => PAUSE,
        };
        self.last = Some((now, pause));
    }
}

/// What a steward remembers from one leadership of this node to the next.
struct PlacementHistory {
    clock: Box<dyn FnMut() -> Duration + Send>,
    preferred: RetryPause,
    full: RetryPause,
    /// To whom it last handed over because it was to, and when.
    handed_to: Option<(NodeId, Duration)>,
    /// The preferred nodes that are no members, as it last said.
    unknown: Vec<NodeId>,
    /// When it last tried to hand over for a disk that hangs.
    hung_at: Option<Duration>,
}

impl LeaderPlacement {
    pub(crate) fn new(ledger: WeakLedger, config: &Config) -> Self {
        // With an interval, nothing is made durable in between.
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
            // An error: nobody is left to say what the role is.
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

    /// While this node is the master; ends with the ledger.
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
                        "the disk hangs, and no other node's has done better: this one leads on");
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

    /// Hands over because the disk hangs, and another voter's does not.
    async fn leave_hung_disk(&self, ledger: &Ledger, last: &mut Option<Duration>, now: Duration) {
        if last.is_some_and(|last| now.saturating_sub(last) < PAUSE) {
            return;
        }
        *last = Some(now);
        let error = ledger.hand_over().await.err();
        tracing::error!(group = %ledger.group(), stall = %Span(self.stall), handed_over = error.is_none(),
            error = error.map(tracing::field::display), "the disk hangs: a master that cannot sync gives way");
    }

    /// Hands over to a node that is preferred to this one, if it is fit.
    async fn move_to_preferred(&self, ledger: &Ledger, history: &mut PlacementHistory, now: Duration) {
        let group = ledger.replica();
        let view = group.raft.membership();
        self.warn_of_unknown_nodes(ledger, &view, &mut history.unknown);
        let pause = &mut history.preferred;
        let Some(to) = preferred(&self.preferred, &group.identity.node, &view) else { return };
        // Also for one whose disk is full: it would only give the leadership back.
        if !pause.is_due(now) || !has_room(ledger, to).await {
            return;
        }
        pause.tried(now);
        // Before: where it succeeds, this ends with the leadership, and comes to nothing behind it.
        history.handed_to = Some((to.member.id.clone(), now));
        let (id, error) = (&to.member.id, ledger.transfer_leadership(&to.member.id).await.err());
        match error {
            None => {
                tracing::info!(group = %ledger.group(), to = %id, "a preferred node leads");
            }
            Some(error) => {
                // Nothing that could come back.
                history.handed_to = None;
                tracing::warn!(group = %ledger.group(), to = %id, %error, "a preferred node does not lead");
            }
        }
    }
}

/// What it says of the preferences.
impl LeaderPlacement {
    /// That what was handed over is back: where the nodes do not prefer the same, it would go in circles.
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
            --preferred-leaders, or see why that one does not keep it. Once may be a restart; if it comes back again, \
            it is left alone for a minute or longer");
    }

    /// Who is preferred and is no member: mostly a name that is spelled wrong.
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
                "--preferred-leaders names who is no member: correct the name, or add the node");
        }
    }
}

/// Hands over to the node that is furthest of those that have room for what is appended.
async fn leave_full_disk(ledger: &Ledger, reason: &str, pause: &mut RetryPause, now: Duration) {
    let group = ledger.replica();
    let view = group.raft.membership();
    let others = view.members.iter().filter(|seen| seen.voter && seen.member.id != group.identity.node);
    let mut fit: Vec<&MemberView> = others.filter(|seen| view.has_caught_up(seen)).collect();
    fit.sort_by_key(|seen| Reverse(seen.matched));
    for to in fit {
        if !has_room(ledger, to).await {
            continue;
        }
        pause.tried(now);
        let (id, error) = (&to.member.id, ledger.transfer_leadership(&to.member.id).await.err());
        tracing::warn!(group = %ledger.group(), reason, to = %id, handed_over = error.is_none(),
            error = error.map(tracing::field::display), "the disk is full: a master gives way to one that has room");
        return;
    }
    tracing::warn!(group = %ledger.group(), reason, "the disk is full, and no other voter that keeps up has room");
}

/// Whether the member answers, and says nothing of a full disk.
async fn has_room(ledger: &Ledger, seen: &MemberView) -> bool {
    ledger.ask_member(&seen.member).await.is_ok_and(|answer| !answer.no_room)
}

/// Whether another voter has made durable what came in while this disk stood still. If none has, their disks are no
/// better than this one, and a hand-over would only cost.
fn is_any_better(ledger: &Ledger, disk: &DiskProgress) -> bool {
    let view = ledger.replica().raft.membership();
    let me = &ledger.replica().identity.node;
    let others = view.members.iter().filter(|seen| seen.voter && seen.member.id != *me);
    let came = disk.entries.unwrap_or(u64::MAX);
    others.filter_map(|seen| seen.matched).any(|matched| matched + 1 >= came)
}

/// The first of the preferred nodes that is a voter, alive and has all that is in the log; nothing if `me` comes first.
fn preferred<'p>(preferred: &[NodeId], me: &NodeId, view: &'p MembershipView) -> Option<&'p MemberView> {
    let better = preferred.iter().take_while(|id| *id != me);
    better.filter_map(|id| view.get(id)).find(|seen| seen.voter && view.has_caught_up(seen))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The seconds at which it is looked for somebody fit; whoever is found is tried.
    fn looks(pause: &mut RetryPause, seconds: std::ops::Range<u64>, found: bool) -> Vec<u64> {
        let mut looks = Vec::new();
        for second in seconds {
            let now = Duration::from_secs(second);
            if pause.is_due(now) {
                looks.push(second);
                if found {
                    pause.tried(now);
                }
            }
        }
        looks
    }

    #[test]
    fn a_preferred_node_that_cannot_win_is_tried_with_growing_pauses() {
        let mut pause = RetryPause::default();
        assert_eq!(looks(&mut pause, 0..2000, true), [0, 10, 30, 70, 150, 310, 630, 1230, 1830]);
        // It has led for an hour in between.
        assert_eq!(looks(&mut pause, 5500..5525, true), [5500, 5510]);
    }

    #[test]
    fn a_pause_grows_with_what_was_tried_and_not_with_what_was_looked_for() {
        let mut pause = RetryPause::default();
        assert_eq!(looks(&mut pause, 0..55, false), [0, 10, 20, 30, 40, 50]);
        assert_eq!(looks(&mut pause, 60..100, true), [60, 70, 90]);
        // Nobody is fit once the last pause is over.
        assert_eq!(looks(&mut pause, 100..165, false), [130, 140, 150, 160]);
    }

    #[test]
    fn a_leadership_that_came_back_is_left_alone_for_longer_every_time() {
        let mut pause = RetryPause::default();
        let mut handed_to = 0;
        // Handed over whenever that may be, and back three seconds later.
        for second in (0..3000).map(Duration::from_secs) {
            if pause.is_due(second) {
                pause.tried(second);
                pause.came_back(second + Duration::from_secs(3));
                handed_to += 1;
            }
        }
        assert!(handed_to <= 8, "{handed_to} times in 50 minutes");
    }

    const STALL: Duration = Duration::from_secs(2);

    /// A disk that gets further every `takes` milliseconds, for a minute; whether it seems to hang meanwhile.
    fn hangs_within_a_minute(disk: &mut DiskProgress, takes: u64) -> bool {
        (0..60_000).step_by(250).any(|now| {
            let durable = now / takes;
            disk.stands_still((durable, durable + 10), 0, Duration::from_millis(now), STALL)
        })
    }

    /// Whether the disk hangs, so many milliseconds after it got somewhere last.
    fn hangs_after(disk: &mut DiskProgress, still: u64) -> bool {
        let (durable, now) = (disk.durable, disk.since + Duration::from_millis(still));
        disk.stands_still((durable, durable + 10), 0, now, STALL)
    }

    #[test]
    fn a_disk_that_stands_still_hangs_and_one_that_is_slow_does_not() {
        let mut quick = DiskProgress::default();
        assert!(!hangs_within_a_minute(&mut quick, 500));
        assert!(!hangs_after(&mut quick, 1_750));
        assert!(hangs_after(&mut quick, 2_000));

        // Once it is known that a sync takes as long, three times as much is waited.
        let mut slow = DiskProgress { longest: Duration::from_millis(2_500), ..DiskProgress::default() };
        assert!(!hangs_within_a_minute(&mut slow, 2_500));
        assert!(!hangs_after(&mut slow, 5_000));
        assert!(hangs_after(&mut slow, 9_000));
        // A log that is durable to its end has a disk that has nothing to do.
        assert!(!slow.stands_still((slow.durable, slow.durable), 0, Duration::from_secs(600), STALL));
    }
}
