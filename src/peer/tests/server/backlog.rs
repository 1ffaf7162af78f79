//! What replication streams that are begun anew leave behind while the disk hangs.

use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;

use super::*;
use crate::log::Flusher;
use crate::log::threads::FlushScheduler;
use crate::peer::server::backlog::MOST;

/// A disk whose flushes hang until they are let go on.
#[derive(Default)]
struct Hung(Mutex<Vec<Arc<Flusher>>>);

impl FlushScheduler for Hung {
    fn schedule(&self, log: Arc<Flusher>, _: Duration) {
        self.0.lock().push(log);
    }
}

impl Hung {
    fn flush(&self) {
        let due = std::mem::take(&mut *self.0.lock());
        due.iter().for_each(|log| log.flush());
    }
}

/// Requests of one entry each, from the first on; counts those that were taken.
fn requests(n0: &Served, count: u64, taken: &Arc<AtomicUsize>) -> RequestStream {
    let taken = taken.clone();
    let envelope = n0.envelope.clone();
    let all = frames(0, &vec![2; count as usize]);
    let length = all.len() / count as usize;
    let requests = (0..count).map(move |number| {
        taken.fetch_add(1, Ordering::Relaxed);
        let at = number as usize * length;
        Ok(pb::AppendRequest {
            envelope: envelope.clone(),
            vote: vote(2, "n1", true),
            previous: number.checked_sub(1).and_then(|before| id(2, before)),
            frames: all.slice(at..at + length),
            ..Default::default()
        })
    });
    stream::iter(requests).boxed()
}

/// Lets the other tasks run until they have nothing more to do.
async fn rest() {
    for _ in 0..1_000 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn streams_that_are_begun_anew_leave_no_more_behind_than_one() {
    let disk = Arc::new(Hung::default());
    let n0 = served_on(disk.clone()).await;
    // The vote for the leader is saved: what waits from here on are entries.
    n0.append(pb::AppendRequest { vote: vote(2, "n1", true), ..Default::default() }).await;
    let before = n0.replica.standing.heard();
    let taken = Arc::<AtomicUsize>::default();
    for round in 0..20 {
        let first = n0.envelope.clone().unwrap();
        let mut answers = n0.server.replicate(first, requests(&n0, 100, &taken)).await.unwrap();
        rest().await;
        assert!(futures::poll!(answers.next()).is_pending(), "round {round}: answered, and nothing is flushed");
        let given = n0.replica.standing.heard() - before;
        assert!(given as usize <= MOST, "round {round}: Raft was given {given} requests, and has answered none");
        // The leader gives the stream up; the server holds on to none of its requests.
        drop(answers);
        rest().await;
        assert_eq!(Arc::strong_count(&taken), 1, "round {round}: the requests are still there");
    }
    assert!(taken.load(Ordering::Relaxed) <= MOST + 20, "{taken:?}");
    // The disk goes on: Raft answers the rest of the old streams, and the next stream works as usual.
    let first = n0.envelope.clone().unwrap();
    let mut answers = n0.server.replicate(first, requests(&n0, 100, &taken)).await.unwrap();
    for number in 0..100 {
        loop {
            disk.flush();
            match futures::poll!(answers.next()) {
                std::task::Poll::Ready(answer) => break drop(answer.unwrap().unwrap()),
                std::task::Poll::Pending => tokio::task::yield_now().await,
            }
        }
        assert!(n0.replica.log.progress().durable() > 0 || number < 100);
    }
}
