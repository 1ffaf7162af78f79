//! Whether the disk of a ledger keeps up, hangs, or is only slow.

use std::time::Duration;

use crate::log::reader::LogReader;

/// A disk hangs once a sync takes 3 times as long as the longest one of late: a disk that is merely slow gets further
/// in between.
const HANG_FACTOR: u32 = 3;
/// With each sync the longest time of late shrinks by one part in 64, so that a slow hour is forgotten.
const DECAY: u32 = 64;

/// How the disk of a ledger keeps up with its log.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct DiskProgress {
    /// How far the disk is, by records.
    pub(super) durable: u64,
    /// Since when.
    since: Duration,
    /// Where the log ended then.
    end: u64,
    /// Where the log ended, by entries, when half of the stall time was over: the other voters may have made earlier
    /// entries durable while their disks were still quicker.
    stalled_at: Option<u64>,
    /// The longest time of late that the disk took to get further.
    longest: Duration,
}

impl DiskProgress {
    /// Whether the disk hangs: it has made no progress for `stall`, nor for much longer than it usually takes.
    pub(super) fn hangs(&mut self, log: &LogReader, now: Duration, stall: Duration) -> bool {
        let progress = log.progress();
        self.stands_still((progress.durable(), progress.end()), log.numbers().end, now, stall)
    }

    /// Whether a disk that has made the entries up to `number` durable has done better than this one.
    pub(super) fn is_behind(&self, number: u64) -> bool {
        number + 1 >= self.stalled_at.unwrap_or(u64::MAX)
    }

    fn stands_still(&mut self, (durable, end): (u64, u64), entries: u64, now: Duration, stall: Duration) -> bool {
        let took = now.saturating_sub(self.since);
        if self.durable == durable && durable < end {
            if took >= stall / 2 {
                self.stalled_at.get_or_insert(entries);
            }
            return took >= stall.max(self.longest * HANG_FACTOR);
        }
        // A disk that had nothing to do took no time.
        let took = if self.durable < durable && self.durable < self.end { took } else { Duration::ZERO };
        let longest = took.max(self.longest - self.longest / DECAY);
        *self = Self { durable, since: now, end, stalled_at: None, longest };
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STALL: Duration = Duration::from_secs(2);

    /// Whether a disk that gets further every `takes` milliseconds for a minute seems to hang meanwhile.
    fn hangs_within_a_minute(disk: &mut DiskProgress, takes: u64) -> bool {
        (0..60_000).step_by(250).any(|now| {
            let durable = now / takes;
            disk.stands_still((durable, durable + 10), 0, Duration::from_millis(now), STALL)
        })
    }

    /// Whether the disk hangs `still` milliseconds after its last progress.
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

        // A sync of late took this long, so only three times as long is a hang.
        let mut slow = DiskProgress { longest: Duration::from_millis(2_500), ..DiskProgress::default() };
        assert!(!hangs_within_a_minute(&mut slow, 2_500));
        assert!(!hangs_after(&mut slow, 5_000));
        assert!(hangs_after(&mut slow, 9_000));
        // Where the log is durable to its end, the disk has nothing to do.
        assert!(!slow.stands_still((slow.durable, slow.durable), 0, Duration::from_secs(600), STALL));
    }
}
