//! What travels on the append stream: appends that wait together become one request, whose answer is split again.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tokio::time::Instant;

use crate::client::error::ClientError;
use crate::types::BatchAck;
use crate::wire::client::RECORD_OVERHEAD;

/// Most bytes of single appends that travel as one request.
const COALESCE_BYTES: usize = 256 << 10;
/// Most single appends that travel as one request.
const COALESCE_RECORDS: usize = 1024;
/// Furthest that the deadlines of appends in one request lie apart, because a request has one deadline for all: appends
/// that have waited long for a master do not lend their deadline to fresh ones.
const COALESCE_DEADLINES: Duration = Duration::from_millis(500);

/// One append as the caller made it.
#[derive(Debug)]
pub(crate) struct AppendJob {
    /// Place in the order of this client's appends; the queue assigns it.
    pub(crate) order: u64,
    pub(crate) records: Records,
    /// When the caller began to wait.
    pub(crate) since: Instant,
    pub(crate) deadline: Instant,
    /// The only term in which it may be appended, through every retry.
    pub(crate) term: Option<u64>,
    /// Must not share a request: one that held it was refused, perhaps because of another append in it.
    pub(crate) alone: bool,
    pub(crate) reply: oneshot::Sender<Result<BatchAck, ClientError>>,
    /// Bytes in flight, given back when the outcome is known.
    pub(crate) _room: OwnedSemaphorePermit,
}

/// What an append carries.
#[derive(Debug, Clone)]
pub(crate) enum Records {
    /// A single record may share a request with others.
    One(Bytes),
    /// A batch is atomic and travels as a request of its own.
    Many(Vec<Bytes>),
}

impl Records {
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Records::One(record) => record.len(),
            Records::Many(records) => records.iter().map(Bytes::len).sum(),
        }
    }

    /// Bytes as the node counts them against its largest batch: the records and their frames in the log.
    pub(crate) fn framed(&self) -> usize {
        self.bytes() + self.count() * 2 * RECORD_OVERHEAD as usize
    }

    /// Positions they take in the log.
    fn in_log(&self) -> u64 {
        self.as_slice().iter().map(|record| record.len() as u64 + RECORD_OVERHEAD).sum()
    }

    pub(crate) fn count(&self) -> usize {
        self.as_slice().len()
    }

    fn as_slice(&self) -> &[Bytes] {
        match self {
            Records::One(record) => std::slice::from_ref(record),
            Records::Many(records) => records,
        }
    }
}

impl AppendJob {
    fn shares(&self) -> bool {
        matches!(self.records, Records::One(_)) && !self.alone
    }

    /// Whether both may be in one request, which has one deadline and one term.
    fn goes_with(&self, other: &Self) -> bool {
        self.term == other.term && apart(self.deadline, other.deadline) <= COALESCE_DEADLINES
    }

    /// Tells the caller, if it still waits.
    pub(crate) fn finish(self, outcome: Result<BatchAck, ClientError>) {
        let _ = self.reply.send(outcome);
    }
}

/// Appends that are surely not in the log, in the order in which the callers made them.
#[derive(Debug, Default)]
pub(crate) struct AppendQueue {
    jobs: VecDeque<AppendJob>,
    bytes: usize,
    next_order: u64,
}

impl AppendQueue {
    pub(crate) fn push(&mut self, mut job: AppendJob) {
        job.order = self.next_order;
        self.next_order += 1;
        self.bytes += job.records.bytes();
        self.jobs.push_back(job);
    }

    /// Puts refused appends back to their places.
    pub(crate) fn put_back(&mut self, jobs: Vec<AppendJob>) {
        for job in jobs {
            let place = self.jobs.partition_point(|queued| queued.order < job.order);
            self.bytes += job.records.bytes();
            self.jobs.insert(place, job);
        }
    }

    /// The earliest deadline of the queued appends.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.jobs.iter().map(|job| job.deadline).min()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.jobs.is_empty()
    }

    /// Whether the next request gains nothing by waiting.
    pub(crate) fn is_full_request(&self) -> bool {
        let alone = self.jobs.front().is_some_and(|job| !job.shares());
        alone || self.bytes >= COALESCE_BYTES || self.jobs.len() >= COALESCE_RECORDS
    }

    /// Takes the appends off the front that make up the next request: in order, a batch alone, singles together as
    /// far as the bounds allow.
    pub(crate) fn next_request(&mut self) -> Vec<AppendJob> {
        let mut request: Vec<AppendJob> = Vec::new();
        let mut bytes = 0;
        while let Some(job) = self.jobs.front() {
            let size = job.records.bytes();
            let fits = job.shares()
                && request.len() < COALESCE_RECORDS
                && bytes + size <= COALESCE_BYTES
                && request.first().is_none_or(|first| first.goes_with(job));
            if !request.is_empty() && !fits {
                break;
            }
            let closes = !job.shares();
            bytes += size;
            request.extend(self.pop());
            if closes {
                break;
            }
        }
        request
    }

    /// Takes off those whose deadline has passed.
    pub(crate) fn expired(&mut self, now: Instant) -> Vec<AppendJob> {
        // Anywhere in the queue: each append may have a timeout of its own.
        if self.next_deadline().is_none_or(|next| next > now) {
            return Vec::new();
        }
        let (expired, rest): (Vec<_>, _) = self.jobs.drain(..).partition(|job| job.deadline <= now);
        self.jobs = rest.into();
        self.bytes = self.jobs.iter().map(|job| job.records.bytes()).sum();
        expired
    }

    pub(crate) fn take_all(&mut self) -> Vec<AppendJob> {
        self.bytes = 0;
        self.jobs.drain(..).collect()
    }

    fn pop(&mut self) -> Option<AppendJob> {
        let job = self.jobs.pop_front()?;
        self.bytes -= job.records.bytes();
        Some(job)
    }
}

fn apart(a: Instant, b: Instant) -> Duration {
    a.max(b) - a.min(b)
}

/// The deadline of a request: the last one of its appends, so that no append is given up early. None is given up much
/// too late either, see [`COALESCE_DEADLINES`].
pub(crate) fn deadline_of(jobs: &[AppendJob]) -> Option<Instant> {
    jobs.iter().map(|job| job.deadline).max()
}

/// The records of a request. Cheap: bodies are shared.
pub(crate) fn records_of(jobs: &[AppendJob]) -> Vec<Bytes> {
    jobs.iter().flat_map(|job| job.records.as_slice()).cloned().collect()
}

/// Gives each append of a request its part of the ack.
///
/// # Errors
/// The jobs, if the ack is for another number of records than was sent, or for places that cannot be.
pub(crate) fn acknowledge(jobs: Vec<AppendJob>, ack: BatchAck) -> Result<(), Vec<AppendJob>> {
    let sent: usize = jobs.iter().map(|job| job.records.count()).sum();
    let bytes: u64 = jobs.iter().map(|job| job.records.in_log()).sum();
    let ends = (ack.first_index.checked_add(sent as u64), ack.first_position.checked_add(bytes));
    if sent != ack.count as usize || !matches!(ends, (Some(_), Some(_))) {
        return Err(jobs);
    }
    let mut part = ack;
    for job in jobs {
        // Fits: it is at most `ack.count`.
        part.count = job.records.count() as u32;
        let here = part;
        part.first_index += u64::from(part.count);
        part.first_position += job.records.in_log();
        job.finish(Ok(here));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::sync::Semaphore;

    use super::*;

    fn job(now: Instant, deadline_ms: u64) -> AppendJob {
        let room = Arc::new(Semaphore::new(1)).try_acquire_many_owned(1).unwrap();
        let deadline = now + Duration::from_millis(deadline_ms);
        let records = Records::One(Bytes::from_static(b"r"));
        AppendJob {
            order: 0,
            records,
            since: now,
            deadline,
            term: None,
            alone: false,
            reply: oneshot::channel().0,
            _room: room,
        }
    }

    #[test]
    fn an_ack_for_places_that_cannot_be_is_refused() {
        let jobs = || vec![job(Instant::now(), 1000), job(Instant::now(), 1000)];
        let ack = BatchAck { first_index: 5, count: 2, first_position: 100, term: 1 };
        assert!(acknowledge(jobs(), ack).is_ok());
        let no_index = BatchAck { first_index: u64::MAX - 1, ..ack };
        let no_position = BatchAck { first_position: u64::MAX - 9, ..ack };
        for lie in [no_index, no_position, BatchAck { count: 3, ..ack }] {
            assert_eq!(acknowledge(jobs(), lie).map_err(|jobs| jobs.len()), Err(2), "{lie:?}");
        }
    }

    #[test]
    fn appends_of_different_terms_do_not_travel_together() {
        let (now, mut queue) = (Instant::now(), AppendQueue::default());
        for term in [None, None, Some(3), Some(3), Some(4), None] {
            queue.push(AppendJob { term, ..job(now, 1000) });
        }
        let requests = std::iter::from_fn(|| Some(queue.next_request()).filter(|request| !request.is_empty()));
        let requests: Vec<_> = requests.map(|request| (request[0].term, request.len())).collect();
        assert_eq!(requests, [(None, 2), (Some(3), 2), (Some(4), 1), (None, 1)]);
    }

    #[test]
    fn each_append_is_given_up_at_its_own_deadline() {
        let (now, mut queue) = (Instant::now(), AppendQueue::default());
        [3000, 1000, 2000, 500].iter().for_each(|deadline| queue.push(job(now, *deadline)));
        assert_eq!(queue.next_deadline(), Some(now + Duration::from_millis(500)));
        let expired = queue.expired(now + Duration::from_millis(1000));
        assert_eq!(expired.iter().map(|job| job.order).collect::<Vec<_>>(), [1, 3]);
        assert_eq!(queue.next_request().iter().map(|job| job.order).collect::<Vec<_>>(), [0]);
    }

    #[test]
    fn appends_whose_deadlines_lie_far_apart_do_not_travel_together() {
        let (now, mut queue) = (Instant::now(), AppendQueue::default());
        [1000, 1400, 900, 1501, 2001, 10_000].iter().for_each(|deadline| queue.push(job(now, *deadline)));
        let mut requests = Vec::new();
        while !queue.is_empty() {
            let request = queue.next_request();
            let deadline = deadline_of(&request).unwrap() - now;
            requests.push((request.len(), deadline.as_millis()));
        }
        assert_eq!(requests, [(3, 1400), (2, 2001), (1, 10_000)]);
    }
}
