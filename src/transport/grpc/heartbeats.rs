//! The heartbeat lane: heartbeats that fall due together travel in one call.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::stream::BoxStream;
use parking_lot::Mutex;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::link::GrpcLink;
use crate::transport::heartbeats::{MAX_HEARTBEATS, Unanswered};
use crate::transport::{Answer, AnswerStream, Link, TransportError};
use crate::wire::pb;

/// How long the first heartbeat waits for others. Short beside any heartbeat interval, long beside the time that the
/// ledgers of a node need to queue theirs after a tick of the clock that they share.
const WINDOW: Duration = Duration::from_millis(1);

/// A link whose heartbeats travel together. All other calls are passed on.
pub(crate) struct HeartbeatLink {
    link: Arc<GrpcLink>,
    waiting: Arc<Mutex<Vec<QueuedHeartbeat>>>,
}

struct QueuedHeartbeat {
    beat: pb::AppendRequest,
    timeout: Duration,
    /// When the heartbeat was queued.
    since: Instant,
    answer: AnswerSender,
}

type AnswerSender = oneshot::Sender<Result<pb::AppendResponse, TransportError>>;

impl HeartbeatLink {
    pub(crate) fn new(link: Arc<GrpcLink>) -> Self {
        Self { link, waiting: Arc::default() }
    }

    async fn beat(&self, beat: pb::AppendRequest, timeout: Duration) -> Result<pb::AppendResponse, TransportError> {
        let (answer, answered) = oneshot::channel();
        let waiting = QueuedHeartbeat { beat, timeout, since: Instant::now(), answer };
        let first = {
            let mut all = self.waiting.lock();
            all.push(waiting);
            all.len() == 1
        };
        if first {
            let (link, waiting) = (self.link.clone(), self.waiting.clone());
            // A task of its own: the first sender may give up before the others have their answers.
            drop(tokio::spawn(async move {
                tokio::time::sleep(WINDOW).await;
                let mut due = std::mem::take(&mut *waiting.lock());
                while !due.is_empty() {
                    let rest = due.split_off(due.len().min(MAX_HEARTBEATS));
                    drop(tokio::spawn(send(link.clone(), due)));
                    due = rest;
                }
            }));
        }
        let late = || TransportError::Timeout { address: self.link.address().to_owned(), after: timeout };
        match tokio::time::timeout(timeout, answered).await {
            Ok(Ok(outcome)) => outcome,
            // The task of the call ends at the same time.
            Ok(Err(_)) | Err(_) => Err(late()),
        }
    }
}

/// Sends all of `due` in one call, which ends when all are answered, or at the last timeout.
async fn send(link: Arc<GrpcLink>, mut due: Vec<QueuedHeartbeat>) {
    // Leaves out senders that have given up.
    due.retain(|waiting| !waiting.answer.is_closed());
    let Some((end, after)) = due.iter().map(|w| (w.since + w.timeout, w.timeout)).max() else { return };
    if due.len() == 1 {
        for QueuedHeartbeat { beat, answer, .. } in due {
            let left = end.saturating_duration_since(Instant::now());
            // An error: the sender has given up.
            let _ = answer.send(link.heartbeat(beat, left).await);
        }
        return;
    }
    let (beats, waiting) = due.into_iter().map(|w| (w.beat, w.answer)).unzip();
    let mut open = Unanswered::new(waiting);
    let failed = match tokio::time::timeout_at(end, exchange(&link, beats, &mut open, end)).await {
        Ok(Ok(())) => return,
        Ok(Err(error)) => error,
        Err(_) => TransportError::Timeout { address: link.address().to_owned(), after },
    };
    for waiter in open.rest() {
        let _ = waiter.send(Err(failed.clone()));
    }
}

async fn exchange(
    link: &GrpcLink,
    beats: Vec<pb::AppendRequest>,
    open: &mut Unanswered<AnswerSender>,
    end: Instant,
) -> Result<(), TransportError> {
    let left = end.saturating_duration_since(Instant::now());
    let mut answers = link.heartbeats(pb::HeartbeatsRequest { beats }, left).await?;
    while !open.is_done() {
        let Some(response) = answers.next().await? else {
            return Err(link.broken("the call ended before all heartbeats were answered".into()));
        };
        let give = |waiter: AnswerSender, answer: Result<_, pb::Refusal>| {
            let _ = waiter.send(answer.map_err(|refusal| link.refused(refusal)));
        };
        open.settle(response, give).map_err(|why| link.broken(why))?;
    }
    Ok(())
}

macro_rules! passed_on {
    ($($name:ident: $request:ident -> $answer:ident;)*) => {$(
        fn $name(&self, request: pb::$request, timeout: Duration) -> Answer<'_, pb::$answer> {
            self.link.$name(request, timeout)
        }
    )*};
}

impl Link for HeartbeatLink {
    passed_on! {
        identify: IdentifyRequest -> IdentifyResponse;
        request_vote: VoteRequest -> VoteResponse;
        pre_vote: VoteRequest -> VoteResponse;
        install_snapshot: SnapshotRequest -> SnapshotResponse;
        transfer_leader: TransferRequest -> TransferResponse;
        fetch_entries: FetchRequest -> FetchResponse;
        read_index: ReadIndexRequest -> ReadIndexResponse;
    }

    fn heartbeat(&self, request: pb::AppendRequest, timeout: Duration) -> Answer<'_, pb::AppendResponse> {
        self.beat(request, timeout).boxed()
    }

    fn replicate(&self, requests: BoxStream<'static, pb::AppendRequest>) -> Answer<'_, AnswerStream> {
        self.link.replicate(requests)
    }
}
