//! The task that turns waiting appends into batches.
//!
//! All appends that wait when the task wakes up travel as one entry; none waits for more to come. While enough entries
//! are in flight, appends gather, and so batches grow with the load by themselves.
//!
//! Appends lie in the log in the order in which they arrived here: the task proposes a batch only after it has heard
//! that the log has taken the batch before, or that Raft has refused it. The appends of a refused batch go back to the
//! front of the queue.

use std::collections::VecDeque;
use std::time::Duration;

use openraft::Instant;
use tokio::sync::{mpsc, watch};

use super::disk_admission::DiskAdmission;
use super::inflight::BatchEvent;
use super::responder::BatchResponder;
use super::waiter::Waiter;
use super::window::{InflightWindow, put_back};
use crate::error::AppendError;
use crate::format::batch;
use crate::format::entry::{EntryKind, entry_length};
use crate::format::frame::Draft;
use crate::log::admission::{Admission, NoRoom};
use crate::raft::Raft;
use crate::raft::entry::Proposed;
use crate::raft::log_id::CommittedLeaderId;
use crate::raft::role::standing::Standing;
use crate::raft::type_config::{Runtime, sleep_until};
use crate::types::Role;

/// Bytes of a batch, framing included, that end it; a single append may be larger.
const BATCH_BYTES: usize = 512 << 10;
/// Records that end a batch.
const BATCH_RECORDS: usize = 16 << 10;
/// Appends taken from the queue in one go.
const DRAIN: usize = 4096;
/// Pause before a batch that Raft refused is proposed again, while this node still is the master.
const RETRY: Duration = Duration::from_millis(10);

/// The proposer of one ledger.
pub(crate) struct Proposer<R: Runtime> {
    raft: Raft<R>,
    gate: DiskAdmission,
    role: watch::Receiver<Role>,
    /// Says why there is no master.
    standing: Standing,
    submitted: mpsc::UnboundedReceiver<Waiter>,
    /// Segments that the retainer wants to end, by the number of their first entry.
    rolls: mpsc::UnboundedReceiver<u64>,
    /// The segment that is to end next.
    roll: Option<u64>,
    /// Bytes that end a batch.
    batch_bytes: usize,
    batch_events: mpsc::UnboundedReceiver<BatchEvent>,
    /// Appends that wait to be proposed, in order of arrival.
    backlog: VecDeque<Waiter>,
    window: InflightWindow,
    /// Appends that have arrived so far.
    arrived: u64,
    started: R::Instant,
    /// No append in `backlog` or in flight has an earlier deadline.
    earliest: Option<Duration>,
    retry_at: Option<Duration>,
}

impl<R: Runtime> Proposer<R> {
    /// A batch has no more than `max_batch_bytes`, framing included, unless a single append has.
    pub(crate) fn new(
        raft: Raft<R>,
        gate: DiskAdmission,
        role: watch::Receiver<Role>,
        standing: Standing,
        submitted: mpsc::UnboundedReceiver<Waiter>,
        rolls: mpsc::UnboundedReceiver<u64>,
        max_batch_bytes: usize,
    ) -> Self {
        let (events, batch_events) = mpsc::unbounded_channel();
        Self {
            raft,
            gate,
            role,
            standing,
            submitted,
            rolls,
            roll: None,
            batch_bytes: BATCH_BYTES.min(max_batch_bytes),
            batch_events,
            backlog: VecDeque::new(),
            window: InflightWindow::new(events),
            arrived: 0,
            started: R::Instant::now(),
            earliest: None,
            retry_at: None,
        }
    }

    /// Runs until the ledger is closed or all handles to it are gone.
    pub(crate) async fn run(mut self) {
        let mut drained = Vec::with_capacity(DRAIN);
        loop {
            self.dispatch().await;
            let wake = [self.earliest, self.retry_at].into_iter().flatten().min();
            tokio::select! {
                biased;
                Some(event) = self.batch_events.recv() => self.on_event(event),
                Some(begins) = self.rolls.recv() => self.roll = Some(begins),
                changed = self.role.changed() => {
                    if changed.is_err() {
                        return self.refuse_all(&AppendError::Closed { reason: "the node is shutting down".into() });
                    }
                    self.retry_at = None;
                }
                taken = self.submitted.recv_many(&mut drained, DRAIN) => {
                    if taken == 0 {
                        return;
                    }
                    self.enqueue(&mut drained);
                }
                () = sleep_until::<R>(wake.map(|at| self.started + at)) => self.expire(),
            }
        }
    }

    /// Time since the proposer began.
    fn now(&self) -> Duration {
        R::Instant::now() - self.started
    }

    fn enqueue(&mut self, drained: &mut Vec<Waiter>) {
        let now = self.now();
        for mut waiter in drained.drain(..) {
            waiter.sequence = self.arrived;
            waiter.deadline = now + waiter.timeout;
            self.arrived += 1;
            self.earliest = Some(self.earliest.map_or(waiter.deadline, |earliest| earliest.min(waiter.deadline)));
            self.backlog.push_back(waiter);
        }
    }

    /// Proposes, refuses or keeps the backlog, as the role demands.
    async fn dispatch(&mut self) {
        let role = self.role.borrow_and_update().clone();
        if !role.is_master() {
            // Only a master proposes again, and only a master ends segments.
            (self.retry_at, self.roll) = (None, None);
        }
        self.refuse_terms_over(role.term());
        match role {
            Role::Master { term } => self.propose(term).await,
            Role::Slave { master, .. } => self.refuse_all(&AppendError::NotMaster { master: Some(master) }),
            Role::Stopped | Role::Closed { .. } => {
                let reason = role.final_reason().unwrap_or_default().to_owned();
                self.refuse_all(&AppendError::Closed { reason });
            }
            // This node may become master; appends wait inside their deadlines.
            Role::Electing { .. } => {}
            Role::Removed { reason, .. } => {
                self.refuse_all(&AppendError::NoMaster { waited: Duration::ZERO, waiting: Some(reason) });
            }
        }
    }

    /// Refuses the appends that were for another term than `now`.
    fn refuse_terms_over(&mut self, now: Option<u64>) {
        let over = |waiter: &Waiter| waiter.term.is_some_and(|term| Some(term) != now);
        if now.is_none() || !self.backlog.iter().any(over) {
            return;
        }
        let (over, rest) = std::mem::take(&mut self.backlog).into_iter().partition(over);
        self.backlog = rest;
        for waiter in over {
            let term = waiter.term.unwrap_or_default();
            waiter.finish(Err(AppendError::TermOver { term }));
        }
    }

    async fn propose(&mut self, term: u64) {
        if self.retry_at.is_some_and(|at| self.now() < at) {
            return;
        }
        self.retry_at = None;
        while self.window.has_room() {
            // Every batch before has its place in the log, so the gate knows whether that segment is still the active
            // one.
            if let Some(begins) = self.roll.take()
                && self.gate.roll(begins)
            {
                let roll = Draft::control(EntryKind::Roll, b"");
                if !self.send(roll, Vec::new(), term).await {
                    return;
                }
                continue;
            }
            let waiters = self.next_batch();
            if waiters.is_empty() {
                return;
            }
            let length = length(&waiters);
            match self.gate.propose(length, self.window.pending()) {
                Admission::Now => {}
                Admission::Later => {
                    waiters.into_iter().rev().for_each(|waiter| self.backlog.push_front(waiter));
                    return;
                }
                Admission::Full(NoRoom { why: reason, process }) => {
                    let full =
                        if process { AppendError::Exhausted { reason } } else { AppendError::DiskFull { reason } };
                    waiters.into_iter().for_each(|waiter| waiter.finish(Err(full.clone())));
                    continue;
                }
            }
            let records: Vec<_> = waiters.iter().flat_map(|waiter| &waiter.records).collect();
            let draft = Draft::batch(&records);
            if !self.send(draft, waiters, term).await {
                return;
            }
        }
    }

    /// Hands an entry to Raft. False if Raft has stopped.
    async fn send(&mut self, draft: Draft, waiters: Vec<Waiter>, term: u64) -> bool {
        let inflight = self.window.start(draft.length(), waiters);
        let responder = BatchResponder::new(inflight.clone());
        // In this term only: an append of a `Leadership` is for its term and no other.
        let term = CommittedLeaderId::new(term);
        let sent = self.raft.write(Proposed { draft, inflight }).responder(responder).with_leader(term).await;
        if let Err(fatal) = &sent {
            // Dropped with the message, the responder has told the waiters; the role task closes the ledger.
            tracing::debug!(%fatal, "Raft takes no batch any more");
        }
        sent.is_ok()
    }

    /// Takes what fits into one entry from the backlog.
    fn next_batch(&mut self) -> Vec<Waiter> {
        let mut waiters: Vec<Waiter> = Vec::new();
        let (mut bytes, mut records) = (0, 0);
        while let Some(next) = self.backlog.front() {
            (bytes, records) = (bytes + next.bytes, records + next.records.len());
            let length = batch::body_length(records, bytes);
            if !waiters.is_empty() && (length > self.batch_bytes || records > BATCH_RECORDS) {
                break;
            }
            waiters.extend(self.backlog.pop_front());
        }
        waiters
    }

    fn on_event(&mut self, event: BatchEvent) {
        if let Some(refused) = self.window.on_event(event) {
            // Raft wrote nothing of them: the appends keep their place in the order and their deadlines.
            put_back(&mut self.backlog, refused);
            let deadline = self.backlog.iter().map(|waiter| waiter.deadline).min();
            self.earliest = self.earliest.into_iter().chain(deadline).min();
            self.retry_at = Some(self.now() + RETRY);
        }
    }

    /// Ends the appends whose deadline has come, and finds the next deadline.
    fn expire(&mut self) {
        let now = self.now();
        self.retry_at = self.retry_at.filter(|at| *at > now);
        let (due, waiting) = std::mem::take(&mut self.backlog).into_iter().partition(|w: &Waiter| w.deadline <= now);
        self.backlog = waiting;
        for waiter in due {
            let (waited, waiting) = (waiter.timeout, self.standing.waiting());
            waiter.finish(Err(AppendError::NoMaster { waited, waiting }));
        }
        let in_flight = self.window.expire(now);
        self.earliest = self.backlog.iter().map(|waiter| waiter.deadline).chain(in_flight).min();
    }

    fn refuse_all(&mut self, error: &AppendError) {
        for waiter in self.backlog.drain(..) {
            waiter.finish(Err(error.clone()));
        }
    }
}

/// Bytes of the entry that holds the records of `waiters`.
fn length(waiters: &[Waiter]) -> usize {
    let (records, bytes) = waiters.iter().fold((0, 0), |sum, w| (sum.0 + w.records.len(), sum.1 + w.bytes));
    entry_length(batch::body_length(records, bytes))
}
