//! Logs failing calls to peers as outages: when one begins, changes, goes on and ends, and not call by call.
//!
//! Every ledger calls its peers over and over: a peer that is down for a night would bring a million log lines. A peer
//! that does not answer is one outage, however many ledgers call it. A peer that refuses calls is another, as is a peer
//! that sends malformed answers; these two count the ledgers whose calls fail. The node's own disk that hangs is an
//! outage too. An outage is over after some time with answers and without a failure (*calm*), which is longer for a
//! peer that comes and goes.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};

use super::convert::Malformed;
use crate::raft::{Instant, Runtime};
use crate::transport::TransportError;

/// Shortest time between two log lines about one outage; all other times are multiples of it.
const TICK: Duration = Duration::from_secs(1);
/// Ticks without a failure after which answers end an outage; doubled for every outage that soon follows another.
const CALM: u64 = 10;
/// Upper bound of the doubling: ten minutes, so that the end of an outage is still news.
const LONGEST_CALM: u64 = 600;
/// For how many times its calm an outage that is over is remembered: an outage that begins within that time is its
/// sequel.
const REMEMBERED: u64 = 10;
/// Ticks without a failure or an answer after which the peer counts as no longer called.
const FORGOTTEN: u64 = 60;
/// Ticks from one reminder to the next; the last value repeats.
const REMINDERS: [u64; 4] = [10, 60, 600, 3600];

/// The outages that a node sees, over all its ledgers. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Outages {
    inner: Arc<OutageTable>,
}

#[derive(Default)]
struct OutageTable {
    /// Whether `all` is not empty: a flag, because every answer looks at it.
    any: AtomicBool,
    /// Whether the node stops, and nothing is logged any more.
    hushed: AtomicBool,
    all: Mutex<BTreeMap<(String, OutageKind), Outage>>,
}

/// What is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum OutageKind {
    /// The peer does not answer.
    Silent,
    /// The peer refuses calls.
    Refusing,
    /// The peer sends malformed answers.
    Garbling,
    /// The node's own disk does not finish a call.
    Hanging,
}

#[derive(Debug)]
struct Outage {
    /// Ledgers whose calls failed; for refusals and malformed answers, those without a good answer since.
    ledgers: BTreeSet<String>,
    failed: u64,
    answered: u64,
    /// Why the last call failed.
    error: String,
    /// The causes that have been logged.
    told: BTreeSet<String>,
    /// The causes that the next tick logs.
    fresh: BTreeSet<String>,
    /// Whether a call has failed since the last tick.
    failing: bool,
    /// Whether a call was answered since the last failure.
    answers: bool,
    /// Ticks since the outage began.
    age: u64,
    /// Ticks since the last failure.
    quiet: u64,
    /// Ticks until the next reminder.
    reminder: u64,
    reminders: usize,
    calm: u64,
    over: bool,
}

/// One log line about an outage.
#[derive(Debug, Clone, PartialEq, Eq)]
struct OutageReport {
    peer: String,
    kind: OutageKind,
    what: OutageChange,
    error: String,
    ledgers: usize,
    failed: u64,
    answered: u64,
    seconds: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum OutageChange {
    Begins,
    Changes,
    GoesOn,
    Ends,
    /// No ledger calls the peer any more: whether it is well is not known.
    Forgotten,
}

impl Outages {
    /// Records how a call to `peer` for the ledger of `group` ended.
    pub(super) fn note<R: Runtime, T>(&self, peer: &str, group: &str, ended: &Result<T, TransportError>) {
        match ended {
            Ok(_) if !self.inner.any.load(Ordering::Relaxed) => {}
            Ok(_) => {
                self.inner.answered(peer, OutageKind::Silent, None);
                self.inner.answered(peer, OutageKind::Refusing, Some(group));
            }
            Err(error @ TransportError::Refused { refusal, .. }) => {
                self.inner.answered(peer, OutageKind::Silent, None);
                self.failed::<R>(peer, OutageKind::Refusing, group, refusal.reason().as_str_name(), error);
            }
            Err(error) => self.failed::<R>(peer, OutageKind::Silent, group, cause(error), error),
        }
    }

    /// Records whether an answer of `peer` to a call for the ledger of `group` was well-formed.
    pub(super) fn note_sense<R: Runtime, T>(&self, peer: &str, group: &str, read: &Result<T, Malformed>) {
        match read {
            Ok(_) if !self.inner.any.load(Ordering::Relaxed) => {}
            Ok(_) => self.inner.answered(peer, OutageKind::Garbling, Some(group)),
            Err(error) => self.failed::<R>(peer, OutageKind::Garbling, group, "malformed", error),
        }
    }

    /// Records which calls to the node's own disk hang, and of which ledgers; the log line names the last of them. To
    /// be called periodically, also when no call hangs.
    pub(crate) fn note_disk<'a, R: Runtime>(&self, hangs: impl Iterator<Item = (&'a str, String)>) {
        let mut well = true;
        for (group, what) in hangs {
            well = false;
            self.failed::<R>("the disk", OutageKind::Hanging, group, "hangs", &format_args!("{group}: {what}"));
        }
        if well && self.inner.any.load(Ordering::Relaxed) {
            self.inner.answered("the disk", OutageKind::Hanging, None);
        }
    }

    /// Logs nothing from now on: the node stops.
    pub(crate) fn hush(&self) {
        self.inner.hushed.store(true, Ordering::Relaxed);
    }

    /// Whether [`hush`](Self::hush) was called.
    pub(crate) fn is_hushed(&self) -> bool {
        self.inner.hushed.load(Ordering::Relaxed)
    }

    fn failed<R: Runtime>(&self, peer: &str, kind: OutageKind, group: &str, cause: &str, error: &dyn fmt::Display) {
        let mut all = self.inner.lock();
        let outage = all.entry((peer.to_owned(), kind)).or_insert_with(|| Outage::new(CALM));
        outage.failed(group, cause, error.to_string());
        // Under the lock: a task that is about to end either sees this outage, or has reset `any` before.
        if !self.inner.any.swap(true, Ordering::Relaxed) {
            drop(R::spawn(tell::<R>(Arc::downgrade(&self.inner))));
        }
    }
}

fn cause(error: &TransportError) -> &'static str {
    match error {
        TransportError::Unreachable { .. } => "unreachable",
        TransportError::Broken { .. } => "broken",
        TransportError::Timeout { .. } => "timeout",
        TransportError::Refused { .. } => "refused",
    }
}

/// Logs the reports of each tick, until no outage is left, or the node stops or is gone.
async fn tell<R: Runtime>(inner: Weak<OutageTable>) {
    let (began, mut ticks) = (R::Instant::now(), 0);
    loop {
        R::sleep(TICK).await;
        let Some(inner) = inner.upgrade() else { return };
        // On a busy machine the sleep may end late.
        let now = (R::Instant::now() - began).as_secs() / TICK.as_secs();
        let passed = now.saturating_sub(std::mem::replace(&mut ticks, now));
        if inner.hushed.load(Ordering::Relaxed) {
            return;
        }
        let (said, done) = inner.tick(passed);
        said.iter().for_each(OutageReport::tell);
        if done {
            return;
        }
    }
}

impl OutageTable {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<(String, OutageKind), Outage>> {
        self.all.lock()
    }

    fn answered(&self, peer: &str, kind: OutageKind, group: Option<&str>) {
        if let Some(outage) = self.lock().get_mut(&(peer.to_owned(), kind)) {
            outage.answered(group);
        }
    }

    /// The reports to log now, and whether no outage is left.
    fn tick(&self, passed: u64) -> (Vec<OutageReport>, bool) {
        let mut all = self.lock();
        let said = all.iter_mut().filter_map(|((peer, kind), outage)| {
            let what = outage.tick(passed)?;
            Some(outage.said(peer.clone(), *kind, what))
        });
        let said = said.collect();
        all.retain(|_, outage| !outage.is_past());
        let done = all.is_empty();
        self.any.store(!done, Ordering::Relaxed);
        (said, done)
    }
}

impl Outage {
    fn new(calm: u64) -> Self {
        Self {
            ledgers: BTreeSet::new(),
            failed: 0,
            answered: 0,
            error: String::new(),
            told: BTreeSet::new(),
            fresh: BTreeSet::new(),
            failing: false,
            answers: false,
            age: 0,
            quiet: 0,
            reminder: REMINDERS[0],
            reminders: 0,
            calm,
            over: false,
        }
    }

    fn failed(&mut self, group: &str, cause: &str, error: String) {
        if self.over {
            *self = Self::new((self.calm * 2).min(LONGEST_CALM));
        }
        if !self.ledgers.contains(group) {
            self.ledgers.insert(group.to_owned());
        }
        if !self.told.contains(cause) {
            self.fresh.insert(cause.to_owned());
        }
        self.failed += 1;
        (self.error, self.failing, self.answers) = (error, true, false);
    }

    /// Counts an answer to a call of `group`; `None`: an answer that speaks for all ledgers.
    fn answered(&mut self, group: Option<&str>) {
        if self.over {
            return;
        }
        if let Some(group) = group
            && (!self.ledgers.contains(group) || self.ledgers.len() > 1)
        {
            // Calls of the other ledgers still fail. The last ledger stays, for the log line.
            self.ledgers.remove(group);
            return;
        }
        self.answered += 1;
        self.answers = true;
    }

    /// `passed`: ticks since the last call.
    fn tick(&mut self, passed: u64) -> Option<OutageChange> {
        self.age += passed;
        self.quiet = if self.failing { 0 } else { self.quiet + passed };
        self.failing = false;
        if self.over {
            return None;
        }
        if !self.fresh.is_empty() {
            let begins = self.told.is_empty();
            self.told.append(&mut self.fresh);
            return Some(if begins { OutageChange::Begins } else { OutageChange::Changes });
        }
        if self.quiet >= if self.answers { self.calm } else { FORGOTTEN.max(self.calm) } {
            self.over = true;
            return Some(if self.answers { OutageChange::Ends } else { OutageChange::Forgotten });
        }
        self.reminder = self.reminder.saturating_sub(passed);
        // No reminder while no call fails: the outage is about to end, or the next failure brings the reminder.
        if self.reminder > 0 || self.quiet > 0 {
            return None;
        }
        self.reminders = (self.reminders + 1).min(REMINDERS.len() - 1);
        self.reminder = REMINDERS[self.reminders];
        Some(OutageChange::GoesOn)
    }

    /// Whether the outage has been over for so long that the next one is not its sequel.
    fn is_past(&self) -> bool {
        self.over && self.quiet > self.calm * REMEMBERED
    }

    fn said(&self, peer: String, kind: OutageKind, what: OutageChange) -> OutageReport {
        let (ledgers, failed, answered) = (self.ledgers.len(), self.failed, self.answered);
        let seconds = self.age.saturating_sub(if self.over { self.quiet } else { 0 });
        OutageReport { peer, kind, what, error: self.error.clone(), ledgers, failed, answered, seconds }
    }
}

impl OutageReport {
    fn tell(&self) {
        match self.what {
            OutageChange::Ends | OutageChange::Forgotten => tracing::info!("{self}"),
            OutageChange::Begins | OutageChange::Changes | OutageChange::GoesOn => tracing::warn!("{self}"),
        }
    }
}

impl fmt::Display for OutageReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { peer, kind, what, error, failed, answered, seconds, .. } = self;
        let ledgers = if self.ledgers == 1 { "1 ledger".into() } else { format!("{} ledgers", self.ledgers) };
        let does = match kind {
            OutageKind::Silent => "does not answer",
            OutageKind::Refusing => "refuses calls",
            OutageKind::Garbling => "sends malformed answers",
            OutageKind::Hanging => "hangs",
        };
        match what {
            OutageChange::Begins => write!(f, "{peer} {does} ({ledgers}): {error}"),
            OutageChange::Changes => write!(f, "{peer} {does} ({ledgers}), now for another reason: {error}"),
            OutageChange::GoesOn if *kind == OutageKind::Hanging => {
                let sometimes = if *answered > 0 { "sometimes " } else { "" };
                write!(f, "{peer} {sometimes}{does} for {seconds} s ({ledgers}): {error}")
            }
            OutageChange::Ends if *kind == OutageKind::Hanging => {
                write!(f, "{peer} works again, after {seconds} s ({ledgers})")
            }
            OutageChange::GoesOn if *answered > 0 => {
                write!(f, "{peer} sometimes {does}, for {seconds} s: {failed} calls failed ({ledgers}): {error}")
            }
            OutageChange::GoesOn => {
                write!(f, "{peer} {does} for {seconds} s: {failed} calls failed ({ledgers}): {error}")
            }
            OutageChange::Ends => {
                let well = match kind {
                    OutageKind::Silent => "answers again",
                    OutageKind::Refusing => "accepts calls again",
                    OutageKind::Garbling => "sends well-formed answers again",
                    OutageKind::Hanging => "works again",
                };
                write!(f, "{peer} {well}, after {seconds} s: {failed} calls failed ({ledgers})")
            }
            OutageChange::Forgotten => {
                write!(f, "{peer} is no longer called, after {failed} failed calls in {seconds} s")
            }
        }
    }
}

#[cfg(test)]
#[path = "tests/outages.rs"]
mod tests;
