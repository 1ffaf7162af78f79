//! How long a call to the disk has been under way: a disk that hangs returns no error.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Times calls of one kind, of which there is one at a time.
pub(in crate::log) struct CallTimer {
    epoch: Instant,
    /// Milliseconds from the epoch to the beginning of the present call, plus one; 0: there is no call.
    began: AtomicU64,
}

impl Default for CallTimer {
    fn default() -> Self {
        Self { epoch: Instant::now(), began: AtomicU64::new(0) }
    }
}

impl CallTimer {
    /// Does `work`. After a panic the call counts as under way for ever, which does no harm: the log is closed then.
    pub(in crate::log) fn during<T>(&self, work: impl FnOnce() -> T) -> T {
        self.begin();
        let done = work();
        self.end();
        done
    }

    pub(in crate::log) fn begin(&self) {
        self.began.store(self.now() + 1, Ordering::Relaxed);
    }

    pub(in crate::log) fn end(&self) {
        self.began.store(0, Ordering::Relaxed);
    }

    /// How long the present call has been under way.
    pub(in crate::log) fn under_way(&self) -> Option<Duration> {
        let began = self.began.load(Ordering::Relaxed).checked_sub(1)?;
        Some(Duration::from_millis(self.now().saturating_sub(began)))
    }

    fn now(&self) -> u64 {
        // 64 bits of milliseconds last half a billion years.
        self.epoch.elapsed().as_millis() as u64
    }
}
