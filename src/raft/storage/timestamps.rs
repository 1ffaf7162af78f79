//! The time that a leader stamps entries with: its clock, as far as that can be believed.
//!
//! Timestamps never fall, so one far in the future would stay for ever. The time that is *due* is the newest entry's
//! timestamp and the time that has passed since that entry came. While this node's clock is ahead of the due time,
//! entries get the due time, until the node has asked the other members for their clocks (`node/tasks/clock_check`). A
//! follower notes its leader's timestamps too, and compares its own clock with them when it leads.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::watch;

use crate::log::age::{ClockBelief, ClockDoubt};
use crate::raft::Instant;
use crate::raft::type_config::Runtime;

/// Milliseconds since 1970. The simulation has its own.
pub(crate) type Clock = Arc<dyn Fn() -> u64 + Send + Sync>;

/// Shared by the log's writer and the task that asks the other members.
pub(crate) struct Timestamps {
    clock: Clock,
    /// The time that has passed, by a monotonic clock.
    passed: Box<dyn Fn() -> Duration + Send + Sync>,
    belief: Mutex<ClockBelief>,
    doubt: watch::Sender<Option<ClockDoubt>>,
}

impl Timestamps {
    pub(crate) fn new<R: Runtime>(clock: Clock) -> Self {
        let began: OnceLock<R::Instant> = OnceLock::new();
        let passed = move || {
            let now = R::Instant::now();
            now - *began.get_or_init(|| now)
        };
        Self { clock, passed: Box::new(passed), belief: Mutex::default(), doubt: watch::Sender::new(None) }
    }

    /// The stamp of the leader's next entry, milliseconds since 1970, if the entry before it has no later one.
    /// `newest`: the stamp of the entry before.
    pub(crate) fn next(&self, newest: u64) -> u64 {
        let (clock, passed) = ((self.clock)(), (self.passed)());
        let (stamp, doubt) = self.belief().believe(clock, passed, newest);
        self.doubt.send_if_modified(|known| {
            let changed = known.is_some() != doubt.is_some();
            *known = doubt;
            changed
        });
        stamp
    }

    /// Notes that a leader's entry with this stamp has come: the time was at least `stamp` then.
    pub(crate) fn heard(&self, stamp: u64) {
        self.belief().at_least(stamp, (self.passed)());
    }

    /// Changes when the clock comes to be doubted, and when the doubt is over.
    pub(crate) fn doubt(&self) -> watch::Receiver<Option<ClockDoubt>> {
        self.doubt.subscribe()
    }

    /// What the clock says, milliseconds since 1970.
    pub(crate) fn clock(&self) -> u64 {
        (self.clock)()
    }

    /// Notes that the other members' clocks agree with this node's.
    pub(crate) fn confirm(&self) {
        self.belief().confirm((self.clock)(), (self.passed)());
        self.doubt.send_replace(None);
    }

    /// Notes that the other members' clocks disagree: this node's clock is not believed for having stood long.
    pub(crate) fn refute(&self) {
        self.belief().refute((self.passed)());
    }

    fn belief(&self) -> MutexGuard<'_, ClockBelief> {
        self.belief.lock()
    }
}
