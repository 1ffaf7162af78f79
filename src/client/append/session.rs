//! One append stream to one node.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};
use tokio_stream::wrappers::ReceiverStream;

use crate::client::append::queue::{AppendJob, acknowledge, deadline_of, records_of};
use crate::client::cluster::topology::Topology;
use crate::client::error::ClientError;
use crate::client::error::remote::reason;
use crate::types::{BatchAck, Span};
use crate::wire::client::{TIMEOUT_HEADER, from_status, millis};
use crate::wire::pb::{self, append_records_response::Result as Answered, failure::Code};

/// Requests that may wait for the connection. Few, because a request that waits here takes in no more appends.
const WAITING_REQUESTS: usize = 4;
/// How long after a request's deadline the client still waits for the answer: the node knows the deadline, and its
/// answer needs time to travel.
const ANSWER_GRACE: Duration = Duration::from_millis(500);

/// An open append stream, and the requests on it that the node has not answered.
///
/// To ensure correctness: a job is either in the driver's queue (surely not in the log) or in `sent` (maybe in the
/// log). It goes back to the queue only on an answer that refuses it.
pub(crate) struct AppendSession {
    pub(crate) address: String,
    requests: mpsc::Sender<pb::AppendRecordsRequest>,
    answers: tonic::Streaming<pb::AppendRecordsResponse>,
    sent: BTreeMap<u64, Vec<AppendJob>>,
    next_id: u64,
    cluster: String,
    group: String,
    /// When the node last answered, or was first sent something after having answered everything.
    pub(crate) progress: Instant,
}

/// How a stream ended.
pub(crate) enum StreamEnd {
    /// The node refuses every request that it has not answered: it answered those that it took before it ended the
    /// stream.
    Refused(ClientError),
    /// The requests without an answer may or may not be in the log.
    Broken(String),
}

/// What an answer means for the driver.
pub(crate) enum Settlement {
    /// The callers know the outcome.
    Told,
    /// The node refused the jobs for a reason that may pass: they go back into the queue.
    Requeue(Vec<AppendJob>, ClientError),
}

impl AppendSession {
    /// An append stream to the node, for appends the first of which waits until `deadline`.
    pub(crate) async fn open(topology: &Topology, address: String, deadline: Instant) -> Result<Self, ClientError> {
        let mut service = topology.connect(&address).await?;
        let (requests, outgoing) = mpsc::channel(WAITING_REQUESTS);
        // A node whose process is paused takes no stream.
        let limit = topology.connect_timeout();
        let mut call = tonic::Request::new(ReceiverStream::new(outgoing));
        // The header holds for all requests, because the node may have no room to read the first one and would learn no
        // deadline from it. It is the first append's time left, and at least the connect timeout: a client that is
        // refused in time can try another node.
        let patience = deadline.saturating_duration_since(Instant::now()).max(limit);
        call.metadata_mut().insert(TIMEOUT_HEADER, millis(patience).max(1).into());
        let answers = match timeout(limit, service.append_stream(call)).await {
            Ok(answers) => answers.map_err(|status| ClientError::from_status(&address, &status))?.into_inner(),
            Err(_) => {
                let reason = format!("no append stream within {}", Span(limit));
                return Err(ClientError::Broken { address, reason, reached: true });
            }
        };
        let (cluster, group) = (topology.cluster(), topology.group());
        let progress = Instant::now();
        Ok(Self { address, requests, answers, sent: BTreeMap::new(), next_id: 0, cluster, group, progress })
    }

    /// The channel of outgoing requests, to wait for room in it.
    pub(crate) fn requests(&self) -> mpsc::Sender<pb::AppendRecordsRequest> {
        self.requests.clone()
    }

    /// Sends one request if there is room; otherwise gives the jobs back.
    pub(crate) fn send(&mut self, jobs: Vec<AppendJob>) -> Result<(), Vec<AppendJob>> {
        let Some(deadline) = deadline_of(&jobs) else { return Ok(()) };
        let Ok(permit) = self.requests.try_reserve() else { return Err(jobs) };
        let left = deadline.saturating_duration_since(Instant::now());
        let id = self.next_id;
        self.next_id += 1;
        permit.send(pb::AppendRecordsRequest {
            // Every request names them, because the first one may be refused.
            cluster: self.cluster.clone(),
            group: self.group.clone(),
            id,
            records: records_of(&jobs),
            // 0 would mean the node's default.
            timeout_ms: millis(left).max(1),
            term: jobs[0].term,
        });
        if self.sent.is_empty() {
            self.progress = Instant::now();
        }
        self.sent.insert(id, jobs);
        Ok(())
    }

    /// How many requests wait for their answer.
    pub(crate) fn unanswered(&self) -> usize {
        self.sent.len()
    }

    /// The next answer.
    ///
    /// # Errors
    /// The stream broke or ended; why.
    pub(crate) async fn answer(&mut self) -> Result<pb::AppendRecordsResponse, StreamEnd> {
        match self.answers.message().await {
            Ok(Some(answer)) => Ok(answer),
            Ok(None) => Err(StreamEnd::Broken("the node ended the stream".into())),
            Err(status) => match from_status(&status) {
                Some(failure) if matches!(failure.code(), Code::TooLarge | Code::Closed | Code::Busy) => {
                    Err(StreamEnd::Refused(ClientError::from_failure(&self.address, failure)))
                }
                _ => Err(StreamEnd::Broken(reason(&status))),
            },
        }
    }

    /// Tells the callers of the answered request, or gives their jobs back.
    ///
    /// # Errors
    /// The answer makes no sense: nothing more on this stream can be trusted.
    pub(crate) fn settle(&mut self, answer: pb::AppendRecordsResponse) -> Result<Settlement, StreamEnd> {
        self.settled(answer).map_err(StreamEnd::Broken)
    }

    fn settled(&mut self, answer: pb::AppendRecordsResponse) -> Result<Settlement, String> {
        self.progress = Instant::now();
        let Some(jobs) = self.sent.remove(&answer.id) else {
            // Given up at its deadline; or, below `next_id`, never sent.
            return if answer.id < self.next_id {
                Ok(Settlement::Told)
            } else {
                Err(format!("an answer to request {}, which was never sent", answer.id))
            };
        };
        match answer.result {
            Some(Answered::Appended(pb::AppendedRecords { first_index, term, first_position, count })) => {
                if let Some(only) = jobs[0].term.filter(|only| *only != term) {
                    let reason = format!(
                        "{} appended in term {term} what was for term {only} alone: it knows of no such bound",
                        self.address
                    );
                    fail(jobs, &ClientError::Unknown { reason: reason.clone() });
                    return Err(reason);
                }
                let ack = BatchAck { first_index, first_position, term, count };
                match acknowledge(jobs, ack) {
                    Ok(()) => Ok(Settlement::Told),
                    Err(jobs) => {
                        let reason = format!("{} acknowledged another number of records ({count})", self.address);
                        fail(jobs, &ClientError::Unknown { reason: reason.clone() });
                        Err(reason)
                    }
                }
            }
            Some(Answered::Failure(failure)) => Ok(self.refused(jobs, failure)),
            None => {
                let reason = format!("{} answered without a result", self.address);
                fail(jobs, &ClientError::Unknown { reason: reason.clone() });
                Err(reason)
            }
        }
    }

    fn refused(&self, mut jobs: Vec<AppendJob>, failure: pb::Failure) -> Settlement {
        if failure.code() == Code::Unspecified {
            // Not a failure this client knows: it cannot tell what it says about the records.
            let reason = format!("{} failed with code {}: {}", self.address, failure.code, failure.message);
            fail(jobs, &ClientError::Unknown { reason });
            return Settlement::Told;
        }
        let error = ClientError::from_failure(&self.address, failure);
        if jobs.len() > 1 && matches!(error, ClientError::TooLarge { .. }) {
            // One of them was. Each for itself, the others go through.
            jobs.iter_mut().for_each(|job| job.alone = true);
            return Settlement::Requeue(jobs, error);
        }
        if error.is_transient() {
            return Settlement::Requeue(jobs, error);
        }
        fail(jobs, &error);
        Settlement::Told
    }

    /// Gives up requests that the node should have answered by now. It knows their deadline and gets some grace to
    /// say what became of them.
    pub(crate) fn expire(&mut self, now: Instant) {
        // All are looked at: a later request may have the earlier deadline.
        let late = |jobs: &[AppendJob]| deadline_of(jobs).is_some_and(|deadline| deadline + ANSWER_GRACE <= now);
        let over: Vec<u64> = self.sent.iter().filter(|(_, jobs)| late(jobs)).map(|(id, _)| *id).collect();
        for jobs in over.iter().filter_map(|id| self.sent.remove(id)) {
            for job in jobs {
                let waited = Span(now - job.since);
                let reason = format!("{} was sent it and has not answered within {waited}", self.address);
                job.finish(Err(ClientError::Unknown { reason }));
            }
        }
    }

    /// Ends a stream whose node refused all that it has not answered, with `error`. Gives back what may be sent again.
    pub(crate) fn refused_all(self, error: &ClientError) -> Vec<AppendJob> {
        let mut again = Vec::new();
        for mut jobs in self.sent.into_values() {
            let size = jobs.iter().map(|job| job.records.framed()).sum::<usize>() as u64;
            match error {
                // Of all that was under way, the node could not take this: it would end the next stream as well.
                ClientError::TooLarge { limit, message, .. } if size > *limit && jobs.len() == 1 => {
                    fail(jobs, &ClientError::TooLarge { size, limit: *limit, message: message.clone() });
                }
                // Together only.
                ClientError::TooLarge { limit, .. } if size > *limit => {
                    jobs.iter_mut().for_each(|job| job.alone = true);
                    again.extend(jobs);
                }
                _ => again.extend(jobs),
            }
        }
        again
    }

    /// Ends the stream. What was sent and not answered may be in the log.
    pub(crate) fn abandon(self, why: &str) {
        let reason = format!("the stream to {} is over: {why}", self.address);
        let error = ClientError::Unknown { reason };
        for jobs in self.sent.into_values() {
            fail(jobs, &error);
        }
    }
}

pub(crate) fn fail(jobs: Vec<AppendJob>, error: &ClientError) {
    for job in jobs {
        job.finish(Err(error.clone()));
    }
}
