//! First, committed, durable, end.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::watch;

use crate::format::hard_state::LogPoint;

/// The pointers of a log. `first ≤ committed ≤ end` and `durable ≤ end`, each in the units its name says.
///
/// Read one by one they may belong to moments a little apart; [`Progress::in_order`] reads them together.
pub(crate) struct Progress {
    first: AtomicU64,
    end: AtomicU64,
    durable: AtomicU64,
    /// The index of `committed`, readable without its lock.
    committed_index: AtomicU64,
    committed: watch::Sender<LogPoint>,
}

/// The pointers of about one moment, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pointers {
    pub(crate) first: u64,
    pub(crate) committed: LogPoint,
    pub(crate) durable: u64,
    pub(crate) end: u64,
}

impl Progress {
    pub(crate) fn new(first: u64, committed: LogPoint, durable: u64, end: u64) -> Self {
        Self {
            first: first.into(),
            end: end.into(),
            durable: durable.into(),
            committed_index: committed.index.into(),
            committed: watch::Sender::new(committed),
        }
    }

    /// Lowest index still stored.
    pub(crate) fn first(&self) -> u64 {
        self.first.load(Ordering::Acquire)
    }

    /// Index after the last stored record.
    pub(crate) fn end(&self) -> u64 {
        self.end.load(Ordering::Acquire)
    }

    /// Index after the last synced record.
    pub(crate) fn durable(&self) -> u64 {
        self.durable.load(Ordering::Acquire)
    }

    /// Index after the last committed record.
    pub(crate) fn committed(&self) -> u64 {
        self.committed_index.load(Ordering::Acquire)
    }

    /// The whole commit point.
    pub(crate) fn commit_point(&self) -> LogPoint {
        *self.committed.borrow()
    }

    /// A receiver that learns of every move of the commit point.
    pub(crate) fn watch_committed(&self) -> watch::Receiver<LogPoint> {
        self.committed.subscribe()
    }

    /// The pointers, in the order that [`Progress`] promises, although they move meanwhile.
    pub(crate) fn in_order(&self) -> Pointers {
        // The first index is read before the commit point, which only grows; the end may fall and grow in between.
        let (first, committed) = (self.first(), self.commit_point());
        let end = self.end().max(committed.index);
        Pointers { first, committed, durable: self.durable().min(end), end }
    }

    pub(in crate::log) fn set_first(&self, first: u64) {
        self.first.store(first, Ordering::Release);
    }

    pub(in crate::log) fn set_end(&self, end: u64) {
        self.end.store(end, Ordering::Release);
    }

    pub(in crate::log) fn set_durable(&self, durable: u64) {
        self.durable.store(durable, Ordering::Release);
    }

    /// Lowers `durable` before a truncation: removed records are not durable.
    pub(in crate::log) fn lower_durable(&self, durable: u64) {
        self.durable.fetch_min(durable, Ordering::AcqRel);
    }

    /// The caller has frozen the bytes below; readers may see them from now on. A point before the present one changes
    /// nothing: another thread may have committed more meanwhile.
    pub(in crate::log) fn set_committed(&self, point: LogPoint) {
        self.committed.send_if_modified(|committed| {
            if point.number <= committed.number {
                return false;
            }
            *committed = point;
            // With the watch locked: a reader that sees the index finds the watch at least there.
            self.committed_index.store(point.index, Ordering::Release);
            true
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(index: u64) -> LogPoint {
        LogPoint { number: index, index, position: index, chain: 0 }
    }

    /// Two threads commit, as Raft's state machine and a purge do: the later one moves nothing back, and the index and
    /// the watch agree.
    #[test]
    fn the_commit_point_never_goes_back() {
        const POINTS: u64 = 100_000;
        let progress = Progress::new(0, point(0), 0, 0);
        let mut told = progress.watch_committed();
        std::thread::scope(|scope| {
            // One thread commits every point, the other every third one, a while later.
            let ahead = scope.spawn(|| (1..=POINTS).for_each(|index| progress.set_committed(point(index))));
            let behind = scope.spawn(|| (1..=POINTS).step_by(3).for_each(|index| progress.set_committed(point(index))));
            let (mut index, mut watched) = (0, 0);
            while !(ahead.is_finished() && behind.is_finished()) {
                let (now, seen) = (progress.committed(), told.borrow_and_update().index);
                assert!(now >= index && seen >= watched, "from {index} to {now}, watched from {watched} to {seen}");
                assert!(seen >= now, "the index tells of {now}, and the watch of {seen}");
                (index, watched) = (now, seen);
            }
        });
        // The two may have run one after the other.
        progress.set_committed(point(POINTS / 2));
        assert!(!told.has_changed().unwrap() || told.borrow_and_update().index == POINTS);
        assert_eq!((progress.committed(), progress.commit_point()), (POINTS, point(POINTS)));
    }

    /// One thread appends, syncs, commits, removes and truncates; the other looks.
    #[test]
    fn pointers_are_in_order_though_they_move() {
        let progress = Progress::new(0, point(0), 0, 0);
        let ordered = |p: Pointers| p.first <= p.committed.index && p.committed.index <= p.end && p.durable <= p.end;
        std::thread::scope(|scope| {
            let moves = scope.spawn(|| {
                for index in 1..200_000 {
                    progress.set_end(index + 1);
                    progress.set_durable(index + 1);
                    progress.lower_durable(index);
                    progress.set_end(index);
                    progress.set_committed(point(index));
                    progress.set_first(index);
                }
            });
            while !moves.is_finished() {
                let pointers = progress.in_order();
                assert!(ordered(pointers), "{pointers:?}");
            }
        });
    }
}
