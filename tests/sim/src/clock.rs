//! The wall clock of a simulated machine.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use super::now;

/// A wall clock that can be set.
pub(super) struct SimClock {
    /// Milliseconds since 1970 at virtual time zero.
    beginning: u64,
    ahead: AtomicI64,
    reads: AtomicU64,
}

impl SimClock {
    pub(super) fn new(beginning: u64) -> Self {
        Self { beginning, ahead: AtomicI64::new(0), reads: AtomicU64::new(0) }
    }

    /// Milliseconds since 1970.
    pub(super) fn now(&self) -> u64 {
        self.reads.fetch_add(1, Ordering::Relaxed);
        let true_time = self.beginning + now().as_millis() as u64;
        true_time.saturating_add_signed(self.ahead.load(Ordering::Relaxed))
    }

    pub(super) fn jump(&self, milliseconds: i64) {
        self.ahead.fetch_add(milliseconds, Ordering::Relaxed);
    }

    pub(super) fn reads(&self) -> u64 {
        self.reads.load(Ordering::Relaxed)
    }
}
